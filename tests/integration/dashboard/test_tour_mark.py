"""The tour marks its steps where they are done: what comes next, what is done, and the way to the next one."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard_tools import ROOT, opened, sound
from streamlit.testing.v1 import AppTest

from dashboard.shared import tour

STEPS = tour.STEPS


@pytest.fixture(autouse=True)
def samples(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The samples that come with the lab: the first page asks its question of them."""
    monkeypatch.setenv("BEFT_SAMPLES_DIR", str(ROOT / "sample_snapshots"))


def marks(at: AppTest) -> list[str]:
    said = [caption.value for caption in at.caption] + [link.proto.label for link in at.get("page_link")]
    return [one for one in said if "Tour, step" in one]


@pytest.mark.parametrize("at", range(len(STEPS)), ids=[step.key for step in STEPS])
def test_a_step_is_marked_on_its_page_before_and_after(at: int) -> None:
    step, before = STEPS[at], ".".join(one.key for one in STEPS[:at])
    (here,) = marks(opened(step.page, tour=before))
    assert f"step {at + 1} of {len(STEPS)}, is here: {step.ask[1:]}" in here.replace(f": {step.ask[0].lower()}", ": ")
    (done,) = marks(opened(step.page, tour=f"{before}.{step.key}"))
    assert f"step {at + 1} of {len(STEPS)}, is done" in done
    assert STEPS[at + 1].ask[1:] in done if step is not STEPS[-1] else "with it the tour" in done


def test_a_guess_is_marked_at_once_and_stays_done_on_other_pages() -> None:
    at = opened("start")
    assert "is here" in marks(at)[0]
    sound(at.button(key="guess-k").click().run())
    (done,) = marks(at)
    assert done.endswith("is done. Next: click a cell of a heatmap")
    link = next(one.proto for one in at.get("page_link") if one.proto.label == done)
    assert link.query_string == "tour=guess" and link.page == "importance"


def test_out_of_turn_and_in_a_lecture_nothing_is_marked() -> None:
    assert not marks(opened("geometry"))
    assert not marks(opened("start", present="true", guess="v", tour="guess"))
