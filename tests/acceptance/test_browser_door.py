"""A server with a token, in a real browser: the page that asks, the link that opens, what the browser keeps."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from browser_tools import PATIENCE, Lab, Visit, see, serving
from made_up_samples import write_samples
from playwright.sync_api import Browser, expect

pytestmark = pytest.mark.timeout(600)
TOKEN = "correct-horse-battery"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("door")
    write_samples(folder / "samples")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BEFT_TOKEN", TOKEN)
        with serving(folder, folder / "samples") as started:
            yield started


@pytest.mark.parametrize("width", [1400, 900])
def test_asked_wrong_right_and_kept_by_this_browser(browser: Browser, lab: Lab, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 1000})
    visit = Visit(context.new_page(), lab)
    page = visit.open("sweep", sw_lrs="1e-3")
    see(page.get_by_role("heading", name="This server asks for its token"))
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    see(page.get_by_text("That is not the token of this server."))
    expect(page.get_by_test_id("stSidebarNav")).to_have_count(0)
    visit.check("door", figure=False)
    page.get_by_label("Token").fill(TOKEN)
    page.keyboard.press("Enter")
    see(page.get_by_role("heading", name="Sweep", level=1))
    expect(page.get_by_role("textbox", name="Learning rates")).to_have_value("1e-3")
    visit.settle()
    assert page.url.endswith("/sweep?sw_lrs=1e-3")
    page.reload()
    see(page.get_by_role("heading", name="Sweep", level=1))
    expect(page.get_by_role("textbox", name="Learning rates")).to_have_value("1e-3")
    visit.check("door-open", figure=False)
    context.close()


def test_the_link_of_the_terminal_opens_and_leaves_no_token_behind(browser: Browser, lab: Lab) -> None:
    context = browser.new_context(viewport={"width": 1400, "height": 1000})
    visit = Visit(context.new_page(), lab)
    page = visit.open("fine_tune", token=TOKEN, ft_task="demo-similarity")
    see(page.get_by_role("heading", name="Fine-tune", level=1))
    page.wait_for_url(re.compile(r"/fine_tune\?ft_task=demo-similarity$"), timeout=PATIENCE)
    page.get_by_text("paper", exact=True).click()
    assert TOKEN not in visit.link("ft_preset=paper", "ft_task=demo-similarity")
    page.get_by_role("link", name="Runs").click()
    see(page.get_by_role("heading", name="Runs", level=1))
    assert "token" not in page.url
    another = Visit(context.new_page(), lab)  # the same browser
    another.open("runs")
    see(another.page.get_by_role("heading", name="Runs", level=1))
    visit.check("door-link", figure=False)
    context.close()
    stranger = browser.new_context()
    page = Visit(stranger.new_page(), lab).open("runs")
    see(page.get_by_role("heading", name="This server asks for its token"))
    stranger.close()
