"""Try it for a language model, in a real browser: it writes token by token, and the dial turns while it does."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser_tools import Lab, Visit, see
from example_decoder import asked_fine_tune, write_decoder
from playwright.sync_api import expect

from beft_core.config import RunConfig
from beft_core.runs.run import Run
from beft_core.runs.status import Status
from beft_core.snapshots.snapshot import write_snapshot
from beft_core.training import inputs
from dashboard.shared.sources import run_title

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def title(lab: Lab, tmp_path: Path) -> str:
    """Title of a finished run on a tiny decoder, whose prompts have candidates."""
    # So deep, and its texts so long, that the dial can be turned before they end.
    folder = write_decoder(tmp_path / "tiny", num_hidden_layers=32, max_position_embeddings=1024)
    model = inputs.load(RunConfig(model=str(folder)))
    run = Run.create("train", RunConfig(model=str(folder), add_bias=("v",)).to_dict(), lab.home)
    write_snapshot(run.snapshot, asked_fine_tune(model, candidates=("terrible", "great")))
    run.write_status(Status("done", created=1.0, began=2.0, ended=3.0))
    return run_title(run)


def test_candidates_and_text_while_the_dial_turns(visit: Visit, title: str) -> None:
    page = visit.open("try_it", **{"try": [title]})
    expect(page.locator("h4").first).to_contain_text("layer")
    expect(page.locator(".js-plotly-plot")).to_have_count(2)
    visit.check("try-it-in-words")
    visit.choose_tab("Let it write")
    page.get_by_role("button", name="Write", exact=True).click()
    see(page.get_by_text("tokens: λ 1 for"))
    page.get_by_role("slider", name="λ of the biases").press("Home")
    see(page.get_by_text("then λ -1 for"))
    visit.link("try_lambda=-1")
    expect(page.get_by_role("button", name="From the start")).to_be_enabled()
    page.get_by_role("button", name="From the start").click()
    see(page.get_by_text("Greedy: always the likeliest next token"))
