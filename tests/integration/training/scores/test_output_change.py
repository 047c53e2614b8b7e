"""Relative output change: by its definition, the same however the model is written down, and where it cannot be had."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cli_runner import assert_refused, beft
from tiny_models import tiny
from training_tools import examples

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, add_zero_bias, biases
from beft_core.models.folding import folded_change
from beft_core.models.value_shift import shift_values
from beft_core.models.weight_scale import scale_weights
from beft_core.scores.rewriting import Rewriting, rewritten
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import SUFFIX, read_snapshot
from beft_core.training.scores.output_change import relative_output_change

PROBE = Path(__file__).parents[4] / "sample_snapshots" / f"demo-sentiment-low-seed0-probe{SUFFIX}"

NAMES = ["bert", "albert", "distilbert", "gpt2", "opt", "llama-bias", "qwen2-sliding", "gpt_neox", "modernbert", "phi3"]
DATA = examples(11, seed=5)


def model_of(name: str) -> LoadedModel:
    model = tiny(name, attn="sdpa")
    for term in "qkvo":
        add_zero_bias(model, term)
    return model


def moved(model: LoadedModel, seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = biases(model)
    return {t: 0.3 * rng.normal(size=found[model.layout.stack, t].shape) for t in "qkv"}


@pytest.mark.parametrize("name", NAMES)
def test_no_rewriting_changes_it(name: str) -> None:
    """Shift of the values, then a scale of its own for each element of the values and each head of the keys."""
    model = model_of(name)
    layout = model.layout
    change = moved(model)
    before, was = relative_output_change(model, change, DATA), biases(model)
    assert all(np.array_equal(value, was[key]) for key, value in biases(model).items())  # the model is as it was
    assert (before["v"] > 0.01).all() and (before["q"] > 0.01).all()
    if layout.key_rule.null:
        assert before["k"].max() < 1e-5  # adds the same to each logit of a row
    else:
        assert before["k"].min() > 1e-3

    rng = np.random.default_rng(1)
    shape = layout.layers, layout.kv_heads * layout.head_dim
    values = rng.uniform(0.3, 3, shape)
    keys = np.repeat(rng.uniform(0.3, 3, (layout.layers, layout.kv_heads)), layout.head_dim, axis=1)
    queries = np.repeat(
        keys.reshape(layout.layers, layout.kv_heads, -1), layout.heads // layout.kv_heads, axis=1
    ).reshape(layout.layers, -1)
    shift_values(model, rng.normal(size=shape))
    scale_weights(model, values, keys)
    now = relative_output_change(
        model, {"v": change["v"] * values, "k": change["k"] * keys, "q": change["q"] / queries}, DATA
    )
    for term in "qkv":
        np.testing.assert_allclose(now[term], before[term], rtol=1e-5, atol=1e-6)


def test_the_definition() -> None:
    """Of one layer of a BERT, by hand, from what eager attention hands out and what the output projection gives."""
    model = model_of("bert")
    change, data = moved(model), DATA.take([3])
    found = relative_output_change(model, change, data)
    seen: dict[str, torch.Tensor] = {}
    layer = model.backbone.encoder.layer[0].attention
    hooks = [
        module.register_forward_hook(lambda m, args, out, name=name: seen.__setitem__(name, out.detach()))
        for name, module in {"q": layer.self.query, "k": layer.self.key, "o": layer.output.dense}.items()
    ]
    with torch.no_grad():
        model.backbone(input_ids=torch.from_numpy(data.ids[0])[None])
    for hook in hooks:
        hook.remove()
    norms = seen["o"][0].double().norm(dim=-1)
    added = np.linalg.norm(folded_change(model, change["v"])[0])
    assert found["v"][0] == pytest.approx(added / float(norms.square().mean().sqrt()), rel=1e-5)

    def centred(q: torch.Tensor) -> torch.Tensor:
        heads = [x.double().view(-1, 4, 8).transpose(0, 1) for x in (q, seen["k"][0])]
        logits = heads[0] @ heads[1].transpose(1, 2)
        return logits - logits.mean(-1, keepdim=True)

    was, now = centred(seen["q"][0]), centred(seen["q"][0] + torch.from_numpy(change["q"][0]))
    assert found["q"][0] == pytest.approx(float((now - was).norm() / was.norm()), rel=1e-5)


def test_padding_and_batches_make_no_difference() -> None:
    model = model_of("llama-bias")
    change = moved(model)
    whole = relative_output_change(model, change, DATA)
    order = np.argsort(-DATA.lengths)
    other = relative_output_change(model, change, DATA.take(order))
    for term in "qkv":
        np.testing.assert_allclose(other[term], whole[term], rtol=1e-5)


def test_twice_the_change_of_b_v_is_twice_as_far() -> None:
    model = model_of("gpt2")
    change = moved(model)
    one, two = (relative_output_change(model, {"v": times * change["v"]}, DATA)["v"] for times in (1, 2))
    np.testing.assert_allclose(two, 2 * one, rtol=1e-6)
    assert not relative_output_change(model, {"q": 0 * change["q"]}, DATA)["q"].any()


def test_where_it_cannot_be_measured() -> None:
    with pytest.raises(UserError, match="cannot be looked at"):
        relative_output_change(tiny("bloom"), {}, DATA)
    with pytest.raises(UserError, match="no validation example"):
        relative_output_change(model_of("bert"), {}, DATA.take([]))


def test_the_command_adds_it_to_a_file(tmp_path: Path) -> None:
    """A shipped probe of generated data: measured once, then read, also by the numpy half after a rewriting."""
    path = tmp_path / "probe.beft.safetensors"
    done = beft("score", PROBE, "--measure", "--device", "cpu", "--out", path, "--json")
    assert done.status == 0, done.err
    (document,) = done.json["files"]
    measured = {row["term"]: row["score"] for row in document["means"] if row["approach"] == "output_change"}
    assert set(measured) == {"q", "k", "v"} and measured["k"] == 0 and min(measured["q"], measured["v"]) > 0.01
    assert document["selected"]["encoder"]["output_change"] in ("q", "v")
    table = score_snapshot(rewritten(read_snapshot(path), Rewriting(shift=5, scale=10)))
    assert table.mean_scores("output_change") == pytest.approx(measured)
    assert "output: Relative output change" in " ".join(beft("score", path).out.split())
    assert "without --measure" in assert_refused(beft("score", PROBE, "--model", "bundled"))
    assert "without --measure of one file" in assert_refused(beft("score", PROBE, "--out", path))
