"""Prompted fine-tunes of tiny decoders: a plain loop over transformers, a bank of them, and their Fisher scores."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from prompt_tools import Prompts, prompted, tiny_decoder
from torch import Tensor
from training_tools import CLASSIFICATION, config, examples, toy_data

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, get_bias
from beft_core.models.lm_head import LmHead
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.targets import Classes
from beft_core.training.evaluate import evaluate
from beft_core.training.fisher.information import fisher_information
from beft_core.training.fisher.tuned import tuned_fisher
from beft_core.training.objectives.candidates import Candidates
from beft_core.training.objectives.generation import Generation
from beft_core.training.objectives.prompted import Prompted
from beft_core.training.precision import Precision
from beft_core.training.workflow import fit_bank

CPU = Precision("float32", torch.device("cpu"))
OWN = [(" good", " bad one"), (" yes", " no"), (" a b c", " d e"), (" very good", " very bad")]
TRAIN = prompted(OWN * 3, [i % 2 for i in range(12)], seed=3)
EVAL = prompted(OWN, [1, 0, 0, 1], seed=4)


def data_for(objective: str) -> TaskData:
    prompt = PromptSpec("{text}", candidates=("bad", "good"))
    spec = dataclasses.replace(CLASSIFICATION, objective=objective, labels=("bad", "good"), prompt=prompt)
    return TaskData(spec, TRAIN, {"validation": EVAL}, "made up")


def objective_named(name: str) -> Prompted:
    return {"candidates": Candidates, "generation": Generation}[name](Classes(("bad", "good")))


def fit(model: LoadedModel, objective: str, *configs: RunConfig) -> list[Snapshot]:
    encode = objective_named(objective).encode
    train, validation = encode(model, TRAIN, 64, training=True), encode(model, EVAL, 64)
    trained = fit_bank(
        model, data_for(objective), configs, trains=[train] * len(configs), evals={"validation": validation}
    )
    return [one.sound() for one in trained]


def scores_of(model: LoadedModel, examples: Examples, i: int) -> tuple[Tensor, list[int]]:
    """Mean log-probabilities of the candidates of an example with their gradients, and the tokens of each."""
    head, counts, found = LmHead.of(model), [], []
    before = len(model.tokenizer(examples.text[i])["input_ids"])
    for one in (examples.candidates or [])[i]:
        ids = torch.tensor(model.tokenizer(examples.text[i] + one)["input_ids"])
        hidden = model.backbone(input_ids=ids[None])[0][0]
        log_probs = (hidden @ head.weight.T).log_softmax(-1)
        found.append(log_probs[torch.arange(before - 1, len(ids) - 1), ids[before:]].mean())
        counts.append(len(ids) - before)
    return torch.stack(found), counts


def loss_of(model: LoadedModel, objective: str, batch: np.ndarray) -> Tensor:
    """The loss of a batch by its definition: of candidates the mean over examples, of generation over all tokens."""
    losses, weights = [], []
    for i in batch:
        scores, counts = scores_of(model, TRAIN, int(i))
        label = int(TRAIN.labels[i])
        losses.append(-scores.log_softmax(0)[label] if objective == "candidates" else -scores[label])
        weights.append(1 if objective == "candidates" else counts[label])
    return sum(loss * weight for loss, weight in zip(losses, weights, strict=True)) / sum(weights)  # type: ignore[return-value]


def plain_loop(objective: str, run: RunConfig) -> tuple[np.ndarray, list[float]]:
    """b_v after a loop of torch's own AdamW over whole texts one by one, and the loss of each step."""
    model = tiny_decoder("gpt2")
    biases = [model.backbone.get_submodule(slot.module).bias for slot in model.layout.slots_of("v")]
    for bias in biases:
        bias.requires_grad_()
    optimizer = torch.optim.AdamW(biases, lr=run.lr, eps=run.adam_epsilon, weight_decay=0.0)  # type: ignore[arg-type]
    losses = []
    values = [slot.index for slot in model.layout.slots_of("v")]
    for epoch in range(run.epochs or 0):
        order = np.random.default_rng([run.seed, 1, epoch]).permutation(len(TRAIN))
        for start in range(0, len(TRAIN), run.batch_size):
            loss = loss_of(model, objective, order[start : start + run.batch_size])
            optimizer.zero_grad()
            loss.backward()
            for bias, index in zip(biases, values, strict=True):  # the fused bias holds q and k, too
                kept = torch.zeros_like(bias)
                kept[index] = bias.grad[index]
                bias.grad = kept
            torch.nn.utils.clip_grad_norm_(biases, run.clip or float("inf"))
            optimizer.step()
            losses.append(float(loss.detach()))
    return np.stack([bias.detach()[index].numpy() for bias, index in zip(biases, values, strict=True)]), losses


