"""Reader of GLUE, SuperGLUE, SQuAD and DROP from the Hub: Parquet files, downloaded once, read by ``datasets``.

The files are fetched by name and read locally, instead of naming the data set to ``datasets.load_dataset``: a data
set that is in the cache then needs no network, a branch without a description of its configurations
(``refs/convert/parquet``) reads like any other, and without a network the answer comes in seconds.
"""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import Any

from beft_core.errors import UserError
from beft_core.files.hub import hub_answers
from beft_core.files.scratch import scratch_folder
from beft_core.tasks.examples import Examples, head_examples
from beft_core.tasks.prompts.render import examples_of
from beft_core.tasks.registry import HUB_REVISIONS
from beft_core.tasks.sources.nested_records import hub_rows
from beft_core.tasks.sources.official import VARIABLES
from beft_core.tasks.spec import TaskSpec

LAYOUTS = ("{config}/{split}-*.parquet", "{config}/{split}/*.parquet", "{config}/*-{split}.parquet")
"""Patterns of a split's files: in data sets that are Parquet, in conversions to it, in older conversions."""


def load_hub(spec: TaskSpec) -> tuple[Examples, dict[str, Examples]]:
    """Read the training and validation examples of a task. Raises UserError, within 5 s where there is no network."""
    assert spec.hub is not None
    patterns = _patterns(spec)
    folder = _download(spec, patterns)
    read = {split: _read(spec, folder, group) for split, group in patterns.items()}
    return read["train"], {name: read[split] for name, split in _splits(spec).items()}


def fetch_hub(spec: TaskSpec) -> Path:
    """Bring the files of a task into the Hub's cache, if they are not there, and find their folder; nothing is read.

    Raises UserError, within 5 s where there is no network.
    """
    return _download(spec, _patterns(spec))


def has_all_splits(spec: TaskSpec, folder: Path) -> bool:
    """Whether a folder of the Hub's cache holds files of every split of a task."""
    return all(_files(folder, group) for group in _patterns(spec).values())


def _splits(spec: TaskSpec) -> dict[str, str]:
    """Name the validation sets as the Hub does: name here -> name there."""
    return {name: name if name == "validation" else f"validation_{name}" for name in spec.evals}


def _patterns(spec: TaskSpec) -> dict[str, list[str]]:
    """List the names that the files of each split may have."""
    assert spec.hub is not None
    splits = ("train", *_splits(spec).values())
    return {split: [layout.format(config=spec.hub[1], split=split) for layout in LAYOUTS] for split in splits}


def _download(spec: TaskSpec, patterns: dict[str, list[str]]) -> Path:
    """Find the folder with the data set's files: from the Hub's cache if they are there, else downloaded."""
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    assert spec.hub is not None
    dataset = spec.hub[0]

    def fetch(local: bool) -> Path:
        return Path(
            huggingface_hub.snapshot_download(
                dataset,
                repo_type="dataset",
                revision=HUB_REVISIONS[dataset],
                allow_patterns=[pattern for group in patterns.values() for pattern in group],
                local_files_only=local,
            )
        )

    try:
        folder = fetch(local=True)
        if has_all_splits(spec, folder):
            return folder
    except LocalEntryNotFoundError:
        pass  # nothing of it in the cache: ask the Hub
    if not hub_answers():
        variable = VARIABLES[spec.source]
        named = os.environ.get(variable)
        raise UserError(
            f"got the task {spec.name}, "
            + (f"which {variable}={named} lacks, " if named else "")
            + "and the Hub cannot be reached",
            f"a network, or {variable} naming a folder with {spec.folder}/ of the official download",
            f"beft fetch --tasks {spec.name} where there is a network, or --task demo-sentiment, which needs no data",
        )
    try:
        return fetch(local=False)
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(
            f"got an error while downloading {dataset}: {error}",
            "a working connection",
            f"{VARIABLES[spec.source]} naming a folder with the official download",
        ) from None


def _files(folder: Path, patterns: list[str]) -> list[str]:
    """List the files of a split, in order, by the first layout that has any."""
    here = sorted(path.relative_to(folder).as_posix() for path in folder.glob("*/**/*.parquet"))
    for pattern in patterns:
        if found := fnmatch.filter(here, pattern):
            return [str(folder / name) for name in found]
    return []


def _read(spec: TaskSpec, folder: Path, patterns: list[str]) -> Examples:
    from datasets import Dataset, disable_progress_bars, enable_progress_bars
    from datasets.utils import are_progress_bars_disabled

    files = _files(folder, patterns)
    if not files:
        raise UserError(f"got no files {patterns[0]} for {spec.name}", "the Hub's data set in Parquet")
    quiet = are_progress_bars_disabled()
    disable_progress_bars()  # the caller's own bars tell what happens
    try:
        with scratch_folder() as cache:
            table = Dataset.from_parquet(files, cache_dir=str(cache), keep_in_memory=True)
    finally:
        if not quiet:
            enable_progress_bars()
    if spec.prompt is not None:
        _require_classes(spec, table.features.get(spec.label))
        return examples_of(spec, hub_rows(spec.folder, spec.name, table), spec.name)
    wanted = [*spec.text.split("+"), *([spec.text_pair] if spec.text_pair else []), spec.label]
    columns = {name: spec.hub_columns.get(name, name) for name in wanted}
    missing = sorted(set(columns.values()) - set(table.column_names))
    if missing:
        raise UserError(
            f"got no column {missing[0]!r} for {spec.name}, only {', '.join(table.column_names)}", spec.title
        )
    _require_classes(spec, table.features[columns[spec.label]])
    target = spec.target
    labels: list[float] = []
    for row, value in enumerate(table[columns[spec.label]], start=1):
        try:
            labels.append(target.read(str(value)))
        except ValueError:
            raise UserError(f"{spec.name}, row {row}: got the label {value!r}", spec.title) from None
    parts = [list(table[columns[name]]) for name in spec.text.split("+")]
    return head_examples(
        spec,
        [": ".join(words) for words in zip(*parts, strict=True)],
        list(table[columns[spec.text_pair]]) if spec.text_pair else None,
        target.encode(labels),
    )


def _require_classes(spec: TaskSpec, feature: Any) -> None:
    """Refuse a column of classes that are others than the task's, or in another order."""
    names = getattr(feature, "names", None)
    if names is None or spec.labels is None:
        return
    if tuple(name.lower() for name in names) != spec.labels:
        raise UserError(f"got the classes {', '.join(names)} for {spec.name}", ", ".join(spec.labels))
