"""What holds for all pages: each opens whole, and none of them brings PyTorch into the server."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from dashboard_tools import ROOT, app, opened, sound
from streamlit.util import calc_hash
from sweep_tables import make_results

from dashboard.app_pages.start.answer import TITLE
from dashboard.result_tables.source import SAMPLE
from dashboard.shared.page import PLACES, START

pytestmark = pytest.mark.usefixtures("lab")


@pytest.mark.parametrize("page", PLACES)
def test_every_page_opens(page: str) -> None:
    assert opened(page).title


def test_the_name_of_the_first_page_leads_to_it_with_all_that_the_address_says() -> None:
    at = app()
    at._page_hash = calc_hash(START)
    for name, value in {"present": "true", "guess": "v", "hide": ["choose", "details"]}.items():
        at.query_params[name] = value
    sound(at.run())
    assert at.title[0].value == TITLE and at.toggle(key="present").value
    assert at.query_params["guess"] in ("v", ["v"]) and at.query_params["hide"] == ["choose", "details"]


TABS = {
    "Claims": 0,
    "Figures 1 and 4": 1,
    **{f"Table {number}": 0 for number in range(1, 5)},
    "Learning rate and epochs": 3,
    "Does the score predict?": 3,
}
"""Tab of the paper's evaluation, which computes all that it shows -> its figures, all its boxes open."""
BOXES = dict.fromkeys(("scores_and_results", "over_epochs", "by_task", "settled", "predicted"), "true")


def test_the_server_never_imports_torch(lab: Path) -> None:
    make_results(null="k").to_parquet(lab / "samples" / SAMPLE, index=False)
    code = f"""
        import sys
        sys.path.insert(0, {str(ROOT / "tests" / "integration")!r})
        from dashboard_tools import PlayedService, charts, opened
        from streamlit.testing.v1 import AppTest
        from beft_core.errors import UserError
        from dashboard.shared import model_service
        from dashboard.shared.page import PLACES, file_of

        class Elsewhere(PlayedService):  # PyTorch starts in a process of its own, which journeys in a browser do
            def ask(self, question, *_, **fields):
                raise UserError("not now")

        model_service.service = Elsewhere
        at = AppTest.from_file({str(ROOT / "dashboard" / "app.py")!r}, default_timeout=60).run()
        for page in PLACES:
            at.switch_page(file_of(page)).run()
            assert not at.exception, page
        for tab, count in {TABS!r}.items():
            assert charts(opened("evaluation", part=tab, **{BOXES!r})) == count, tab
        heavy = {{"torch", "transformers", "datasets", "scipy", "sklearn"}} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=240, cwd=ROOT)