@pytest.mark.parametrize("objective", ["candidates", "generation"])
def test_a_fine_tune_is_a_plain_loop_over_whole_texts(objective: str, tmp_path: Any) -> None:
    run = config(terms=("v",), lr=2e-3, schedule="constant", adam_epsilon=1e-4)
    (ours,) = fit(tiny_decoder("gpt2"), objective, run)
    expected, losses = plain_loop(objective, run)
    np.testing.assert_allclose(ours.post("decoder", "v"), expected, atol=1e-5)
    assert np.abs(expected - ours.pre("decoder", "v")).max() > 3e-3
    assert ours.meta.metrics[1]["train_loss"] == pytest.approx(np.mean(losses[3:]), abs=1e-5)
    for key in ours.keys():  # noqa: SIM118 - only the slice moves
        if key[1] != "v":
            np.testing.assert_array_equal(ours.post(*key), ours.pre(*key))
    assert not ours.extra and ours.meta.heads["toy"]["objective"] == objective
    assert ours.meta.trained_parameters == 2 * 32

    path = tmp_path / "prompted.beft.safetensors"
    write_snapshot(path, ours)
    again = read_snapshot(path)
    scored = evaluate(again, config(), data=data_for(objective), base=lambda: tiny_decoder("gpt2"))
    assert scored["accuracy"] == ours.meta.metrics[-1]["accuracy"]
    with pytest.raises(UserError, match="without a head for other"):
        other = dataclasses.replace(data_for(objective), spec=dataclasses.replace(CLASSIFICATION, name="other"))
        evaluate(again, config(), data=other, base=lambda: tiny_decoder("gpt2"))


@pytest.mark.parametrize("mode", ["terms", "full"])
def test_candidates_of_one_token_are_trained_without_the_rest_of_the_vocabulary(
    mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    singles = prompted([(" good", " bad"), (" yes", " no"), (" a",)] * 4, [1, 0, 0] * 4, seed=5)
    run = config(mode=mode, terms=("v",) * (mode == "terms"), lr=2e-3, adam_epsilon=1e-4, evaluate="never")

    def trained(relative: bool) -> tuple[Snapshot, int]:
        whole, log_probs = [], LmHead.log_probs
        model = tiny_decoder("gpt2")
        encoded = Candidates(Classes(("bad", "good"))).encode(model, singles, 64, training=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Candidates, "relative", relative)
            patch.setattr(LmHead, "log_probs", lambda *args: whole.append(1) or log_probs(*args))  # type: ignore[func-returns-value]
            (found,) = fit_bank(model, data_for("candidates"), [run], trains=[encoded], evals={})
        return found.sound(), len(whole)

    (few, none), (all_of_it, passes) = trained(True), trained(False)
    assert (none, passes) == (0, 6)
    key = ("decoder", "v")
    assert np.abs(few.post(*key) - few.pre(*key)).max() > 1e-3
    np.testing.assert_allclose(few.post(*key), all_of_it.post(*key), atol=1e-5)
    losses = [one.meta.metrics[-1]["train_loss"] for one in (few, all_of_it)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5)


@pytest.mark.parametrize("name", ["opt", "llama-bias"])
@pytest.mark.parametrize("objective", ["candidates", "generation"])
def test_a_bank_trains_what_each_run_alone_does(name: str, objective: str) -> None:
    runs = [config(terms=("v",), adam_epsilon=1e-4), config(terms=("q",), lr=3e-3, adam_epsilon=1e-4)]
    together = fit(tiny_decoder(name), objective, *runs)
    for run, one in zip(runs, together, strict=True):
        (alone,) = fit(tiny_decoder(name), objective, run)
        for key in alone.keys():  # noqa: SIM118
            np.testing.assert_allclose(one.post(*key), alone.post(*key), atol=1e-5)
        (term,) = run.terms
        assert np.abs(alone.post("decoder", term) - alone.pre("decoder", term)).max() > 1e-3


@pytest.mark.parametrize("objective", ["candidates", "generation"])
def test_every_weight_is_trained_through_the_head_too(objective: str) -> None:
    run = config(mode="full", terms=(), lr=1e-3, schedule="constant", adam_epsilon=1e-4)
    (ours,) = fit(tiny_decoder("gpt2"), objective, run)
    model = tiny_decoder("gpt2")
    parameters = [parameter.requires_grad_() for parameter in model.backbone.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=run.lr, eps=run.adam_epsilon, weight_decay=0.0)  # type: ignore[arg-type]
    losses = []
    for epoch in range(run.epochs or 0):
        order = np.random.default_rng([run.seed, 1, epoch]).permutation(len(TRAIN))
        for start in range(0, len(TRAIN), run.batch_size):
            loss = loss_of(model, objective, order[start : start + run.batch_size])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, run.clip or float("inf"))
            optimizer.step()
            losses.append(float(loss.detach()))
    for slot in model.layout.slots:
        expected = get_bias(model.backbone, slot)
        np.testing.assert_allclose(ours.post(slot.stack, slot.term)[slot.layer], expected, atol=1e-5)
    assert ours.meta.metrics[1]["train_loss"] == pytest.approx(np.mean(losses[3:]), abs=1e-5)
    assert np.mean(losses[3:]) < np.mean(losses[:3]) - 0.01
    assert ours.meta.trained_parameters == sum(parameter.numel() for parameter in parameters)


