"""The address follows the controls: whatever it lost on the way to the browser, the next run says it again."""

from __future__ import annotations

from typing import Any

import pytest
from dashboard_tools import opened
from streamlit.testing.v1 import AppTest

pytestmark = pytest.mark.usefixtures("lab")


def said(at: AppTest, name: str) -> list[str]:
    value = at.query_params.get(name, [])
    return [value] if isinstance(value, str) else list(value)


def forget(at: AppTest, *names: str) -> None:
    """As if the browser had shown an older address when it asked."""
    for name in names:
        at.query_params.pop(name, None)


def test_a_choice_that_the_address_lost_is_said_again() -> None:
    at = opened("fine_tune", ft_do="train")
    at.selectbox(key="ft_task").select("demo-similarity").run()
    at.text_input(key="ft_layers").input("2-4").run()
    assert (said(at, "ft_task"), said(at, "ft_layers")) == (["demo-similarity"], ["2-4"])
    forget(at, "ft_task", "ft_do")
    at.text_input(key="ft_layers").input("1").run()
    assert (said(at, "ft_task"), said(at, "ft_layers"), said(at, "ft_do")) == (["demo-similarity"], ["1"], ["train"])


@pytest.mark.parametrize(
    ("page", "act", "name", "value"),
    [
        ("sweep", lambda at: at.number_input(key="sw_seeds").set_value(9), "sw_seeds", ["9"]),
        ("sweep", lambda at: at.multiselect(key="sw_terms").set_value(["v", "q"]), "sw_terms", ["v", "q"]),
        ("sweep", lambda at: at.multiselect(key="sw_terms").set_value([]), "sw_terms", [""]),
        ("start", lambda at: at.toggle(key="present").set_value(True), "present", ["true"]),
        ("why", lambda at: at.text_input(key="why_text").input("Ünïcode & more"), "why_text", ["Ünïcode & more"]),
    ],
)
def test_controls_of_every_kind(page: str, act: Any, name: str, value: list[str]) -> None:
    at = opened(page)
    act(at)
    assert said(at.run(), name) == value
    link = {key: said(at, key) for key in at.query_params}
    again = opened(page, **link)
    assert said(again, name) == value and again.session_state[name] == at.session_state[name]


def test_defaults_leave_the_address() -> None:
    at = opened("sweep", sw_seeds="9")
    at.number_input(key="sw_seeds").set_value(2).run()
    assert said(at, "sw_seeds") == []
    at.query_params["sw_seeds"] = "9"  # the browser has not heard of it
    at.text_input(key="sw_lrs").input("1e-3").run()
    assert (said(at, "sw_seeds"), at.session_state["sw_seeds"]) == ([], 2)


def test_what_a_control_said_that_went_does_not_come_back() -> None:
    at = opened("fine_tune", ft_regime="number", ft_n="50")
    assert said(at, "ft_n") == ["50"]
    at.segmented_control(key="ft_regime").set_value("medium").run()
    assert (said(at, "ft_regime"), said(at, "ft_n")) == (["medium"], [])
    at.query_params["ft_n"] = "50"  # the browser had not heard of it when the next choice was made
    at.text_input(key="ft_layers").input("2-4").run()
    assert (said(at, "ft_layers"), said(at, "ft_n")) == (["2-4"], [])
    at.segmented_control(key="ft_regime").set_value("number").run()
    at.number_input(key="ft_n").set_value(50).run()
    assert said(at, "ft_n") == ["50"] == said(at.run(), "ft_n")  # the control is there again, and has its say


def test_what_no_control_holds_outlives_a_choice_that_was_made_before_the_browser_knew_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("BEFT_SAMPLES_DIR")  # the bundled samples answer the first page's question
    at = opened("start")
    at.button(key="guess-v").click().run()
    assert said(at, "guess") == ["v"]
    forget(at, "guess")
    at.toggle(key="present").set_value(True).run()
    assert (said(at, "guess"), said(at, "present")) == (["v"], ["true"])
    at.run()
    at.run()
    forget(at, "guess")  # the browser had it, so this is somebody's will
    assert said(at.run(), "guess") == []


def test_what_a_link_and_the_browser_both_say_is_said_once() -> None:
    at = opened("start", present=["true", "true"], guess="v")
    assert said(at, "present") == ["true"] and at.session_state["present"] is True
