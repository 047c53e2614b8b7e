"""Address of a page: the last value of every control wins in it, whatever is being drawn.

The browser writes a choice into the address at once, then asks for a run of the script. The server writes the address
too, when a control goes, is set by the script or is corrected; but it can only send the whole of it, as the request of
that run had it. If such a message is under way while somebody makes the next choice, it takes that choice out again,
and no later run notices: Streamlit believes that the browser has it. So every run first compares the address of its
request with what the controls hold, and repeats the whole address at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any
from urllib.parse import parse_qs, urlencode

import streamlit as st

from dashboard.streamlit_private import (
    Control,
    Run,
    Stopped,
    address_of,
    controls_in,
    current_run,
    drawn_in,
    gone_from,
    send_address,
    set_silently,
    values_in,
)

_REPEATED = "address-repeated"
"""Key in the session of the address as the last run repeated it."""
_PUT = "address-put"
"""Session state: name -> (page, all that was there before, what is there now, runs that saw it) of :func:`put`, and of
names whose control went.
"""
_SEEN = 2
"""Number of runs that must see a value before the browser surely has it; the first may be the one that wrote it."""


@contextmanager
def kept() -> Iterator[None]:
    """Draw a page, or a fragment by itself, inside of this, and the address says what its controls hold."""
    context = current_run()
    if context is None:
        yield
        return
    if context.is_history_navigation:  # the browser went back: there the address leads, and the controls follow
        st.session_state.pop(_PUT, None)
    else:
        known = _put_again(context)
        if _follow(context, None) or known:
            send_address(context, _written(context))
    try:
        yield
    except Stopped:  # of st.stop(); where the browser asked for another run, what is read below raises it again
        _repeat(context)
        raise
    _repeat(context)


def fragment(run_every: float | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Do what ``st.fragment`` does, and keep the address where the fragment is drawn without the page around it."""

    def decorate(draw: Callable[..., None]) -> Callable[..., None]:
        @wraps(draw)
        def drawn(*args: Any, **fields: Any) -> None:
            context = current_run()
            if context is None or not context.fragment_ids_this_run:
                draw(*args, **fields)
                return
            with kept():
                draw(*args, **fields)

        return st.fragment(drawn, run_every=run_every)

    return decorate


def goes_back() -> bool:
    """Say whether the browser's back or forward asked for this run: then the controls follow the address."""
    context = current_run()
    return context is not None and context.is_history_navigation


def put(name: str, value: str | list[str] | None) -> None:
    """Write a value, or several, that no control holds into the address; None takes them out.

    Unlike an assignment to ``st.query_params`` it holds against a choice that was made before the browser knew of it.
    """
    after = [] if value is None else [value] if isinstance(value, str) else value
    before = st.query_params.get_all(name)
    if before == after:
        return
    if value is None:
        del st.query_params[name]
    else:
        st.query_params[name] = value
    context = current_run()
    if context is not None:
        _remember(context, name, before, after)


def follow() -> None:
    """Take the address as it is: a link led here, and what :func:`put` wrote before is overtaken."""
    st.session_state.pop(_PUT, None)


def _remember(context: Run, name: str, before: list[str], after: list[str]) -> None:
    """Remember for the next runs that the address says ``after`` now, and ``before`` only until the browser hears."""
    page, known = context.page_script_hash, st.session_state.setdefault(_PUT, {})
    earlier = known[name][1] if name in known and known[name][0] == page else []
    known[name] = (page, [*earlier, before], after, 0)


# --- one run -------------------------------------------------------------------------------------------------------


def _put_again(context: Run) -> bool:
    """Put what the request of this run does not know of yet; return whether there was such a thing."""
    known: dict[str, tuple[str, list[list[str]], list[str], int]] = st.session_state.get(_PUT, {})
    changed = False
    for name, (page, before, after, seen) in list(known.items()):
        now = st.query_params.get_all(name)
        if page != context.page_script_hash or (now == after and seen + 1 == _SEEN) or now not in [after, *before]:
            del known[name]  # of another page, arrived, or overtaken by a link
        elif now == after:
            known[name] = (page, before, after, seen + 1)
        else:
            with address_of(context) as params:
                set_silently(params, name, after)
            changed = True
    return changed


def _follow(context: Run, drawn: frozenset[str] | None) -> bool:
    """Write what the controls hold into the address as the server has it; return whether anything was different.

    ``drawn``: identifiers of the controls to look at; None for all that there were before this run.
    """
    changed = False
    with address_of(context) as params:
        for control in controls_in(context, params, drawn):
            if not _says(params.get_all(control.name), control):
                set_silently(params, control.name, _in_address(control))
                changed = True
    return changed


def _take_out(context: Run, drawn: frozenset[str]) -> bool:
    """Take out what the controls said that this run of the whole page drew no more; return whether they said a thing.

    The next run does so again where its request was made before the browser heard of it: no control is bound to the
    name by then.
    """
    if context.fragment_ids_this_run:
        return False
    changed = False
    with address_of(context) as params:
        for name in gone_from(params, drawn):
            if before := params.get_all(name):
                set_silently(params, name, [])
                _remember(context, name, before, [])
                changed = True
    return changed


def _repeat(context: Run) -> None:
    drawn = drawn_in(context)
    gone = _take_out(context, drawn)
    changed = _follow(context, drawn) or gone
    text = _written(context)
    if changed or text != st.session_state.get(_REPEATED):
        st.session_state[_REPEATED] = text
        send_address(context, text)


def _written(context: Run) -> str:
    """Write the address as the server has it; in the browser's own spelling where it says the same."""
    with address_of(context) as params:
        values = values_in(params)
    same = parse_qs(context.query_string, keep_blank_values=True) == values
    return context.query_string if same else urlencode(values, doseq=True)


# --- one control ---------------------------------------------------------------------------------------------------


def _says(now: list[str], control: Control) -> bool:
    """Say whether an address with these values stands for what the control holds. Defaults do not stand there.

    A control of one value stands there once: where a link to another page names what holds on all pages, the browser
    adds it again.
    """
    is_default = control.written == control.default
    if is_default or not now:
        return is_default == (not now)
    if len(now) > 1 and not isinstance(control.written, list | tuple):
        return False
    try:
        return bool(control.read(now) == control.written)
    except (ValueError, TypeError, IndexError):
        return False


def _in_address(control: Control) -> list[str]:
    """Write what a control holds as it stands in the address."""
    wanted = control.written
    if wanted == control.default:
        return []
    parts = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
    parts = [part for part in parts if part is not None and part != ""]
    if not parts:
        return [""] if control.clearable else []
    return [_text(part) for part in parts]


def _text(part: object) -> str:
    """Write a part of the address as the browser does."""
    if isinstance(part, bool):
        return str(part).lower()
    return str(int(part)) if isinstance(part, float) and part.is_integer() else str(part)