def test_zero_shot_is_a_run_that_trains_nothing() -> None:
    runs = [config(mode="none", terms=()), config(terms=("v",), lr=1e-2)]
    zero, trained = fit(tiny_decoder("gpt2"), "candidates", *runs)
    assert zero.meta.trained_parameters == 0 and zero.meta.n_train == 0 and zero.meta.trained_terms == ()
    assert all((zero.post(*key) == zero.pre(*key)).all() for key in zero.keys())  # noqa: SIM118
    before = evaluate(trained, config(), biases="pre", data=data_for("candidates"), base=lambda: tiny_decoder("gpt2"))
    assert zero.meta.metrics == ({"epoch": 0, "step": 0, **before},) and trained.meta.metrics[-1]["step"] == 6
    with pytest.raises(UserError, match="got --terms head for toy, whose prompts"):
        fit(tiny_decoder("gpt2"), "candidates", config(mode="head", terms=()))
    with pytest.raises(UserError, match="got --terms none for toy, whose answers a head gives"):
        fit_bank(tiny_decoder("gpt2"), toy_data(), [runs[0]], trains=[examples(4, 1)], evals={})


def gradients(model: LoadedModel, value: Tensor) -> list[np.ndarray]:
    biases = [model.backbone.get_submodule(slot.module).bias for slot in model.layout.slots]
    grads = torch.autograd.grad(value, biases, retain_graph=True)
    return [g[slot.index].numpy() for g, slot in zip(grads, model.layout.slots, strict=True)]


@pytest.mark.parametrize("objective", ["candidates", "generation"])
def test_fisher_information_is_that_of_single_examples(objective: str) -> None:
    model, made = tiny_decoder("opt"), objective_named(objective)
    model.tokenizer = Prompts(None)  # type: ignore[assignment] - whole texts then need no other first token
    encoded = made.encode(model, TRAIN, 64, training=True)
    slots = model.layout.slots
    for slot in slots:
        model.backbone.get_submodule(slot.module).bias.requires_grad_()
    empirical = [np.zeros(slot.width) for slot in slots]
    expected = [np.zeros(slot.width) for slot in slots]
    for i in range(len(TRAIN)):
        scores, counts = scores_of(model, TRAIN, i)
        label = int(TRAIN.labels[i])
        if objective == "candidates":
            p = scores.softmax(0).detach()
            for y in range(len(scores)):
                for total, g in zip(expected, gradients(model, scores.log_softmax(0)[y]), strict=True):
                    total += float(p[y]) * g**2 / len(TRAIN)
            value = scores.log_softmax(0)[label]
        else:
            value = scores[label] * counts[label]  # log p of the whole answer
        for total, g in zip(empirical, gradients(model, value), strict=True):
            total += g**2 / len(TRAIN)
    for slot in slots:
        model.backbone.get_submodule(slot.module).bias.requires_grad_(False)

    ours = fisher_information(model, slots, encoded, {}, made.log_likelihood, CPU, weights=made.weights)
    tuned = tuned_fisher(model, slots, encoded, {}, made, CPU)
    wanted = {"exact": empirical, "tuned": expected if objective == "candidates" else empirical}
    for name, found in (("exact", ours.exact), ("tuned", tuned)):
        for slot, values in zip(slots, wanted[name], strict=True):
            scale = max(float(values.max()), 1e-6)
            np.testing.assert_allclose(found[slot.stack, slot.term][slot.layer] / scale, values / scale, atol=2e-5)
