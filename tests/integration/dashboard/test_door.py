"""The door of a server on a shared machine: no token, no page; the token never stays in a link; Streamlit's login."""

from __future__ import annotations

from typing import Any

import pytest
import streamlit as st
from dashboard_tools import app, button, charts, opened, sound
from streamlit.testing.v1 import AppTest

from dashboard import door
from dashboard.shared import page

pytestmark = pytest.mark.usefixtures("lab")
TOKEN = "a long enough töken"


@pytest.fixture
def closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_TOKEN", TOKEN)


def asked(at: AppTest) -> bool:
    return [one.value for one in at.title] == ["This server asks for its token"]


def test_without_a_token_everybody_may_come_in_and_one_of_a_link_goes() -> None:
    at = opened("importance", token="of another server", term="q")
    assert charts(at) and "token" not in at.query_params and at.query_params["term"] in ("q", ["q"])


@pytest.mark.usefixtures("closed")
@pytest.mark.parametrize("name", page.PLACES)
@pytest.mark.parametrize("given", [None, "", "wrong", TOKEN[:-1], TOKEN + " "])
def test_before_that_no_page_runs(name: str, given: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "begin", lambda *_, **__: pytest.fail("a page was drawn"))
    monkeypatch.setattr(page, "frame", lambda: pytest.fail("the sidebar was drawn"))
    at = opened(name, **({} if given is None else {"token": given}))
    assert asked(at) and not charts(at) and not at.button and len(at.text_input) == 1
    assert bool(at.error) == bool(given) and "token" not in at.query_params
    assert TOKEN not in str(at._tree)


@pytest.mark.usefixtures("closed")
def test_the_browser_hears_which_page_it_is_before_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the token that it kept is answered with the first page."""
    order: list[str] = []
    for name in ("navigation", "title"):
        real = getattr(st, name)
        monkeypatch.setattr(st, name, lambda *a, name=name, real=real, **k: (order.append(name), real(*a, **k))[1])
    assert asked(opened("sweep")) and order == ["navigation", "title"]


@pytest.mark.usefixtures("closed")
def test_the_link_opens_the_page_that_it_names_and_the_tab_stays_open() -> None:
    at = opened("importance", token=TOKEN, term="q")
    assert not asked(at) and charts(at) and "token" not in at.query_params
    assert at.selectbox(key="term").value == "q"
    at.selectbox(key="term").select("v").run()
    assert not asked(sound(at)) and "token" not in at.query_params


@pytest.mark.usefixtures("closed")
def test_a_token_can_be_typed_and_a_browser_gives_what_it_kept() -> None:
    at = opened("sweep")
    at.text_input[0].input("nonsense").run()
    assert asked(at) and "not the token" in at.error[0].value
    at.text_input[0].input(TOKEN).run()
    assert not asked(sound(at))
    again = opened("sweep")
    again.session_state["door-kept"] = {"kept": TOKEN}
    assert not asked(again.run())
    stale = opened("sweep")
    stale.session_state["door-kept"] = {"kept": "of an earlier server"}
    assert asked(stale.run()) and not stale.error


def test_a_server_with_another_token_asks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_TOKEN", TOKEN)
    at = opened("sweep", token=TOKEN)
    assert not asked(at)
    monkeypatch.setenv("BEFT_TOKEN", "quite another token")
    assert asked(at.run())


def test_a_short_token_opens_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_TOKEN", "short")
    at = opened("sweep", token="short")
    assert not at.title and "12 is the least" in at.error[0].value


def test_a_token_is_made_and_its_link_printed_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BEFT_TOKEN", "auto")
    door._made.cache_clear()
    assert asked(opened("sweep")) and asked(opened("sweep", token="auto"))
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "token=" in line]
    made = line.split("token=")[1]
    assert len(made) >= 32 and line.split()[:3] == ["BEFT", "lab:", "open"]
    assert not asked(opened("sweep", token=made))


def test_tokens_are_compared_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    assert door.same("ä", "ä") and not door.same("ä", "a") and not door.same(None, "") and not door.same(["ä"], "ä")
    seen: list[Any] = []
    monkeypatch.setattr(door.hmac, "compare_digest", lambda *both: seen.append(both))
    door.same("x", "y")
    assert seen == [(b"x", b"y")]


class Secrets(dict[str, Any]):
    """Those of a server that has a secrets.toml."""

    def load_if_toml_exists(self) -> bool:
        return True


@pytest.mark.usefixtures("closed")
def test_streamlits_own_login_decides_where_it_is_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    visitor = {"is_logged_in": False}
    wanted: list[Any] = []
    monkeypatch.setattr(st, "secrets", Secrets(auth={"cookie_secret": "x", "lab": {"client_id": "y"}}))
    monkeypatch.setattr(st, "user", visitor)
    monkeypatch.setattr(st, "login", lambda *names: wanted.append(names))
    at = opened("importance", token=TOKEN)
    assert [one.value for one in at.title] == ["This server asks who you are"] and not charts(at)
    button(at, "Log in with lab").click().run()
    assert wanted == [("lab",)]
    visitor["is_logged_in"] = True
    at = opened("importance")
    assert charts(at) and button(at, "Log out")
    monkeypatch.setattr(st, "secrets", Secrets(auth={"client_id": "y"}))
    assert door.providers() == [""]
    monkeypatch.setattr(st, "secrets", Secrets(database={"client_id": "y"}))
    assert door.providers() == []


def test_no_page_is_named_in_the_sidebar_before(closed: None, monkeypatch: pytest.MonkeyPatch) -> None:
    places: list[str] = []
    navigation = st.navigation
    monkeypatch.setattr(
        st,
        "navigation",
        lambda *a, position, **more: places.append(position) or navigation(*a, position=position, **more),
    )
    app().run()
    opened("sweep", token=TOKEN)
    assert places == ["hidden", "sidebar"]
