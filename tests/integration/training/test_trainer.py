"""The trainer against a plain PyTorch loop, against itself in other layouts and in banks, and across interruptions."""

from __future__ import annotations

import dataclasses
import errno
import os
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from plain_loop import plain_run, terms_and_head
from scipy import stats
from tiny_models import tiny
from torch import Tensor
from training_tools import config, difference, examples, fit

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.files.safetensors_file import SafetensorsFile, write_safetensors
from beft_core.models.biases import get_bias
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from beft_core.training import trainer
from beft_core.training.acceleration import session
from beft_core.training.acceleration.fast_gelu import ShortGelu
from beft_core.training.methods.base import Adam
from beft_core.training.methods.bias_bank import slot_name
from beft_core.training.methods.random_entries import SingleEntries, drawn
from beft_core.training.observer import Observer
from beft_core.training.progress.checkpoint import Checkpoint, CheckpointError

TRAINABLE = [
    "bert",
    "roberta",
    "electra",
    "distilbert",
    "albert",
    "deberta-v2",
    "opt",
    "gpt2",
    "gptj",
    "gpt_neox",
    "bloom",
    "qwen2",
    "llama-bias",
    "falcon-multi-query",
    "falcon-heads",
    "falcon-grouped",
    "modernbert",
]
ENCODERS = ["bert", "roberta", "electra", "distilbert", "albert", "deberta-v2", "modernbert"]


def peer_of_tiny_bert() -> Any:
    """transformers' classifier on the tiny model."""
    from transformers import BertForSequenceClassification

    base = tiny("bert", attn="sdpa", dtype=torch.float32)
    peer = BertForSequenceClassification(base.config)
    peer.bert.load_state_dict(base.backbone.state_dict())
    return peer


@pytest.mark.parametrize("terms", [("v",), ("q", "v")])
@pytest.mark.parametrize("schedule", ["linear", "constant"])
def test_same_updates_as_transformers_with_a_plain_loop(terms: tuple[str, ...], schedule: str) -> None:
    # Adam turns rounding into steps, so the tolerance is a share of the rate.
    run = config(terms=terms, lr=2e-3, schedule=schedule)
    (ours,) = fit("bert", run)
    theirs = plain_run(peer_of_tiny_bert(), run, examples(10, 100), terms_and_head(*terms))
    for term in terms:
        np.testing.assert_allclose(ours.post("encoder", term), theirs.bias(term), atol=2e-5)
        assert np.abs(ours.post("encoder", term) - ours.pre("encoder", term)).max() > 1e-3
    np.testing.assert_allclose(ours.extra["extra.toy.head.weight"], theirs.peer.classifier.weight.detach(), atol=2e-5)
    assert ours.meta.metrics[1]["train_loss"] == pytest.approx(np.mean(theirs.losses[3:]), abs=1e-5)


@pytest.mark.parametrize("at", ["before", "after"])
@pytest.mark.parametrize("mode", ["full", "random"])
def test_clipping_counts_the_weights_outside_of_the_bank(mode: str, at: str) -> None:
    """Where it binds, against torch's own over all parameters. The large epsilon lets a gradient's length count."""
    run = config(mode=mode, lr=0.1, clip=0.05, adam_epsilon=2e-3, adam_epsilon_at=at, epochs=3)
    (ours,) = fit("bert", run)
    theirs = plain_run(
        peer_of_tiny_bert(),
        run,
        examples(10, 100),
        lambda peer: list(peer.parameters()),
        only=keep_drawn(run.seed) if mode == "random" else lambda peer: None,
    )
    assert min(theirs.norms) > 2 * run.clip
    moved = np.abs(theirs.bias("v") - ours.pre("encoder", "v")).max()
    assert moved > 2e-4
    for term in ("q", "v"):
        np.testing.assert_allclose(ours.post("encoder", term), theirs.bias(term), atol=5e-3 * moved)
    np.testing.assert_allclose(
        ours.extra["extra.toy.head.weight"], theirs.peer.classifier.weight.detach(), atol=5e-3 * moved
    )


