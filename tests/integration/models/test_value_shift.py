"""The same model written down differently: outputs and gradients stay, the ratio and what it selects do not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from tiny_models import inputs, tiny

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, add_zero_bias, biases, write_biases
from beft_core.models.load import load_model
from beft_core.models.value_shift import shift_values
from beft_core.scores.formulas import magnitude, projection_ratio
from beft_core.scores.table import score_snapshot, select_term
from beft_core.snapshots.snapshot import SUFFIX, Snapshot, read_snapshot
from beft_core.sweeps.norms import pre_norms

FOLDER = Path(__file__).parents[3] / "sample_snapshots"
PROBES = [path for path in sorted(FOLDER.glob(f"*-probe{SUFFIX}")) if "-prompt-" not in path.name]
"""Shipped probes of pre-trained biases; those that are added to a language model begin at zero."""
V, Q = ("encoder", "v"), ("encoder", "q")


@pytest.fixture(scope="module")
def probe() -> Snapshot:
    return read_snapshot(FOLDER / f"sst2-low-seed0-probe{SUFFIX}")


def random_shift(pre: np.ndarray, times: float) -> np.ndarray:
    """A random direction per layer, so many times as long as the bias is there: float64 [layers, width]."""
    direction = np.random.default_rng(0).normal(size=pre.shape)
    lengths = np.linalg.norm(pre, axis=1, keepdims=True) / np.linalg.norm(direction, axis=1, keepdims=True)
    return times * lengths * direction


def hidden(model: LoadedModel) -> torch.Tensor:
    tokens = model.tokenizer(["a constant in the residual stream", "great"], return_tensors="pt", padding=True)
    with torch.no_grad():
        return model.backbone(**tokens).last_hidden_state[tokens["attention_mask"].bool()]


def test_the_selection_flips_without_any_training(probe: Snapshot) -> None:
    """The shipped SST-2 probe on the model as it is, and on the same model with five times |b_v| moved into b_v."""
    model = load_model()
    before, tuned = hidden(model), {key: probe.post(*key) for key in probe.keys()}  # noqa: SIM118
    shift = random_shift(probe.pre(*V), 5)

    shift_values(model, shift)
    pre = biases(model)
    assert float((hidden(model) - before).abs().max() / before.abs().max()) < 1e-5  # the pre-trained model

    model = load_model()
    write_biases(model, tuned)
    before = hidden(model)
    shift_values(model, shift)
    post = biases(model)
    assert float((hidden(model) - before).abs().max() / before.abs().max()) < 1e-5  # and the fine-tuned one

    as_it_is = {term: projection_ratio(probe.pre("encoder", term), tuned["encoder", term]).mean() for term in "qkv"}
    shifted = {term: projection_ratio(pre["encoder", term], post["encoder", term]).mean() for term in "qkv"}
    assert as_it_is["v"] == pytest.approx(0.580, abs=5e-4) and shifted["v"] == pytest.approx(0.09, abs=0.01)
    assert as_it_is["q"] == pytest.approx(shifted["q"]) == pytest.approx(0.118, abs=5e-4)
    assert (select_term(as_it_is), select_term(shifted)) == ("v", "q")
    moved = magnitude(probe.pre(*V), tuned[V]), magnitude(pre[V], post[V])
    np.testing.assert_allclose(*moved, rtol=1e-4)  # Magnitude does not see the shift


def test_the_longer_the_shift_the_lower_the_ratio(probe: Snapshot) -> None:
    pre, post = (value.astype(np.float64) for value in (probe.pre(*V), probe.post(*V)))
    ratios = [projection_ratio(pre + c, post + c).mean() for c in (random_shift(pre, r) for r in (0, 0.5, 1, 2, 5, 10))]
    assert ratios == sorted(ratios, reverse=True) and ratios[-1] < 0.04
    assert projection_ratio(pre - pre, post - pre).mean() == 1  # b_v folded into b_o altogether


@pytest.mark.parametrize("name", ["bert", "gpt2", "llama-bias", "falcon-grouped"])
def test_outputs_and_gradients_stay(name: str) -> None:
    """In float64, also with fused projections and grouped queries: what a fine-tune of b_v would do is the same."""

    def looked_at() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        parameters = {
            slot.parameter: model.backbone.get_parameter(slot.parameter).requires_grad_()
            for slot in (*model.layout.slots_of("v"), *model.layout.slots_of("o"))
        }
        out = model.backbone(**inputs(model)).last_hidden_state
        out.pow(3).sum().backward()
        found = {key: parameter.grad.clone() for key, parameter in parameters.items() if parameter.grad is not None}
        model.backbone.zero_grad()
        assert len(found) == len(parameters)
        return out.detach(), found

    model = tiny(name, attn="sdpa", dtype=torch.float64)
    for term in ("v", "o"):
        add_zero_bias(model, term)
    slots = model.layout.slots_of("v")
    shift = np.random.default_rng(1).normal(size=(len(slots), slots[0].width))
    before, was = biases(model), looked_at()
    shift_values(model, shift)
    now = looked_at()
    torch.testing.assert_close(now[0], was[0], rtol=1e-9, atol=1e-9)
    for key, gradient in was[1].items():
        torch.testing.assert_close(now[1][key], gradient, rtol=1e-7, atol=1e-7)
    after, stack = biases(model), model.layout.stack
    np.testing.assert_allclose(after[stack, "v"], before[stack, "v"] + shift, rtol=1e-6, atol=1e-6)
    assert not np.allclose(after[stack, "o"], before[stack, "o"])
    shift_values(model, -shift)
    np.testing.assert_allclose(biases(model)[stack, "o"], before[stack, "o"], atol=1e-6)


@pytest.mark.parametrize("path", PROBES, ids=lambda path: path.name.split(".")[0])
def test_the_smallest_pre_trained_norm_selects_what_the_probe_selects(path: Path) -> None:
    """Of q and v, for b_k is null here: b_v, before any training."""
    snapshot = read_snapshot(path)
    norms = pre_norms({key: snapshot.pre(*key) for key in (Q, V)})
    assert min(norms, key=lambda name: norms[name]) == "pre_norm.v"
    assert score_snapshot(snapshot).selected()["projection_ratio"] == "v"


def test_what_cannot_be_shifted() -> None:
    with pytest.raises(UserError, match=r"\(2, 16\)"):
        shift_values(tiny("falcon-grouped"), np.zeros((2, 32)))
    with pytest.raises(UserError, match="the term o"):
        shift_values(tiny("qwen2"), np.zeros((2, 16)))


@pytest.mark.parametrize("path", PROBES, ids=lambda path: path.name.split(".")[0])
def test_the_ratio_mostly_reads_the_pre_trained_norm(path: Path) -> None:
    """Spearman's correlation over 42 cells (7 terms that are not null, 6 layers) with 1/|pre|, before any training."""
    snapshot = read_snapshot(path)
    terms = [key for key in snapshot.keys() if key[1] not in snapshot.meta.null_terms]  # noqa: SIM118
    ratios = np.concatenate([projection_ratio(snapshot.pre(*key), snapshot.post(*key)) for key in terms])
    norms = np.concatenate([np.linalg.norm(snapshot.pre(*key).astype(float), axis=1) for key in terms])
    assert len(ratios) == 42 and spearmanr(ratios, 1 / norms).statistic > 0.65
