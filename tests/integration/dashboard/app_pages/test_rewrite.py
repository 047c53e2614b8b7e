"""The page What the score depends on, in process: the verdict first, links, other snapshots, what cannot be shifted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from dashboard_tools import button, charts, opened, sound
from example_snapshots import LAYERS, WIDTH, example
from fake_worker import small_snapshot
from streamlit.testing.v1 import AppTest

from beft_core.runs.run import list_runs
from beft_core.snapshots.snapshot import Snapshot, write_snapshot

SCALE, AGAIN = "Scale the weights", "Train the probe again"
pytestmark = pytest.mark.usefixtures("lab")


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples that are shipped."""
    monkeypatch.delenv("BEFT_SAMPLES_DIR")


def verdict(at: AppTest) -> str:
    (first,) = [m.value for m in at.markdown if m.value.startswith("####")]
    return str(first)


def words(at: AppTest) -> str:
    return " ".join(one.value for one in (*at.markdown, *at.caption))


def test_opens_behind_the_flip_of_a_real_probe(real: None) -> None:
    at = opened("rewrite")
    assert "0.580 → 0.088" in verdict(at) and "below $b_q$ 0.118: the selection flips at $r$ = 4.1" in verdict(at)
    assert "Magnitude and Fisher unchanged" in verdict(at) and charts(at) == 4
    assert "$W_o b_v + b_o$ changes by" in words(at) and "e-1" in words(at)  # measured: 1e-16 or so
    assert "The shortest is $b_v$, which is what the projection ratio selects" in words(at)
    at.slider(key="shift").set_value(1.0).run()
    assert "still above $b_q$" in verdict(sound(at)) and str(at.query_params["shift"]) == "1"


def test_links_restore_a_rewriting(real: None) -> None:
    at = opened("rewrite", shift="1", shift_direction="against")
    assert "→ 1.000, undefined" in verdict(at) and not at.number_input
    at = opened("rewrite", rw=SCALE, scale="×0.1")
    assert "the projection ratio stays" in verdict(
        at
    ) and "Magnitude $b_q$ ×10, $b_v$ ×0.1; Fisher $b_q$ ×0.01, $b_v$ ×100" in verdict(at)
    assert charts(at) == 3


def test_a_bias_that_began_at_zero_cannot_be_shifted(lab: Path) -> None:
    nothing = {("encoder", term): np.zeros((LAYERS, WIDTH), np.float32) for term in "qv"}
    write_snapshot(lab / "samples" / "probe.beft.safetensors", example(pre=nothing, null_terms=("k",)))
    at = opened("rewrite")
    assert "began at zero" in at.error[0].value and charts(at) == 0
    assert charts(opened("rewrite", rw=SCALE)) >= 2


def test_a_probe_is_trained_again_on_the_rewritten_model_and_found(lab: Path) -> None:
    at = opened("rewrite", rw=SCALE, scale="×100")
    assert button(opened("rewrite", rw=SCALE, present="true"), AGAIN).disabled
    sound(button(at, AGAIN).click().run())
    (run,) = list_runs()
    fields = run.config()[1]
    assert (fields["rewrite_scale"], fields["task"], fields["lr"], fields["epochs"]) == (100, "demo-sentiment", 2e-3, 2)

    probe = small_snapshot(0)
    settings = {**probe.meta.hyperparameters, "rewrite_scale": 10.0}
    meta = replace(probe.meta, hyperparameters=settings)
    keys = probe.keys()
    pre, post = ({key: get(*key) for key in keys} for get in (probe.pre, probe.post))
    post["encoder", "v"] = pre["encoder", "v"] * 1.01
    write_snapshot(lab / "samples" / "other.beft.safetensors", Snapshot.build(meta, pre, post))
    at = opened("rewrite", rw=SCALE)
    assert "the ratio selects $b_q$ instead of $b_v$: $b_v$ 0." in words(at) and AGAIN not in {
        b.label for b in at.button
    }
    assert charts(at) >= 5