def keep_drawn(seed: int) -> Callable[[Any], None]:
    """Sets every gradient to zero but those of the entries that mode ``random`` draws, the pooler's bias, the head."""
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    count = sum(slot.width for slot in model.layout.slots_of("v"))
    chosen = SingleEntries(model.backbone, drawn(model.backbone, count, seed), Adam())
    paths = {module: path for path, module in model.backbone.named_modules()}
    masks = {f"bert.{paths[module]}.{name}": flat for module, rows in chosen._entries.items() for name, flat, _ in rows}

    def keep(peer: Any) -> None:
        for name, parameter in peer.named_parameters():
            if parameter.grad is None or name.startswith("classifier") or name == "bert.pooler.dense.bias":
                continue
            kept = torch.zeros(parameter.numel())
            kept[masks.get(name, torch.tensor([], dtype=torch.int64))] = 1
            parameter.grad *= kept.view_as(parameter)

    return keep


@pytest.mark.parametrize("name", ["bert", "electra", "gpt2", "opt"])
def test_dropout_of_attention_acts_alone(name: str) -> None:
    """Where no other dropout is on."""
    runs = []
    for p in (0.0, 0.5):
        model = tiny(name, attn="sdpa", dtype=torch.float32)
        for path, module in model.backbone.named_modules():
            if isinstance(module, torch.nn.Dropout):
                of_attention = path.endswith(("attention.self.dropout", "attn.attn_dropout"))
                module.p = p if of_attention else 0.0
            elif path.endswith("self_attn"):
                module.dropout = p  # type: ignore[assignment]
        for layer in model.backbone.modules():  # OPT's own dropout is a number
            if hasattr(layer, "self_attn"):
                layer.dropout = 0.0  # type: ignore[assignment]
        model.layout = dataclasses.replace(model.layout, head=dataclasses.replace(model.layout.head, dropout=0.0))
        runs.append(fit(model, config(dropout=True, epochs=1))[0])
    assert difference(*runs) > 1e-4
    assert difference(runs[0], fit(name, config(epochs=1))[0]) < 1e-5  # nothing but attention drops here


@pytest.mark.parametrize("name", TRAINABLE)
def test_the_layout_of_a_batch_does_not_change_the_update(name: str) -> None:
    terms = tuple(t for t in ("q", "v") if t in tiny(name).layout.terms) or ("mlp_in",)
    pads = ["longest", "buckets", "max"] + (["packed"] if tiny(name).layout.packing else [])
    runs = [fit(name, config(terms=terms, pad=pad, max_length=16))[0] for pad in pads]
    for pad, run in zip(pads[1:], runs[1:], strict=True):
        assert difference(runs[0], run) < 2e-5, pad
    assert difference(runs[0], fit(name, config(terms=terms, lr=1e-9))[0]) > 1e-3


