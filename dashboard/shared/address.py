"""The address of a page: the last value of every control wins in it, whatever is being drawn.

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
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.scriptrunner import StopException, get_script_run_ctx
from streamlit.runtime.scriptrunner_utils.script_run_context import ScriptRunContext
from streamlit.runtime.state.common import WidgetMetadata
from streamlit.runtime.state.query_params import parse_url_param

_REPEATED = "address-repeated"
"""Session state: the address as the last run repeated it."""
_PUT = "address-put"
"""Session state: name -> (page, all that was there before, what is there now, runs that saw it) of :func:`put`."""
_SEEN = 2
"""Runs that must see a value before the browser is known to have it; the first may be the one that wrote it."""


@contextmanager
def kept() -> Iterator[None]:
    """Draw a page, or a fragment by itself, inside of this, and the address says what its controls hold."""
    context = get_script_run_ctx()
    if context is None:
        yield
        return
    if context.is_history_navigation:  # the browser went back: there the address leads, and the controls follow
        st.session_state.pop(_PUT, None)
    else:
        known = _put_again(context)
        if _follow(context, None) or known:
            _send(context, _written(context))
    try:
        yield
    except StopException:  # of st.stop(); where the browser asked for another run, what is read below raises it again
        _repeat(context)
        raise
    _repeat(context)


def fragment(run_every: float | None = None) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Do what ``st.fragment`` does, and keep the address where the fragment is drawn without the page around it."""

    def decorate(draw: Callable[..., None]) -> Callable[..., None]:
        @wraps(draw)
        def drawn(*args: Any, **fields: Any) -> None:
            context = get_script_run_ctx()
            if context is None or not context.fragment_ids_this_run:
                draw(*args, **fields)
                return
            with kept():
                draw(*args, **fields)

        return st.fragment(drawn, run_every=run_every)

    return decorate


def goes_back() -> bool:
    """Whether this run is one that the browser's back or forward asked for: then the controls follow the address."""
    context = get_script_run_ctx()
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
    context = get_script_run_ctx()
    if context is not None:
        page, known = context.page_script_hash, st.session_state.setdefault(_PUT, {})
        earlier = known[name][1] if name in known and known[name][0] == page else []
        known[name] = (page, [*earlier, before], after, 0)


# --- one run -------------------------------------------------------------------------------------------------------


def _put_again(context: ScriptRunContext) -> bool:
    """Put what the request of this run does not know of yet; whether there was such a thing."""
    known: dict[str, tuple[str, list[list[str]], list[str], int]] = st.session_state.get(_PUT, {})
    changed = False
    for name, (page, before, after, seen) in list(known.items()):
        now = st.query_params.get_all(name)
        if page != context.page_script_hash or (now == after and seen + 1 == _SEEN) or now not in [after, *before]:
            del known[name]  # of another page, arrived, or overtaken by a link
        elif now == after:
            known[name] = (page, before, after, seen + 1)
        else:
            with context.session_state.query_params() as params:
                _set(params, name, after)
            changed = True
    return changed


def _follow(context: ScriptRunContext, drawn: frozenset[str] | None) -> bool:
    """Write what the controls hold into the address as the server has it; whether anything was different.

    ``drawn``: identifiers of the controls to look at; None for all that there were before this run.
    """
    changed = False
    with context.session_state.query_params() as params:
        state = context.session_state._state
        for key in list(params._bindings_by_param):
            binding = params.get_binding_for_param(key)
            if binding is None or (drawn is not None and binding.widget_id not in drawn):
                continue
            control = state.get_widget_metadata(binding.widget_id)
            if control is None or binding.widget_id not in state:
                continue
            wanted, now = state[binding.widget_id], params.get_all(key)
            if not _says(control, now, wanted):
                _set(params, key, _in_address(control, wanted))
                changed = True
    return changed


def _repeat(context: ScriptRunContext) -> None:
    changed = _follow(context, context.shared.widget_ids_this_run.snapshot())
    text = _written(context)
    if changed or text != st.session_state.get(_REPEATED):
        st.session_state[_REPEATED] = text
        _send(context, text)


def _written(context: ScriptRunContext) -> str:
    """The address as the server has it; in the browser's own spelling where it says the same."""
    with context.session_state.query_params() as params:
        values = {key: params.get_all(key) for key in params._query_params}
    same = parse_qs(context.query_string, keep_blank_values=True) == values
    return context.query_string if same else urlencode(values, doseq=True)


def _send(context: ScriptRunContext, text: str) -> None:
    """Have the browser show an address. It does nothing where it shows that already."""
    message = ForwardMsg()
    message.page_info_changed.query_string = text
    context.query_string = text
    context.enqueue(message)


# --- one control ---------------------------------------------------------------------------------------------------


def _says(control: WidgetMetadata[Any], now: list[str], value: Any) -> bool:
    """Whether an address with these values stands for that value of the control. A default does not stand there."""
    wanted = control.serializer(value)
    default = control.serializer(control.deserializer(None))
    if wanted == default or not now:
        return (wanted == default) == (not now)
    try:
        parsed = parse_url_param(now[0] if len(now) == 1 else now, control.value_type)
        return control.serializer(control.deserializer(parsed)) == wanted
    except (ValueError, TypeError, IndexError):
        return False


def _in_address(control: WidgetMetadata[Any], value: Any) -> list[str]:
    """What stands in the address for a value of a control."""
    wanted = control.serializer(value)
    if wanted == control.serializer(control.deserializer(None)):
        return []
    parts = list(wanted) if isinstance(wanted, list | tuple) else [wanted]
    parts = [part for part in parts if part is not None and part != ""]
    if not parts:
        return [""] if control.clearable else []
    return [_text(part) for part in parts]


def _text(part: object) -> str:
    """As the browser writes it."""
    if isinstance(part, bool):
        return str(part).lower()
    return str(int(part)) if isinstance(part, float) and part.is_integer() else str(part)


def _set(params: Any, name: str, values: list[str]) -> None:
    """Change the address as the server has it, without telling the browser."""
    if values:
        params.set_with_no_forward_msg(name, values[0] if len(values) == 1 else values)
    else:
        params.discard_param_no_forward_msg(name)
