"""Folder of a snapshot as the Hub takes it: card, picture, snapshot and adapter, written whole or not at all.

A folder that is there already is taken where it is the one that would be written, byte for byte. Only the card may have
been edited: it is what people read, and a lab knows less of a fine-tune than who made it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from beft_core.errors import UserError
from beft_core.exchange.peft_adapter import BUNDLED_ID, NoAdapter, adapter_of
from beft_core.files.digest import sha256_of
from beft_core.files.safe_io import atomic_write, read_bounded
from beft_core.files.scratch import scratch_folder, whole_folder
from beft_core.methods import method_of
from beft_core.models.gguf.packaged import GEMMA
from beft_core.models.source import BUNDLED
from beft_core.publishing.card import CARD, PICTURE, SNAPSHOT, UNKNOWN, HubBase, Publication, card_of, check_card
from beft_core.snapshots.adapter_folder import CONFIG, WEIGHTS, AdapterFolder
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.meta import ModelInfo
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from beft_core.training.preconditions import head_of, own_adapter

FILES = (CARD, PICTURE, CONFIG, WEIGHTS, SNAPSHOT)
"""Names of all files that such a folder may have, in the order in which they are listed."""
MAX_CARD = 2**20
"""Most bytes of a card that was edited."""

KNOWN: dict[str, HubBase] = {
    BUNDLED: HubBase(BUNDLED, BUNDLED_ID, None, "apache-2.0"),
    GEMMA: HubBase(
        GEMMA,
        "google/gemma-3-270m",
        None,
        "gemma",
        "its weights at 4.5 bits (Q4_K_M), widened again, so that the original answers a little differently",
    ),
}
"""Models that install as packages, as the Hub has them."""

_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9])?"
_REPO = re.compile(rf"{_PART}/{_PART}")
_BASE = re.compile(rf"(?:{_PART}/)?{_PART}")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]{0,63}")
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class HubFolder:
    """Folder that is ready for the Hub."""

    path: Path
    files: tuple[tuple[str, int], ...]
    """Names with their sizes in bytes."""
    there: bool
    """Whether it was there before, and was taken as it is."""
    edited: bool
    """Whether its card is another than the one that would be written."""


def repo_of(name: str) -> str:
    """Check a name on the Hub, ``ORG/NAME``.

    Raises:
        UserError: it is none that the Hub takes.
    """
    if not _REPO.fullmatch(name) or _broken(name):
        raise UserError(
            f"got {name[:120]!r} as a name on the Hub",
            "ORG/NAME of letters, digits, '-', '_' and '.', each of at most 96 characters",
            "yourname/sst2-value-bias",
        )
    return name


def publication_of(
    snapshot: Snapshot,
    file: Path,
    repo: str,
    *,
    task: str | None = None,
    base: str | None = None,
    base_id: str | None = None,
    license: str | None = None,
) -> Publication:
    """Prepare a snapshot, read from ``file``, for the Hub; nothing is written.

    ``repo``: ``ORG/NAME``. ``task`` chooses the head, by default the snapshot's own. ``base``: where the base model
    lies, by default as the snapshot says. ``base_id``: its id on the Hub where the snapshot names a folder.
    ``license``: of the files, as the Hub writes it. Paths of this machine are left out.

    Raises:
        UserError: a name that the Hub does not take, a fine-tune whose weights are kept nowhere, an adapter that is
            missing or not its own, another base model, or no head for a task that is named.
    """
    repo = repo_of(repo)
    if base_id is not None and (not _BASE.fullmatch(base_id) or _broken(base_id)):
        raise UserError(f"got --base-id {base_id[:120]!r}", "an id on the Hub, such as google-bert/bert-base-cased")
    if license is not None and not _LICENSE.fullmatch(license):
        raise UserError(f"got --license {license[:80]!r}", "an identifier of the Hub, such as apache-2.0, mit or other")
    if task is not None:
        head_of(snapshot, task)
    of_task = task or snapshot.meta.task
    hub_base = base_of(snapshot.meta.model, base_id)
    adapter, why = _adapter(snapshot, file, base, of_task)
    if adapter is not None:
        # The name of a folder here may be that of another model on the Hub, which PEFT would load.
        config = {**adapter.config, "base_model_name_or_path": hub_base.id, "revision": hub_base.revision}
        adapter = AdapterFolder(config, adapter.tensors)
    stripped = dataclasses.replace(snapshot.meta, model=dataclasses.replace(snapshot.meta.model, folder=None))
    told = snapshot.with_meta(stripped)
    told.adapter = None  # beside the snapshot it would be there twice
    return Publication(told, repo, of_task, hub_base, adapter, why, license or UNKNOWN)


def base_of(model: ModelInfo, named: str | None = None) -> HubBase:
    """Find out how others can find the base model. ``named``: its id on the Hub, in its user's words."""
    if model.id in KNOWN:
        return KNOWN[model.id]
    if named is not None:
        return HubBase(model.id, named)
    commit = model.revision if model.revision and _COMMIT.fullmatch(model.revision) else None
    on_hub = commit is not None and model.folder is None and _BASE.fullmatch(model.id) and not _broken(model.id)
    return HubBase(model.id, model.id if on_hub else None, commit if on_hub else None)


