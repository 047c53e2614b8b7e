"""Fine-tunes of LoRA in one bank against PEFT's own modules, run by run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from peft_tools import StopAfter, classifier, even, plain_loop
from prompt_tools import VARIED, tiny_decoder
from tiny_models import inputs, tiny
from training_tools import CLASSIFICATION, attend_by_segments, config, difference, examples, fit, toy_data

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models.biases import add_zero_bias
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import TaskData
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.targets import Classes
from beft_core.training.methods.low_rank import LowRankShared
from beft_core.training.objectives.candidates import Candidates
from beft_core.training.workflow import fit_bank, train_bank

peft = pytest.importorskip("peft")
BaseTunerLayer = pytest.importorskip("peft.tuners.tuners_utils").BaseTunerLayer

LARGE = 1e-3
"""Largest movement of a factor that counts as one: far above the tolerance."""


def run(**changes: Any) -> RunConfig:
    """A short fine-tune, small enough for a tiny model. Its epsilon keeps Adam from turning rounding into steps."""
    own = {"mode": "lora", "terms": (), "rank": 4, "lr": 2e-3, "adam_epsilon": 1e-5, "max_length": 32}
    return config(**{**own, **changes})


def three(**changes: Any) -> list[RunConfig]:
    """Runs that differ in all that is a run's own: seed (and so examples, order, head), rate, scale, length."""
    return [
        run(seed=0, **changes),
        run(seed=1, lr=5e-3, alpha=4.0, **changes),
        run(seed=2, epochs=3, schedule="constant", clip=0.1, **changes),
    ]


def assert_same(bank: list[Snapshot], alone: list[Snapshot], tolerance: float = 1e-5) -> None:
    """Assert that each run left what the run alone leaves, and was trained."""
    for ours, single in zip(bank, alone, strict=True):
        assert ours.adapter is not None and single.adapter is not None
        assert ours.adapter.config == single.adapter.config
        assert list(ours.adapter.tensors) == list(single.adapter.tensors)
        for name, value in single.adapter.tensors.items():
            np.testing.assert_allclose(ours.adapter.tensors[name], value, atol=tolerance, err_msg=name)
        moved = [np.abs(value).max() for name, value in ours.adapter.tensors.items() if "lora_B" in name]
        assert min(moved) > LARGE
        assert difference(ours, single) < tolerance and set(ours.extra) == set(single.extra)
        assert ours.meta.provenance["adapter"] == ours.adapter.digest()
        assert ours.meta.trained_parameters == single.meta.trained_parameters


def alone(name: str, runs: list[RunConfig]) -> list[Snapshot]:
    """Train each run by itself, with PEFT's modules."""
    return [fit(name, one)[0] for one in runs]


WIDE = {"gpt2": ("q", "k", "v"), "modernbert": ("q", "k", "v"), "bert": ("q", "k", "v", "o", "mlp_in", "mlp_out")}
"""Targets: all where a last layer is computed for what is read alone, and what is one matrix."""


@pytest.mark.parametrize("name", ["bert", "albert", "modernbert", "opt", "gpt2"])
def test_a_run_of_a_bank_ends_where_the_run_alone_ends(name: str) -> None:
    runs = three(targets=WIDE[name]) if name in WIDE else three()
    assert_same(fit(name, *runs), alone(name, runs))


def test_a_run_of_a_bank_ends_where_a_plain_loop_of_peft_ends() -> None:
    runs = [run(seed=0), run(seed=1, lr=5e-3, alpha=4.0)]
    data = [examples(10, 3), examples(10, 4)]
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    for one, rows, ours in zip(runs, data, fit(model, *runs, trains=data), strict=True):
        _, theirs = plain_loop(tiny("bert", attn="sdpa", dtype=torch.float32), one, rows)
        assert ours.adapter is not None and set(ours.adapter.tensors) == set(theirs)
        for key, value in theirs.items():
            np.testing.assert_allclose(ours.adapter.tensors[key], value.detach().numpy(), atol=1e-5, err_msg=key)


