"""The bundled model written down differently: outputs stay, snapshots of it no longer fit, a folder loads again."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from cli_runner import assert_refused, beft
from tiny_models import tiny

from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, biases, write_biases
from beft_core.models.load import load_model
from beft_core.scores.approaches import PAPER
from beft_core.scores.formulas import projection_ratio
from beft_core.scores.rewriting import Rewriting, outputs_here, rewritten
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import SUFFIX, fingerprint, read_snapshot
from beft_core.training.rewriting import rewrite_model, save_model

PROBE = Path(__file__).parents[3] / "sample_snapshots" / f"sst2-low-seed0-probe{SUFFIX}"
V = ("encoder", "v")


def hidden(model: LoadedModel) -> torch.Tensor:
    tokens = model.tokenizer(["a constant in the residual stream", "great"], return_tensors="pt", padding=True)
    with torch.no_grad():
        return model.backbone(**tokens).last_hidden_state[tokens["attention_mask"].bool()]


def test_the_bundled_model_and_its_probe() -> None:
    """Shift and scale of the model before and after a fine-tune are what the numpy half makes of its snapshot."""
    snapshot = read_snapshot(PROBE)
    rewriting = Rewriting(shift=2, seed=3, scale=10)
    before, after = load_model(), load_model()
    plain = hidden(before)
    rewrite_model(before, rewriting)
    assert float((hidden(before) - plain).abs().max() / plain.abs().max()) < 1e-5
    outputs = outputs_here(snapshot)
    expected = rewritten(snapshot, rewriting, outputs)
    for key in snapshot.keys():  # noqa: SIM118
        np.testing.assert_allclose(biases(before)[key], expected.pre(*key), rtol=1e-5, atol=1e-6)
    assert before.info.fingerprint == fingerprint(biases(before)) != snapshot.meta.model.fingerprint

    # The fine-tuned model under the same shift and scale: the ratio of v is that of the rewritten snapshot.
    write_biases(after, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118
    tuned = hidden(after)
    write_biases(before, {key: expected.post(*key).astype(np.float32) for key in expected.keys()})  # noqa: SIM118
    assert float((hidden(before) - tuned).abs().max() / tuned.abs().max()) < 1e-5
    ratio = projection_ratio(expected.pre(*V), expected.post(*V)).mean()
    assert score_snapshot(rewritten(snapshot, Rewriting(2, seed=3))).mean_scores(PAPER)["v"] == pytest.approx(ratio)


def test_the_command_writes_a_model_that_loads(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    done = beft("rewrite", PROBE, "--shift", 2, "--scale", 10, "--model", "bundled", "--out", folder)
    assert done.status == 0 and "beft select --model" in done.err, done.err
    written, expected = load_model(str(folder)), load_model()
    plain = hidden(expected)
    rewrite_model(expected, Rewriting(shift=2, scale=10))
    assert written.info.fingerprint == expected.info.fingerprint
    assert float((hidden(written) - plain).abs().max() / plain.abs().max()) < 1e-5
    assert "which is there already" in assert_refused(
        beft("rewrite", PROBE, "--scale", 10, "--model", "bundled", "--out", folder)
    )
    with pytest.raises(UserError, match="a new folder"):
        save_model(expected, folder)


def test_what_has_no_value_bias_is_not_shifted() -> None:
    with pytest.raises(UserError, match="the term"):
        rewrite_model(tiny("llama"), Rewriting(shift=1))
    empty = tiny("bert")
    write_biases(empty, {("encoder", "v"): np.zeros_like(biases(empty)["encoder", "v"])})
    with pytest.raises(UserError, match="b_v is zero"):
        rewrite_model(empty, Rewriting(shift=1))
