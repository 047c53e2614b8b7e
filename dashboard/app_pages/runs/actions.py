"""Actions on the ticked runs: name, tag, note, cancel, resume, delete and take back, download, open elsewhere."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import streamlit as st

from beft_core.errors import UserError
from beft_core.execution.cancel import cancel
from beft_core.runs import about
from beft_core.runs.archive import LEFT_OUT, MAX_BYTES, bytes_of, too_large, zip_of
from beft_core.runs.overview import Overview, overview
from beft_core.runs.run import Run
from dashboard.app_pages.runs.table import CHOSEN
from dashboard.figures.compare import MAX_COMPARED
from dashboard.run_watch import again, check, fine_tunes, stopped
from dashboard.shared import page
from dashboard.shared.picker import CHOICE, COMPARE_CHOICE, GEOMETRY_CHOICE
from dashboard.shared.sources import run_title
from dashboard.shared.text import bytes_in_words, plain

MAX_NOTES = 8
"""Most notes that are shown below the table."""
_PROBLEM = "runs-problem"
_CHECKING = "runs-checking"
"""Session state: id of the check that was just started."""
_UNDO = "runs-undo"
"""Session state: ids of what was deleted last, and the labels that were ticked then."""
TRASH_SECONDS = 30 * 86400.0
"""Seconds (30 days) after which what was deleted is removed for good, at the next deletion."""


def problem() -> None:
    """Draw what went wrong in the last action."""
    with st.container():  # always there, so that what follows keeps its place
        text = st.session_state.pop(_PROBLEM, None)
        if text:
            st.error(text, title="That did not work", icon=":material/error:")


def _do(action: Callable[[], None]) -> None:
    """Run an action unless the page is locked; report on the page what goes wrong."""
    why = page.locked()
    if why is not None:
        st.session_state[_PROBLEM] = why
        return
    try:
        action()
    except UserError as error:
        st.session_state[_PROBLEM] = plain(error, 900)


def bar(chosen: Sequence[Overview], everything: Sequence[Overview]) -> None:
    """Draw the row of buttons for the ticked runs."""
    locked = page.locked()
    with st.container(horizontal=True, vertical_alignment="center"):
        _open_links(chosen)
        with page.control("settings", "runs-change", horizontal=True, width="content"):
            _name(chosen, locked)
            _tags(chosen, everything, locked)
            _note(chosen, locked)
            active = [one for one in chosen if one.status.active]
            if active:
                st.button(
                    "Cancel",
                    icon=":material/stop:",
                    on_click=_cancel,
                    args=([one.run for one in active],),
                    disabled=bool(locked),
                    help=locked or fine_tunes.FULL.cancel_help,
                )
            st.button(
                "Delete",
                icon=":material/delete:",
                on_click=_delete,
                args=([one.run for one in chosen],),
                disabled=bool(locked or active),
                help=locked or ("Cancel runs at work first." if active else "It can be taken back."),
            )
        download(chosen, "chosen", f"Download {_count(chosen)}")


def _open_links(chosen: Sequence[Overview]) -> None:
    """Draw links to the other pages that show the ticked runs."""
    if len(chosen) == 1 and (row := chosen[0].row).page != fine_tunes.FULL.page:
        st.page_link(
            page.file_of(row.page),
            label=page.PLACES[row.page].title,
            icon=f":material/{page.PLACES[row.page].icon}:",
            query_params=page.kept(**{row.link: chosen[0].id}),
        )
    if len(chosen) == 1:
        again.link(chosen[0].run)
        if check.can_be_checked(chosen[0].run):
            check.button(chosen[0].run, lambda: _check(chosen[0].run), "runs")
            if (started := st.session_state.pop(_CHECKING, None)) is not None:
                st.switch_page(page.file_of("fine_tune"), query_params=page.kept(run=started))
    with_snapshot = [run_title(one.run) for one in chosen if one.has_snapshot]
    if len(with_snapshot) == 1:
        for place, name, more in (("importance", CHOICE, {}), ("geometry", GEOMETRY_CHOICE, {"geo": "Every layer"})):
            st.page_link(
                page.file_of(place),
                label=page.PLACES[place].title,
                icon=f":material/{page.PLACES[place].icon}:",
                query_params=page.kept(**{name: with_snapshot[0], **more}),
            )
    if len(with_snapshot) > 1:
        st.page_link(
            page.file_of("compare"),
            label="Compare snapshots",
            icon=":material/compare:",
            query_params={**page.kept(), COMPARE_CHOICE: with_snapshot[:MAX_COMPARED]},
        )


def _check(run: Run) -> None:
    """Start the check of a probe's selection; the page Fine-tune then shows it."""

    def start() -> None:
        st.session_state[_CHECKING] = check.launched(run).id

    _do(start)