@pytest.mark.parametrize("name", ["roberta", "opt"])
def test_peft_itself_opens_each_runs_folder_with_the_same_logits(name: str, tmp_path: Path) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    wholes = [classifier(model), classifier(model)]
    runs, rows = three()[:2], even(6, 7)
    trained = fit_bank(model, toy_data(), runs, trains=[even(10, 3), even(10, 4)], evals={"validation": rows})
    ids = torch.tensor(np.array(rows.ids))
    for number, (whole, one) in enumerate(zip(wholes, trained, strict=True)):
        assert one.snapshot.adapter is not None
        one.snapshot.adapter.write(tmp_path / str(number))
        opened = peft.PeftModel.from_pretrained(whole, tmp_path / str(number)).eval()
        with torch.no_grad():
            theirs = opened(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
        np.testing.assert_allclose(one.logits["validation"], theirs.numpy(), atol=1e-5)


def prompted_fit(name: str, *runs: RunConfig) -> list[Snapshot]:
    """Train a bank on prompts, whose candidates the model's own head scores."""
    spec = dataclasses.replace(
        CLASSIFICATION,
        objective="candidates",
        labels=("bad", "good"),
        prompt=PromptSpec("{text}", candidates=("bad", "good")),
    )
    model = tiny_decoder(name)
    add_zero_bias(model, "v")
    encoded = Candidates(Classes(("bad", "good"))).encode(model, VARIED, 64, training=True)
    data = TaskData(spec, VARIED, {"validation": VARIED}, "made up")
    trained = fit_bank(model, data, runs, trains=[encoded] * len(runs), evals={"validation": encoded})
    return [one.sound() for one in trained]


@pytest.mark.parametrize("name", ["llama", "opt"])
def test_prompted_decoders_share_a_pass_too(name: str) -> None:
    runs = three(max_length=64, batch_size=3)
    assert_same(prompted_fit(name, *runs), [prompted_fit(name, one)[0] for one in runs])


def test_a_bank_that_was_stopped_ends_with_the_same_bytes(tmp_path: Path) -> None:
    runs = three(dropout=True)
    whole = fit("bert", *runs)
    checkpoint = tmp_path / "checkpoint.safetensors"
    part = fit("bert", *runs, checkpoint=checkpoint, observer=StopAfter(3))
    again = fit("bert", *runs, checkpoint=checkpoint)
    for first, half, second in zip(whole, part, again, strict=True):
        assert first.adapter is not None and half.adapter is not None and second.adapter is not None
        assert first.adapter.digest() == second.adapter.digest() != half.adapter.digest()
        assert difference(first, second) == 0 and first.meta.to_json() == second.meta.to_json()


@pytest.mark.usefixtures("any_rate")
def test_a_run_whose_loss_is_not_finite_leaves_the_others() -> None:
    runs = three()
    runs[1] = dataclasses.replace(runs[1], lr=1e38, clip=0)
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    trains = [examples(10, 100 + one.seed) for one in runs]
    trained = fit_bank(model, toy_data(), runs, trains=trains, evals={"validation": examples(12, 7)})
    assert [one.failure is not None for one in trained] == [False, True, False]
    kept = trained[1].snapshot.adapter
    assert kept is not None and all(np.isfinite(value).all() for value in kept.tensors.values())
    assert_same([trained[0].sound(), trained[2].sound()], alone("bert", [runs[0], runs[2]]))


@pytest.fixture(scope="module")
def usual() -> list[Snapshot]:
    """A bank as it is trained on this machine."""
    return fit("bert", *three())


@pytest.mark.parametrize(
    "changes", [{"pad": "longest"}, {"pad": "buckets"}, {"plain": True}, {"gradient_checkpointing": True}]
)
def test_layout_and_acceleration_change_nothing(usual: list[Snapshot], changes: dict[str, Any]) -> None:
    assert_same(fit("bert", *three(**changes)), usual)


@pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels are interpreted, and this is on a CPU")
def test_where_attention_goes_by_segments_changed_weights_are_no_part_of_the_one_product(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("triton", reason="the kernels are interpreted without a GPU")
    runs = [run(seed=seed, epochs=1, batch_size=2, layers=(0,), pad="packed", evaluate="never") for seed in (0, 1)]

    def trained() -> list[Snapshot]:
        model = tiny("bert", attn="sdpa", dtype=torch.float32, heads=2)
        return fit(model, *runs, trains=[examples(4, seed, longest=4) for seed in (0, 1)])

    plain = trained()
    assert attend_by_segments(monkeypatch) == []
    assert_same(trained(), plain, 2e-5)


def test_frozen_products_may_be_short(usual: list[Snapshot]) -> None:
    for exact, short in zip(usual, fit("bert", *three(precision="bfloat16")), strict=True):
        assert exact.adapter is not None and short.adapter is not None
        for name, value in exact.adapter.tensors.items():
            other = short.adapter.tensors[name]
            assert np.isfinite(other).all() and np.abs(value - other).max() < 0.05, name


def test_the_base_is_as_it_was_before() -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    rows = inputs(model)
    modules = dict(model.backbone.named_modules())
    with torch.no_grad():
        before = model.backbone(**rows)[0]
    bank = fit(model, *three())
    with torch.no_grad():
        assert torch.equal(before, model.backbone(**rows)[0])
    assert dict(model.backbone.named_modules()) == modules
    assert not any(isinstance(one, BaseTunerLayer | LowRankShared) for one in model.backbone.modules())
    assert all(np.array_equal(one.pre(*key), one.post(*key)) for one in bank for key in one.keys())  # noqa: SIM118


def test_where_a_projection_also_reads_positions_runs_stand_alone() -> None:
    with pytest.raises(
        UserError, match="got 3 fine-tunes of q v at once in deberta-v2, which reads relative positions"
    ):
        fit("deberta-v2-shared", *three())
    runs = three(targets=("v", "mlp_in"))
    assert_same(fit("deberta-v2-shared", *runs), alone("deberta-v2-shared", runs))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (run(rank=8), "differ in rank"),
        (run(targets=("q",)), "differ in targets"),
        (run(layers=(0,)), "differ in layers"),
        (config(terms=("v",), max_length=32), "differ in layers, mode, rank, targets"),
        (config(mode="dora", terms=()), "2 runs, one of mode dora, which shares no model; expected runs of .*lora"),
        (config(mode="full", terms=()), "2 runs, one of mode full"),
    ],
)
def test_runs_of_other_shapes_share_no_bank(other: RunConfig, said: str) -> None:
    with pytest.raises(UserError, match=said):
        train_bank([run(), other])
    with pytest.raises(UserError, match=said):
        train_bank([other, run()])
