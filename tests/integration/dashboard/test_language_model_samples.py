"""Pages show the samples of a language model where that is not at hand: which bias, the dial, geometry, comparison."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard_tools import charts, opened
from streamlit.testing.v1 import AppTest

SAMPLES = Path(__file__).parents[3] / "sample_snapshots"
GEMMA = "Gemma 3 270M, prompted SST-2, low, {}"
PROBE, VALUE, QUERY = (GEMMA.format(what) for what in ("all-bias probe", "b_v only", "b_q only"))

pytestmark = pytest.mark.usefixtures("lab")


@pytest.fixture(autouse=True)
def real_samples(lab: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_SAMPLES_DIR", str(SAMPLES))


def words(at: AppTest) -> str:
    assert not at.error, at.error
    return " ".join(element.value for element in [*at.markdown, *at.caption, *at.info])


def test_training_alone_judges_the_approaches() -> None:
    said = words(opened("importance", snapshot=PROBE))
    assert "**Projection ratio** names none of the three" in said
    assert "**Training alone** gave" in said and "**90.3**" in said and "**87.8**" in said and "**79.8**" in said
    assert "**Fisher** named the best, 2.4 ahead" in said


def test_the_dial_turns_and_ranks_by_what_can_rank() -> None:
    at = opened("dial", dial_snapshot=QUERY, dial_view="Switched off, one at a time")
    said = words(at)
    assert "At λ = 1 accuracy is 88\\.0" in said and "The projection ratio is 1 in all 18 layers" in said
    assert at.segmented_control(key="dial_rule").value == "Magnitude (L1)" and charts(at) == 2


def test_geometry_and_comparison_need_no_model() -> None:
    at = opened("geometry", geo_snapshot=PROBE, geo="Every layer")
    assert "the projection ratio is 1 by definition" in words(at)
    assert charts(at) == 1  # the layer that is taken apart: an empty plane is not drawn
    assert "changed the same biases the same way" in words(opened("compare", compare=[VALUE, PROBE]))
    at = opened("try_it", **{"try": [VALUE]})
    if at.error:  # where the language model is not installed
        assert "whose packages are not installed" in at.error[0].value