def _count(runs: Sequence[Overview]) -> str:
    return "1 run" if len(runs) == 1 else f"{len(runs)} runs"


def _key(what: str, runs: Sequence[Overview]) -> str:
    """Make a key for a choice of runs: what was typed for one must not reach another."""
    return f"{what}-{hashlib.sha256(' '.join(one.id for one in runs).encode()).hexdigest()[:12]}"


def _name(chosen: Sequence[Overview], locked: str | None) -> None:
    if len(chosen) != 1:
        return
    one, key = chosen[0], _key("name", chosen)
    with st.popover("Rename", icon=":material/edit:", disabled=bool(locked), help=locked):
        st.text_input(
            "Name",
            one.about.name,
            key=key,
            on_change=_rename,
            args=(one.run, key),
            placeholder=one.label,
            max_chars=about.NAME_CHARACTERS,
            help="Shown instead of the label; links keep the label.",
        )


def _rename(run: Run, key: str) -> None:
    _do(lambda: about.rename(run, st.session_state[key]))


def _note(chosen: Sequence[Overview], locked: str | None) -> None:
    if len(chosen) != 1:
        return
    one, key = chosen[0], _key("note", chosen)
    with st.popover("Note", icon=":material/edit_note:", disabled=bool(locked), help=locked):
        st.text_area(
            "Note on this run",
            one.about.note,
            key=key,
            on_change=_write_note,
            args=(one.run, key),
            placeholder="Why it was started, what came of it",
            max_chars=about.NOTE_CHARACTERS,
            help="It stands below the table whenever the run is ticked, is searched, and is in the download.",
        )


def _write_note(run: Run, key: str) -> None:
    _do(lambda: about.set_note(run, st.session_state[key]))


def notes(chosen: Sequence[Overview]) -> None:
    """Draw the notes on the ticked runs, as they were written."""
    noted = [one for one in chosen if one.about.note][:MAX_NOTES]
    for one in noted:
        lines = [plain(line, about.NOTE_CHARACTERS) for line in one.about.note.splitlines()]
        whose = f"**{plain(one.name)}:** " if len(chosen) > 1 else ""
        st.markdown(f":material/edit_note: {whose}" + "  \n".join(lines))


def _tags(chosen: Sequence[Overview], everything: Sequence[Overview], locked: str | None) -> None:
    known = sorted({tag for one in everything for tag in one.about.tags})
    common = [tag for tag in known if all(tag in one.about.tags for one in chosen)]
    key = _key("tags", chosen)
    with st.popover("Tags", icon=":material/sell:", disabled=bool(locked), help=locked):
        st.multiselect(
            f"Tags of {'this run' if len(chosen) == 1 else f'all {len(chosen)} runs'}",
            known,
            default=common,
            key=key,
            accept_new_options=True,
            max_selections=about.MAX_TAGS,
            placeholder="Type a word, press Enter",
            on_change=_retag,
            args=([one.run for one in chosen], common, key),
        )


def _retag(runs: Sequence[Run], before: Sequence[str], key: str) -> None:
    """Add and take away only the tags that were changed: those that not all of the runs have stay."""
    wanted = st.session_state[key]

    def change() -> None:
        for run in runs:
            kept = [tag for tag in about.about(run).tags if tag in wanted or tag not in before]
            about.set_tags(run, [*kept, *wanted])

    _do(change)


