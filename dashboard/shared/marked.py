"""Lists in the URL whose options are shown in other words, or with a mark that their data is not on this machine.

Streamlit writes a bound option into the URL as it is shown, so a mark would stand in links, and a machine that has the
data would not know them; nor would a release whose words are better. These lists write the plain option instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import streamlit as st

from beft_core.execution import machine
from beft_core.tasks.prompts.tasks import PROMPTED
from beft_core.tasks.sources.presence import presence
from dashboard.shared import address

PROMPT_NAMES: tuple[str, ...] = tuple(spec.name for spec in PROMPTED)
"""Names of the prompted tasks."""
NOT_HERE = "not on this machine"


def lacking() -> frozenset[str]:
    """Find the tasks whose data is not on this machine, those of prompts among them."""
    heads = {task for one in machine.data() for task in one.lacking}
    return frozenset(heads | {spec.name for spec in PROMPTED if not presence(spec).here})


def with_mark(option: str, marked: frozenset[str]) -> str:
    """Write an option as a list shows it, with its mark."""
    return f"{option} ({NOT_HERE})" if option in marked else option


def marks(marked: frozenset[str]) -> Callable[[str], str]:
    """Make the function that writes an option as a list shows it, with its mark."""
    return partial(with_mark, marked=marked)


def choose_one(
    label: str,
    options: Sequence[str],
    default: str,
    key: str,
    shown: Callable[[str], str],
    help: str | None = None,
    draw: Callable[..., Any] = st.selectbox,
    **look: Any,
) -> str:
    """Draw a list under `key`, which is also its name in the URL; the default does not stand there.

    ``shown``: writes an option as the list shows it; ``draw``: st.selectbox or st.radio, with its arguments ``look``.
    """
    _follow_the_address(key, lambda found: found[-1] if found and found[-1] in options else default)
    chosen: str = draw(label, options, key=key, format_func=shown, help=help, **look)
    address.put(key, None if chosen == default else chosen)
    return chosen


def choose_some(
    label: str,
    options: Sequence[str],
    default: list[str],
    key: str,
    shown: Callable[[str], str],
    help: str | None = None,
    placeholder: str = "Choose tasks",
    *,
    new: bool = False,
) -> list[str]:
    """Draw a multiselect under `key`, which is also its name in the URL; an emptied one is an empty value there.

    ``shown``: as in :func:`choose_one`; ``new``: whether others than the ``options`` may be typed.
    """

    def named(found: list[str]) -> list[str]:
        known = [option for option in dict.fromkeys(found) if option in options or (new and option)]
        return known if known or found == [""] else default

    _follow_the_address(key, named)
    chosen = st.multiselect(
        label, options, key=key, format_func=shown, help=help, placeholder=placeholder, accept_new_options=new
    )
    address.put(key, None if chosen == default else chosen or "")
    return chosen


def _follow_the_address(key: str, value: Callable[[list[str]], str | list[str]]) -> None:
    """Set a list from the URL where that leads: when the page is opened, and when the browser goes back."""
    if key not in st.session_state or address.goes_back():
        st.session_state[key] = value(st.query_params.get_all(key))
