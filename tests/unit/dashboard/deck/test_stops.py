"""The deck is one table: stops with a page, a title and a sentence of their own, and links that name them."""

from __future__ import annotations

import re

from dashboard.content.places import PLACES
from dashboard.deck.stops import STOP, STOPS, first_on, joined, query_of, stop_at


def test_every_stop_has_a_page_and_words_of_its_own() -> None:
    assert 8 <= len(STOPS) <= 10
    assert {stop.page for stop in STOPS} <= set(PLACES)
    for words in ("key", "title", "says"):
        assert len({getattr(stop, words) for stop in STOPS}) == len(STOPS), words
    states = {(stop.page, *sorted(stop.query.items())) for stop in STOPS}
    assert len(states) == len(STOPS)  # the address alone tells two stops of a page apart


def test_no_stop_says_a_result_beforehand() -> None:
    """Numbers come from what is on the machine; only λ has values by definition."""
    for stop in STOPS:
        assert not re.search(r"\d", stop.title + stop.says.replace("λ = 0", "").replace("λ = 1", "")), stop.key


def test_an_address_names_a_stop_of_its_own_page_only() -> None:
    for stop in STOPS:
        assert stop_at(stop.page, stop.key) is stop
        assert stop_at("runs", stop.key) is None
    assert stop_at("start", None) is None and stop_at("start", "nonsense") is None


def test_one_joins_at_the_first_stop_of_the_page_or_of_the_deck() -> None:
    assert first_on("start") is STOPS[0]
    assert first_on("merge").page == "merge"
    assert first_on("runs") is STOPS[0]


def test_a_link_keeps_the_guess_of_the_room_and_nothing_else_of_the_page() -> None:
    reveal = next(stop for stop in STOPS if stop.key == "reveal")
    assert query_of(reveal, {}) == {STOP: "reveal", "guess": "seen"}
    assert query_of(reveal, {"guess": ["q"], "next": ["1"]}) == {STOP: "reveal", "guess": ["q"]}
    assert query_of(STOPS[0], {"guess": ["q"]}) == {STOP: "guess"}


def test_presenter_mode_joins_the_deck_only_on_a_page_as_it_opens() -> None:
    assert joined("why", ()) is first_on("why")
    assert joined("why", {"why_layer"}) is None
    assert joined("runs", ()) is None
