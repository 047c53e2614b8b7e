"""The page What the score depends on, in process: the verdict first, links, other snapshots, what cannot be shifted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dashboard_tools import charts, opened, sound
from example_snapshots import LAYERS, WIDTH, example
from streamlit.testing.v1 import AppTest

from beft_core.snapshots.snapshot import write_snapshot

SCALE = "Scale the weights"
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