@pytest.mark.parametrize("name", [*ENCODERS, "gpt2", "opt", "qwen2"])
def test_a_run_in_a_bank_ends_as_it_does_alone(name: str) -> None:
    """Runs with different terms, learning rates, seeds, lengths and schedules share one forward pass."""
    runs = [
        config(terms=("v",), seed=0, lr=2e-3),
        config(terms=("q",), seed=1, lr=1e-3, n_train=7),
        config(terms=("q", "v"), seed=2, lr=2e-3, epochs=3, schedule="constant", clip=0.1),
        config(mode="head", seed=3, lr=2e-3),
        config(terms=("v",), layers=(1,), seed=4, lr=5e-4, weight_decay=0.1),
    ]
    together = fit(name, *runs)
    for run, one in zip(runs, together, strict=True):
        (alone,) = fit(name, run)
        assert difference(one, alone) < 1e-5, run.terms
        assert one.meta.metrics[-1]["accuracy"] == pytest.approx(alone.meta.metrics[-1]["accuracy"], abs=1e-6)
        assert one.meta.trained_parameters == alone.meta.trained_parameters
        assert one.meta.hyperparameters["steps"] == run.epochs * -(-(run.n_train or 10) // run.batch_size)


def test_all_bias_runs_share_a_bank_with_single_terms() -> None:
    runs = [config(mode="all", seed=0, lr=1e-3), config(terms=("v",), seed=1, lr=2e-3)]
    together = fit("bert", *runs)
    for run, one in zip(runs, together, strict=True):
        assert difference(one, fit("bert", run)[0]) < 1e-5
    assert "extra.toy.outside.bias" in together[0].extra and "extra.toy.outside.bias" not in together[1].extra


@pytest.mark.parametrize("name", ["gpt2", "gpt_neox", "bloom", "falcon-multi-query", "falcon-grouped", "modernbert"])
def test_a_fused_projection_trains_only_its_slice(name: str) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    before = {slot_name(slot): get_bias(model.backbone, slot) for slot in model.layout.slots}
    (run,) = fit(model, config(terms=("v",)))
    stack = model.layout.stack
    assert (run.post(stack, "v") != run.pre(stack, "v")).any(1).all()
    for term in ("q", "k"):
        assert np.array_equal(run.post(stack, term), run.pre(stack, term))
    for slot in model.layout.slots:  # and the model itself is as it was
        assert torch.equal(get_bias(model.backbone, slot), before[slot_name(slot)])


def test_layers_restrict_what_is_trained() -> None:
    (run,) = fit("bert", config(terms=("v", "o"), layers=(1,)))
    for term in ("v", "o"):
        changed = (run.post("encoder", term) != run.pre("encoder", term)).any(1)
        assert changed.tolist() == [False, True]
    assert run.meta.trained_parameters == 2 * 32 and run.meta.layers == (1,)


def test_a_null_term_is_frozen_unless_asked_for() -> None:
    (frozen,) = fit("bert", config(mode="all"))
    assert np.array_equal(frozen.post("encoder", "k"), frozen.pre("encoder", "k"))
    assert frozen.meta.null_terms == ("k",) and "k" not in frozen.meta.trained_terms
    (trained,) = fit("bert", config(mode="all", train_null=True))
    assert "k" in trained.meta.trained_terms
    (only_k,) = fit("bert", config(terms=("k",)))
    assert difference(only_k, fit("bert", config(mode="head"))[0]) == 0


def test_full_fine_tuning_moves_every_kind_of_bias_and_counts_everything() -> None:
    (run,) = fit("bert", config(mode="full", lr=1e-3))
    assert run.meta.trained_parameters == run.meta.total_parameters
    assert all((run.post(*key) != run.pre(*key)).any() for key in run.keys() if key[1] != "k")  # noqa: SIM118


class StopAfter(Observer):
    def __init__(self, steps: int) -> None:
        self.left = steps

    def should_stop(self) -> bool:
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("mode", ["terms", "all", "full", "random"])
def test_resuming_gives_the_same_bytes(mode: str, tmp_path: Path) -> None:
    run = config(mode=mode, dropout=True, trajectory_every=2, epochs=3, adam_epsilon=1e-3, adam_epsilon_at="before")
    (whole,) = fit("bert", run)
    checkpoint = tmp_path / "checkpoint.safetensors"
    (part,) = fit("bert", run, checkpoint=checkpoint, observer=StopAfter(4))
    assert part.meta.hyperparameters["stopped_early"] and part.meta.hyperparameters["steps"] == 4
    (resumed,) = fit("bert", run, checkpoint=checkpoint)
    for name, snapshot in (("whole", whole), ("resumed", resumed)):
        write_snapshot(tmp_path / f"{name}.beft.safetensors", snapshot)
    assert (tmp_path / "whole.beft.safetensors").read_bytes() == (tmp_path / "resumed.beft.safetensors").read_bytes()


class Hears(Observer):
    """What a fine-tune says, and how many steps it does."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.steps = 0

    def message(self, text: str) -> None:
        self.told.append(text)

    def step(self, step: int, total: int, losses: Sequence[float]) -> None:
        self.steps += 1


def test_a_full_disk_costs_a_fine_tune_its_checkpoint_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = config(mode="all", dropout=True, epochs=3)
    (whole,) = fit("bert", run)
    monkeypatch.setattr(Checkpoint, "due", lambda self: True)

    def full(self: Path, target: Path) -> Path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    observer = Hears()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        (saved,) = fit("bert", run, checkpoint=tmp_path / "checkpoint.safetensors", observer=observer)
    assert difference(whole, saved) == 0 and not list(tmp_path.iterdir())
    first, last = (text for text in observer.told if "is not saved" in text)
    assert "after step 1 " in first and "the disk is full" in first and "goes on" in first
    assert "after step 9 " in last and "there is no other" in last


def test_what_ended_is_saved_so_that_writing_its_result_again_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, checkpoint = config(dropout=True, epochs=3), tmp_path / "checkpoint.safetensors"
    (whole,) = fit("bert", run, checkpoint=checkpoint)
    assert not checkpoint.exists()  # so short a fine-tune is not worth a file
    clock = iter([True, *[False] * 100])
    monkeypatch.setattr(Checkpoint, "due", lambda self: next(clock))
    fit("bert", run, checkpoint=checkpoint)
    observer = Hears()
    (again,) = fit("bert", run, checkpoint=checkpoint, observer=observer)
    assert observer.steps == 0 and observer.told[-1] == "resumed after step 9 of 9"
    for name, snapshot in (("whole", whole), ("again", again)):
        write_snapshot(tmp_path / f"{name}.beft.safetensors", snapshot)
    assert (tmp_path / "whole.beft.safetensors").read_bytes() == (tmp_path / "again.beft.safetensors").read_bytes()


@pytest.mark.parametrize("damage", ["no values", "values of another shape", "values that are integers of none"])
def test_a_checkpoint_whose_tensors_do_not_fit_says_how_to_start_over(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.safetensors"
    fit("bert", config(), checkpoint=path, observer=StopAfter(2))
    file = SafetensorsFile(path)
    tensors = {name: file.read(name) for name in file.tensors}
    if damage == "no values":
        del tensors["values"]
    else:
        tensors["values"] = np.zeros((3, 5) if "shape" in damage else (0,), np.float32)
    write_safetensors(path, tensors, file.metadata)
    with pytest.raises(CheckpointError, match=r"is damaged: .*; try deleting it to start over"):
        fit("bert", config(), checkpoint=path)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "checkpoint.safetensors"
    fit("bert", config(), checkpoint=checkpoint, observer=StopAfter(2))
    with pytest.raises(UserError, match="another fine-tune"):
        fit("bert", config(seed=1), checkpoint=checkpoint)
    same = examples(10, 100)  # the texts of that run, of which somebody has corrected a label since
    corrected = dataclasses.replace(same, labels=np.r_[1 - same.labels[:1], same.labels[1:]])
    with pytest.raises(UserError, match="another fine-tune"):
        fit("bert", config(), checkpoint=checkpoint, trains=[corrected])
    fit("bert", config(), checkpoint=checkpoint, trains=[same])


@pytest.mark.usefixtures("any_rate")
def test_an_absurd_learning_rate_is_told_and_leaves_the_other_runs_alone() -> None:
    bad, good = config(lr=1e38, seed=0, clip=0.0, epochs=4), config(seed=1, epochs=4)
    messages: list[str] = []
    observer = Observer()
    observer.message = messages.append  # type: ignore[method-assign]
    together = fit("bert", bad, good, observer=observer)
    assert difference(together[1], fit("bert", good)[0]) < 1e-5
    assert any("run 0" in text and "not finite" in text for text in messages)
    with pytest.raises(FloatingPointError, match="learning rate"):
        fit("bert", bad)


def test_dropout_repeats_by_seed_and_differs_between_seeds() -> None:
    trains = [examples(10, 0)]
    first, again = (fit("bert", config(dropout=True), trains=trains)[0] for _ in range(2))
    assert difference(first, again) == 0
    assert difference(first, fit("bert", config(dropout=True, seed=1), trains=trains)[0]) > 1e-4
    assert difference(first, fit("bert", config(), trains=trains)[0]) > 1e-4


def test_trajectory_ends_at_the_result_and_counts_its_steps() -> None:
    (run,) = fit("bert", config(trajectory_every=2, n_train=10, epochs=2))  # 3 steps per epoch
    assert run.trajectory_step is not None and run.trajectory_step.tolist() == [2, 4, 6]
    steps = run.steps("encoder", "v")
    assert steps is not None and np.array_equal(steps[-1], run.post("encoder", "v"))
    assert not np.array_equal(steps[0], steps[1])


def test_regression_learns_and_reports_correlations() -> None:
    (run,) = fit("bert", config(epochs=8, lr=2e-2, n_train=40), regression=True)
    assert set(run.meta.metrics[-1]) >= {"spearman", "pearson", "train_loss"}
    assert run.meta.metrics[-1]["train_loss"] < 0.5 * run.meta.metrics[0]["train_loss"]


@pytest.mark.parametrize("name", ["bert", "gpt2", "opt"])
def test_bfloat16_stays_near_float32(name: str) -> None:
    (exact,) = fit(name, config())
    (low,) = fit(name, config(precision="bfloat16"))
    stack = exact.keys()[0][0]
    movement = exact.post(stack, "v") - exact.pre(stack, "v")
    error = low.post(stack, "v") - exact.post(stack, "v")
    assert 0 < np.linalg.norm(error) < 0.5 * np.linalg.norm(movement)


def test_added_bias_is_exact_before_training_and_trained_after() -> None:
    from beft_core.models.biases import add_zero_bias

    model = tiny("gptj", attn="sdpa", dtype=torch.float32)
    with pytest.raises(UserError, match="--add-bias v"):
        fit(model, config(terms=("v",)))
    add_zero_bias(model, "v")
    (run,) = fit(model, config(terms=("v",)))
    assert not run.pre("decoder", "v").any() and run.post("decoder", "v").any()


def test_runs_of_one_bank_must_agree_on_the_rest() -> None:
    from beft_core.training.workflow import train_bank

    with pytest.raises(UserError, match="differ in batch_size"):
        train_bank([RunConfig(), dataclasses.replace(RunConfig(), batch_size=3)])


def test_with_dropout_a_bank_draws_from_the_same_distribution_as_single_runs() -> None:
    """Which elements are dropped depends on the company in the bank; how much that changes a run must not.

    Twenty seeds, each together with the others and alone, and each once without dropout: how far dropout leads the
    value bias away from the latter. Two-sided, over seeds: a paired t-test and a Kolmogorov-Smirnov test on that
    distance, the smaller p-value above 1 in 1000. With a bank whose dropout is three times as frequent, it is below.
    """
    runs = [config(seed=seed, dropout=True, lr=2e-3, epochs=3) for seed in range(20)]
    without = _changes(fit("bert", *(dataclasses.replace(run, dropout=False) for run in runs)))
    alone = _changes([fit("bert", run)[0] for run in runs]) - without
    together = _changes(fit("bert", *runs)) - without
    assert not np.allclose(together, alone)
    assert min(_p_values(together, alone)) > 1e-3
    louder = tiny("bert", attn="sdpa", dtype=torch.float32)
    for module in louder.backbone.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p *= 3
    assert min(_p_values(_changes(fit(louder, *runs)) - without, alone)) < 1e-3


def _changes(runs: list[Snapshot]) -> np.ndarray:
    """[runs, elements]: what each did to the value bias."""
    return np.stack([(run.post("encoder", "v") - run.pre("encoder", "v")).ravel() for run in runs])


def _p_values(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    lengths = np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1)
    return float(stats.ttest_rel(*lengths).pvalue), float(stats.ks_2samp(*lengths).pvalue)


@pytest.mark.parametrize(
    ("compile", "precision", "count"), [(True, "bfloat16", 2), (True, "float32", 0), (False, "bfloat16", 0)]
)
def test_gelu_is_short_where_layers_are_compiled_and_rounded(
    compile: bool, precision: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "HASHED", {"cpu"})
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: None)  # only what is there to be compiled is asked
    found = set()
    update = trainer.Trainer._update

    def counted(self: trainer.Trainer, *args: Any) -> Tensor:
        found.add(sum(isinstance(one, ShortGelu) for one in self.bank.model.backbone.modules()))
        return update(self, *args)

    monkeypatch.setattr(trainer.Trainer, "_update", counted)
    fit("bert", config(compile=compile, precision=precision, epochs=1))
    assert found == {count}


def test_layers_that_share_a_module_do_not_hash_their_dropout(monkeypatch: pytest.MonkeyPatch) -> None:
    """With one key they would all drop the same elements."""
    monkeypatch.setattr(session, "HASHED", {"cpu"})
    monkeypatch.setattr(session, "compiled_layers", lambda model: nullcontext())
    hashed: list[int] = []
    real = session.hand_out_keys
    monkeypatch.setattr(session, "hand_out_keys", lambda modules, device: (hashed.append(1), real(modules, device)))
    run = config(terms=("v",), dropout=True, compile=True, epochs=1)
    fit("albert", run)
    assert not hashed
    fit("bert", run)
    assert hashed
