"""The address of a page under quick hands: whatever is being drawn, the last value of every control stands in it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import pytest
from browser_tools import PATIENCE, ROOT, Lab, SlowLine, Visit
from playwright.sync_api import Page
from sweep_tables import make_results

from dashboard.result_tables.source import SAMPLE

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module", autouse=True)
def table(lab: Lab) -> Iterator[None]:
    results = make_results(("sst2", "rte"), ("low", "medium"), (2e-3, 1e-2), (0, 1))
    results.to_parquet(lab.samples / SAMPLE, index=False)
    yield


@pytest.fixture
def answering_samples(lab: Lab, tmp_path: Path) -> Iterator[None]:
    """For a while the dashboard has the samples that come with the lab: they answer what the first page asks."""
    aside = lab.samples.rename(tmp_path / "samples")
    shutil.copytree(ROOT / "sample_snapshots", lab.samples)
    yield
    shutil.rmtree(lab.samples)
    aside.rename(lab.samples)


def pick(label: str, option: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        page.get_by_role("combobox", name=label).click()
        page.get_by_role("option", name=option, exact=True).click()

    return act


def press(role: str, name: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_role(role, name=name, exact=True).first.click()  # type: ignore[arg-type]


def word(text: str) -> Callable[[Page], None]:
    return lambda page: page.get_by_text(text, exact=True).first.click()


def fill(label: str, text: str) -> Callable[[Page], None]:
    def act(page: Page) -> None:
        page.get_by_label(label, exact=True).fill(text)
        page.keyboard.press("Enter")

    return act


@dataclass(frozen=True)
class Hands:
    """A page, what somebody does there without waiting, and what the address must say then."""

    page: str
    query: dict[str, str]
    acts: tuple[Callable[[Page], None], ...]
    says: dict[str, list[str]]


def guess(page: Page) -> None:
    page.get_by_role("button", name="what a word hands on").click()


PRESENT = word("Presenter mode")
HANDS: dict[str, Hands] = {
    # The first act takes a control off the page, or writes a value that no control holds: the server speaks.
    "evaluation": Hands(
        "evaluation",
        {"part": "Figures 1 and 4", "height": "score"},
        (press("tab", "Table 1"), pick("Learning rate", "0.002")),
        {"part": ["Table 1"], "rate": ["0.002"]},
    ),
    "importance": Hands(
        "importance",
        {"term": "q"},
        (press("tab", "Ranking by approach"), PRESENT),
        {"view": ["Ranking by approach"], "present": ["true"]},
    ),
    "geometry": Hands(
        "geometry",
        {"geo": "Every layer", "unrolled": "true"},
        (press("tab", "By hand"), PRESENT),
        {"present": ["true"]},
    ),
    "fine-tune": Hands(
        "fine_tune",
        {"ft_regime": "number", "ft_n": "50"},
        (word("medium"), word("paper")),
        {"ft_regime": ["medium"], "ft_preset": ["paper"]},
    ),
    "start": Hands("", {}, (guess, PRESENT), {"guess": ["v"], "present": ["true"]}),
}


@pytest.mark.parametrize("hands", HANDS.values(), ids=list(HANDS))
def test_what_the_server_says_late_takes_no_choice_away(
    visit: Visit, hands: Hands, request: pytest.FixtureRequest
) -> None:
    if not hands.page:
        request.getfixturevalue("answering_samples")
    line = SlowLine(visit.page)
    page = visit.open(hands.page, **hands.query)
    visit.settle()
    with line.hold():
        for act in hands.acts:
            act(page)
            line.answered(page)
    _expect(visit, hands.says)
    visit.open(page.url.removeprefix(f"{visit.lab.url}/"))
    _expect(visit, hands.says)


QUICK: dict[str, Hands] = {
    "evaluation": Hands(
        "evaluation",
        {"part": "Does the score predict?", "pairing": "each term at its best"},
        (press("tab", "Figures 1 and 4"), pick("Learning rate", "0.002"), word("score")),
        {"part": ["Figures 1 and 4"], "rate": ["0.002"], "height": ["score"], "pairing": []},
    ),
    "fine-tune": Hands(
        "fine_tune",
        {"ft_regime": "number", "ft_n": "50", "ft_do": "train"},
        (word("medium"), word("paper"), word("k"), fill("Layers", "2-4"), word("Score the biases"), PRESENT),
        {"ft_regime": ["medium"], "ft_preset": ["paper"], "ft_layers": ["2-4"], "ft_do": [], "present": ["true"]},
    ),
}


@pytest.mark.parametrize("hands", QUICK.values(), ids=list(QUICK))
def test_quick_hands_lose_nothing(visit: Visit, hands: Hands) -> None:
    page = visit.open(hands.page, **hands.query)
    visit.settle()
    for act in hands.acts:  # as fast as the controls are there
        act(page)
    _expect(visit, hands.says)
    visit.open(page.url.removeprefix(f"{visit.lab.url}/"))
    _expect(visit, hands.says)


def _expect(visit: Visit, says: dict[str, list[str]]) -> None:
    """The address comes to say all of that, and stays so when the server's last word has come."""
    deadline = time.monotonic() + PATIENCE / 1000
    agreed = 0
    while time.monotonic() < deadline and agreed < 2:
        visit.settle()
        now = parse_qs(urlparse(visit.page.url).query)
        agreed = agreed + 1 if all(now.get(name, []) == values for name, values in says.items()) else 0
        visit.page.wait_for_timeout(250)
    if agreed < 2:
        pytest.fail(f"{visit.page.url} does not say {says}")
