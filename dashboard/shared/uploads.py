"""Files that a visitor brings: opened in memory, each with its own report, kept on this machine only when asked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import streamlit as st

from beft_core.errors import UserError
from beft_core.exchange import upload_library
from beft_core.exchange.uploads import ADAPTER, Model, Received, from_models, in_memory, receive
from beft_core.models.source import BUNDLED
from beft_core.snapshots.snapshot import SUFFIX
from dashboard.shared import page
from dashboard.shared.sources import (
    MAX_UPLOAD_BYTES,
    Source,
    add_upload,
    free_title,
    kept,
    kept_source,
    remove_upload,
    uploads,
)
from dashboard.shared.text import plain
from dashboard.streamlit_private import release_uploads

MEGABYTES = 64
"""Largest size in megabytes of one file among several."""
IN_MEMORY = "Checked before use and held in memory by this tab; nothing is stored on disk."
"""Sentence below every uploader."""
MODEL_MEGABYTES = 200
"""Largest size in megabytes of a whole model; larger ones are read where they lie."""

ERRORS = "upload_errors"
"""Session state: what was wrong with the last files, ready to be shown."""
ROUND = "upload_round"
"""Session state: counts the batches. An uploader with a new key is empty, so that nothing is held twice."""
BASE = "upload_base"

_PLACE_HELP = {
    False: "A folder that save_pretrained wrote, one .safetensors file, or the index of several, on this machine.",
    True: "This server is read-only: it opens no folders.",
}

Then = Callable[[list[str]], None]
"""Function that is called with the titles of what was opened."""


def opener(place: str, then: Then) -> None:
    """Draw the button that opens files. ``place``: unique on the page."""
    with st.popover("Open files", icon=":material/upload_file:"):
        key = f"upload-{place}-{st.session_state.get(ROUND, 0)}"
        st.file_uploader(
            "Snapshots or PEFT adapters, several at once",
            key=key,
            on_change=_accept,
            args=(key, then),
            accept_multiple_files=True,
            max_upload_size=MEGABYTES,
            help=f"Snapshots (*{SUFFIX}), PEFT BEFT adapters as zip, or an adapter's two files "
            f"({' and '.join(ADAPTER)}) chosen together.",
        )
        st.text_input(
            "Base model of adapters",
            key=BASE,
            placeholder=BUNDLED,
            persist_state="session",
            help="An adapter holds only what is added to a bias, so the biases of its base model are needed: the "
            "bundled model, a folder on this machine, or a Hub model that was downloaded before.",
            disabled=page.read_only(),
        )
        st.caption(IN_MEMORY)


def complaints() -> None:
    """Draw what was wrong with the last files that were opened."""
    for text in st.session_state.get(ERRORS, []):
        st.error(text, title="This file cannot be opened", icon=":material/error:")


def _accept(key: str, then: Then) -> None:
    """Check the uploads before anything else runs. A broken one leaves everything else as it was."""
    files = st.session_state[key] or []
    base = "" if page.read_only() else str(st.session_state.get(BASE) or "").strip()
    try:
        answers = receive([(file.name, file.getvalue()) for file in files], base)
    finally:
        forget_files(files, ROUND)
    shelve(answers, then)


def shelve(answers: Sequence[Received], then: Then) -> None:
    """Put what is good on the shelf and hand its titles on; :func:`complaints` draws what is not."""
    errors, titles = [], []
    for answer in answers:
        problem = answer.problem
        if answer.snapshot is not None:
            try:
                titles.append(add_upload(answer.name, answer.snapshot).title)
            except UserError as error:
                problem = error
        if problem is not None:
            errors.append(plain(f"{answer.name}: {problem}", 900))
    st.session_state[ERRORS] = errors
    if titles:
        then(titles)


def hold(key: str, upload: Any, most: int) -> str:
    """Hold an upload in this session, as the newest of at most ``most``: the oldest makes room. Returns its title.

    The same one again takes its own place; another of the same name, as the tables of all sweeps have it, gets a
    number. ``key``: of the session state, which holds a dictionary by title; ``upload``: a dataclass with ``title`` and
    ``token``, which says what is in it.
    """
    held: dict[str, Any] = st.session_state.setdefault(key, {})
    title = free_title(upload.title, held, lambda other: other.token == upload.token)
    held.pop(title, None)
    while len(held) >= most:
        held.pop(next(iter(held)))
    held[title] = replace(upload, title=title)
    return title


def forget_files(files: Sequence[Any], round_key: str) -> None:
    """Empty an uploader, whose files the server would hold until the tab is closed.

    ``round_key``: where the session counts how often it was emptied; the uploader's key contains that number, and
    under a new key it holds nothing.
    """
    st.session_state[round_key] = st.session_state.get(round_key, 0) + 1
    release_uploads(files)


# --- what is there -------------------------------------------------------------------------------------------------


def shelf_of_mine(key: str) -> None:
    """Draw the uploads of this tab and those that are kept, each with what can be done with it.

    ``key``: of the list whose titles follow when an upload is kept or forgotten.
    """
    mine, stored = uploads(), kept()
    if not mine and not stored:
        st.caption("Nothing yet. **Open files** above takes snapshots and adapters, several at once.")
        return
    lock = page.locked()
    for number, source in enumerate(mine):
        with st.container(horizontal=True, vertical_alignment="center"):
            st.markdown(f"{plain(source.title.removeprefix('Upload: '), 80)} :gray[{source.size / 1e6:.1f} MB]")
            st.button(
                "Keep on this machine",
                key=f"keep-{number}",
                icon=":material/save:",
                disabled=lock is not None,
                help=lock or "Writes it into the home folder of the lab; it is then on every page, after F5 too.",
                on_click=_keep,
                args=(source, key),
            )
            st.button(
                "Remove",
                key=f"remove-{number}",
                icon=":material/close:",
                type="tertiary",
                on_click=remove_upload,
                args=(source.title,),
            )
    if mine:
        used = sum(source.size for source in mine) / 1e6
        st.caption(
            f"{used:.1f} of {MAX_UPLOAD_BYTES / 1e6:.0f} MB that a tab may hold. They go with the tab, unless kept."
        )
    if stored:
        titles = {source.title: source for source in stored}
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.selectbox("Kept on this machine", titles, key="kept", width="stretch")
            st.button(
                "Forget",
                icon=":material/delete:",
                disabled=lock is not None,
                on_click=_forget,
                args=(titles.get(chosen, stored[0]), key),
                help=lock or "Removes it from the disk. It stays in this tab, as an upload, until the tab is closed.",
            )


def _keep(source: Source, key: str) -> None:
    if page.locked() is not None:
        return
    try:
        stored = upload_library.keep(source.read(), source.title.removeprefix("Upload: "))
    except UserError as error:
        st.session_state[ERRORS] = [plain(error, 900)]
        return
    remove_upload(source.title)
    _rename(key, source.title, kept_source(stored).title)


def _forget(source: Source, key: str) -> None:
    """Take a kept upload off the disk into this tab, so that a wrong click costs nothing; without room it stays."""
    if page.locked() is not None:
        return
    try:
        snapshot = in_memory(source.read())
    except UserError:  # damaged, or gone: nothing to go back to
        snapshot = None
    try:
        title = add_upload(source.title.split(": ", 1)[-1], snapshot).title if snapshot is not None else None
        upload_library.forget(source.kept_id)
    except UserError as error:
        st.session_state[ERRORS] = [plain(error, 900)]
        return
    _rename(key, source.title, title)


def _rename(key: str, old: str, new: str | None) -> None:
    """Follow a title in the list that holds it."""
    chosen = st.session_state.get(key)
    if isinstance(chosen, list) and old in chosen:
        st.session_state[key] = [title for title in (new if one == old else one for one in chosen) if title]


# --- a model before and after --------------------------------------------------------------------------------------


def two_models(then: Then) -> None:
    """Draw a form that makes a snapshot of a model before and after a fine-tune that happened elsewhere."""
    number = st.session_state.get(ROUND, 0)
    keys = {name: f"models-{name}-{number}" for name in ("before", "after", "config")}
    with st.form(f"models-{number}", border=False):
        st.caption(
            "A model before and after a fine-tune that happened elsewhere: only its biases are read. Give a folder on "
            f"this machine, however large, or send a model.safetensors of at most {MODEL_MEGABYTES} MB."
        )
        sides = {"before": "Before the fine-tune", "after": "After the fine-tune"}
        for column, (side, label) in zip(st.columns(2), sides.items(), strict=True):
            with column:
                st.text_input(
                    label,
                    key=f"{keys[side]}-place",
                    disabled=page.read_only(),
                    help=_PLACE_HELP[page.read_only()],
                    placeholder="folder, .safetensors file, or bundled",
                )
                st.file_uploader(
                    f"{label}: model.safetensors",
                    key=keys[side],
                    type="safetensors",
                    max_upload_size=MODEL_MEGABYTES,
                    label_visibility="collapsed",
                )
        left, right = st.columns(2, vertical_alignment="bottom")
        left.file_uploader(
            "config.json, if neither is a folder that has one", key=keys["config"], type="json", max_upload_size=1
        )
        right.text_input("Name of the result", key=f"{keys['after']}-name", placeholder="fine-tuned elsewhere")
        st.form_submit_button("Read the biases", icon=":material/difference:", on_click=_read_models, args=(keys, then))


def _read_models(keys: dict[str, str], then: Then) -> None:
    files = {name: st.session_state.get(key) for name, key in keys.items()}
    name = str(st.session_state.get(f"{keys['after']}-name") or "").strip() or "fine-tuned elsewhere"
    models = []
    for side in ("before", "after"):
        place = "" if page.read_only() else str(st.session_state.get(f"{keys[side]}-place") or "")
        file = files[side]
        models.append(Model(place, file.getvalue() if file else None, file.name if file else ""))
    config = files["config"].getvalue() if files["config"] else None
    try:
        answer = Received(name, snapshot=from_models(models[0], models[1], config))
        # Only now: after a mistake the fields are as they were.
        forget_files([file for file in files.values() if file], ROUND)
    except UserError as error:
        answer = Received(name, problem=error)
    shelve([answer], then)
