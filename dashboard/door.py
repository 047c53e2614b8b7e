"""Door of this server: open to all of the machine, to whoever has its token, or to whom Streamlit's login lets in.

``BEFT_TOKEN`` sets the token, ``auto`` has the server make one and print its link. Where a ``secrets.toml`` configures
Streamlit's own login (``[auth]``), that decides. Before somebody is let in, no page is run and nothing is computed.
"""

from __future__ import annotations

import hmac
import os
import secrets
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import quote

import streamlit as st

from dashboard.shared import address

NAME = "token"
"""Name of the token in a link. It leaves the address as soon as it was read."""
AUTO = "auto"
FEWEST_CHARACTERS = 12
_OPEN = "door-open"
"""Session state: a digest of the token that this tab gave; a server with another one asks again."""
_TYPED, _KEPT = "door-typed", "door-kept"
_WRONG = "door-wrong"
"""Session state: whether a token was given in this run that the server may not have."""
_TOKEN = secrets.token_urlsafe(24)
_COMPONENT = st.components.v2.component("beft_door", js=Path(__file__).with_suffix(".js").read_text(encoding="utf-8"))


def admitted() -> bool:
    """Say whether this visitor may see the pages. Called once by app.py; :func:`draw` shows the answer."""
    given = st.query_params.get(NAME)
    if given is not None:
        address.put(NAME, None)
    if providers():
        return bool(st.user.get("is_logged_in"))
    wanted = token()
    if not wanted:
        return True
    if len(wanted) < FEWEST_CHARACTERS:
        return False
    typed, kept = st.session_state.get(_TYPED), (st.session_state.get(_KEPT) or {}).get("kept")
    st.session_state[_WRONG] = bool(given or typed)
    if any(same(one, wanted) for one in (given, typed, kept)):
        st.session_state[_OPEN] = _digest(wanted)
    return same(st.session_state.get(_OPEN), _digest(wanted))


def draw(let_in: bool) -> None:
    """Draw the page that asks; for whoever was let in, what keeps the door open or closes it.

    Called after ``st.navigation``: the browser gives the token that it kept as soon as it sees the page that asks, and
    where it has not heard by then which page the address names, it asks for the first one.
    """
    if providers():
        _draw_login(let_in)
        return
    wanted = token()
    if not wanted:
        return
    if let_in:
        with st.sidebar:
            _COMPONENT(key="door-keep", data={"keep": wanted})
    elif len(wanted) < FEWEST_CHARACTERS:
        st.error(
            f"It has {len(wanted)} characters; {FEWEST_CHARACTERS} is the least. Start the server with a longer one, "
            f"or with BEFT_TOKEN={AUTO}, which makes one.",
            title="The token of this server (BEFT_TOKEN) is too short",
            icon=":material/lock:",
        )
    else:
        _ask(wrong=st.session_state[_WRONG])


def same(given: object, wanted: str) -> bool:
    """Compare two texts in a time that does not depend on where they differ."""
    return isinstance(given, str) and hmac.compare_digest(given.encode(), wanted.encode())


def token() -> str:
    """Find the token of this server; empty where everybody may come in."""
    named = os.environ.get("BEFT_TOKEN", "").strip()
    return _made() if named == AUTO else named


@cache
def _made() -> str:
    """Make a token of this process; its link is printed where the server was started, when it is first asked for."""
    print(f"\n  BEFT lab: open {link(_TOKEN)}\n", flush=True)  # noqa: T201  # what the terminal is for
    return _TOKEN


def link(wanted: str) -> str:
    """Write the address of this server with its token."""
    host, path = st.get_option("server.address") or "127.0.0.1", str(st.get_option("server.baseUrlPath")).strip("/")
    scheme = "https" if st.get_option("server.sslCertFile") else "http"
    return f"{scheme}://{host}:{st.get_option('server.port')}/{path}{'/' * bool(path)}?{NAME}={quote(wanted, safe='')}"


def _digest(wanted: str) -> str:
    return hmac.digest(wanted.encode(), b"beft-door", "sha256").hex()


def _ask(wrong: bool) -> None:
    st.title("This server asks for its token", anchor=False)
    st.markdown(
        "Whoever started it has a link that opens it: with `BEFT_TOKEN=auto` it stands in the terminal, otherwise the "
        "token is what `BEFT_TOKEN` was set to. Open that link, or give the token here."
    )
    st.text_input("Token", type="password", key=_TYPED, autocomplete="current-password", width=420)
    if wrong:
        st.error("That is not the token of this server.", icon=":material/lock:")
    _COMPONENT(key=_KEPT, data={"ask": True}, on_kept_change=lambda: None)


# --- Streamlit's own login -----------------------------------------------------------------------------------------


def providers() -> list[str]:
    """List the identity providers of ``[auth]`` in ``secrets.toml``; an empty name is the one without a name."""
    section = st.secrets.get("auth", {}) if st.secrets.load_if_toml_exists() else {}
    named = [str(name) for name, about in section.items() if isinstance(about, Mapping)]
    return ([""] if "client_id" in section else []) + named


def _draw_login(logged_in: bool) -> None:
    if logged_in:
        with st.sidebar:
            st.button("Log out", icon=":material/logout:", type="tertiary", on_click=st.logout)
        return
    st.title("This server asks who you are", anchor=False)
    st.markdown("Log in to see it. Who may is decided by the provider below.")
    for name in providers():
        st.button(
            f"Log in with {name}" if name else "Log in",
            key=f"door-login-{name}",
            type="primary",
            icon=":material/login:",
            on_click=st.login,
            args=(name,) if name else (),
        )