def _cancel(runs: Sequence[Run]) -> None:
    def stop() -> None:
        for run in runs:
            cancel(run)

    _do(stop)


# --- deleting ------------------------------------------------------------------------------------------------------


def _delete(runs: Sequence[Run]) -> None:
    ticked = list(st.session_state.get(CHOSEN, []))
    gone: list[str] = []

    def throw() -> None:
        for run in runs:
            about.delete(run)
            gone.append(run.id)

    _do(throw)
    if gone:
        about.empty_trash(TRASH_SECONDS)
        st.session_state[_UNDO] = gone, ticked


def _restore(ids: Sequence[str], ticked: Sequence[str] = ()) -> None:
    def bring() -> None:
        for run_id in ids:
            about.restore(run_id)

    _do(bring)
    if ticked:
        st.session_state[CHOSEN] = list(ticked)
    st.session_state.pop(_UNDO, None)


def undo() -> None:
    """Draw what was deleted last, with the way back."""
    with st.container():
        ids, ticked = st.session_state.get(_UNDO, ((), ()))
        if not ids:
            return
        locked = page.locked()
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            what = "One run was" if len(ids) == 1 else f"{len(ids)} runs were"
            st.markdown(f":material/delete: {what} deleted.")
            st.button(
                "Undo",
                icon=":material/undo:",
                on_click=_restore,
                args=(ids, ticked),
                disabled=bool(locked),
                help=locked,
                type="primary",
            )
            st.button("Dismiss", key="runs-undo-dismiss", on_click=lambda: st.session_state.pop(_UNDO, None))


def trash() -> None:
    """Draw everything that was deleted and can still be brought back."""
    runs = about.deleted()
    if not runs:
        return
    locked = page.locked()
    with (
        page.control("settings", "runs-trash"),
        st.expander(f"Deleted runs ({len(runs)})", icon=":material/auto_delete:"),
    ):
        st.caption("Kept for 30 days in the folder “trash” of the home folder.")
        for run in runs[:20]:
            with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
                st.markdown(plain(overview(run).name))
                st.button(
                    "Restore",
                    key=f"restore-{run.id}",
                    icon=":material/undo:",
                    on_click=_restore,
                    args=([run.id],),
                    disabled=bool(locked),
                    help=locked,
                )
        st.button(
            "Remove all for good", icon=":material/delete_forever:", on_click=_empty, disabled=bool(locked), help=locked
        )


def _empty() -> None:
    def remove() -> None:
        about.empty_trash()

    _do(remove)
    st.session_state.pop(_UNDO, None)


# --- downloads -----------------------------------------------------------------------------------------------------


def download(runs: Sequence[Overview], key: str, label: str) -> None:
    """Draw the button that makes a zip of runs when it is clicked."""
    large = too_large(runs)
    without = f" Without {large} file{'s' * (large != 1)} over {bytes_in_words(MAX_BYTES)}: {LEFT_OUT} names them."
    with page.control("downloads", f"runs-{key}", width="content"):
        st.download_button(
            label,
            lambda: zip_of(runs),
            f"beft-{key}-runs.zip",
            "application/zip",
            icon=":material/download:",
            key=f"zip-{key}",
            on_click="ignore",
            help="Snapshot, settings and result; measurements as CSV; of a sweep its table. About "
            f"{bytes_in_words(bytes_of(runs))}." + (without if large else ""),
        )


# --- runs that did not end well ------------------------------------------------------------------------------------


def damaged(one: Overview) -> None:
    """Draw what is wrong with the files of a run."""
    st.warning(
        "  \n".join(plain(words, 300) for words in one.damage),
        title=f"The folder of {plain(one.name)} is damaged",
        icon=":material/broken_image:",
    )


def story(one: Overview) -> None:
    """Draw why a run ended before its end and what its log said last, and the button that starts it again."""
    stopped.report(one.run, one.status)
    stopped.again_button(one.run, one.status, lambda action: _do(lambda: action(one.run)))