def write_hub_folder(made: Publication, folder: Path) -> HubFolder:
    """Write a folder for the Hub, or take the one that is there, if it is equal but for its card.

    Raises:
        UserError: something else is there, or the folder cannot be written.
    """
    with scratch_folder() as scratch:
        card, image = card_of(made)
        write_snapshot(scratch / SNAPSHOT, made.snapshot)
        if made.adapter is not None:
            made.adapter.write(scratch)
        if image is not None:
            atomic_write(scratch / PICTURE, [image.encode()])
        atomic_write(scratch / CARD, [card.encode()])
        names = [name for name in FILES if (scratch / name).is_file()]
        if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
            raise UserError(f"got {folder}, which is not a folder", "a new folder", "--out FOLDER")
        there = folder.is_dir() and any(folder.iterdir())
        if there:
            edited = _compare(folder, scratch, names, made.license)
        else:
            edited = False
            sizes = [(scratch / name).stat().st_size for name in names]
            with whole_folder(folder, sum(sizes)) as target:
                for name in names:
                    atomic_write(target / name, _blocks(scratch / name))
    return HubFolder(folder, tuple((name, (folder / name).stat().st_size) for name in names), there, edited)


def _adapter(snapshot: Snapshot, file: Path, base: str | None, task: str) -> tuple[AdapterFolder | None, str]:
    """Read or make the adapter of a snapshot: with the reason, in words, where PEFT cannot hold it."""
    if method_of(snapshot.meta.mode).adapter is not None:
        return own_adapter(snapshot, file), ""
    refuse_changed_weights(snapshot)
    try:
        return adapter_of(snapshot, base=base, task=task), ""
    except NoAdapter as error:
        return None, error.got.removeprefix(snapshot.source).strip()


def _compare(folder: Path, fresh: Path, names: list[str], license: str) -> bool:
    """Compare what is there with what would be written; say whether the card was edited.

    Raises:
        UserError: another file, another content than a card's, or a card of another licence than the one that is named.
    """
    found = sorted(entry.name for entry in folder.iterdir())
    for name in [*names, *found]:
        here = folder / name
        if name not in names:
            why = f"has {name} too"
        elif not here.is_file() or here.is_symlink():
            why = f"has no file {name}"
        elif name == CARD:
            card = check_card(read_bounded(here, MAX_CARD, follow=False).decode("utf-8", "replace"))
            if license in (UNKNOWN, card.get("license")):
                continue
            # It may be the one of the same command without --license, which nobody edited.
            why = f"has {name} with the licence {str(card.get('license'))[:64]!r} instead of {license!r}"
        elif here.stat().st_size != (fresh / name).stat().st_size or sha256_of(here) != sha256_of(fresh / name):
            why = f"has another {name}"
        else:
            continue
        raise UserError(
            f"got {folder}, which exists and {why}",
            f"a new folder, or the one that the same command wrote, of which only {CARD} may be edited",
            "--out FOLDER",
        )
    return (folder / CARD).read_bytes() != (fresh / CARD).read_bytes()


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from iter(partial(file.read, 2**20), b"")


def _broken(name: str) -> bool:
    """Whether a name has one of the sequences that the Hub forbids, or the end of a git folder."""
    return "--" in name or ".." in name or name.endswith(".git")
