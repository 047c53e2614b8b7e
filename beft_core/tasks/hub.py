"""GLUE and SuperGLUE from the Hub, through ``datasets``; the local cache of it is asked first.

The ids stand in one table, :data:`beft_core.tasks.registry.HUB_REVISIONS`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from beft_core import model_source
from beft_core.errors import UserError
from beft_core.tasks.data import Examples
from beft_core.tasks.official import VARIABLES, label_reader
from beft_core.tasks.registry import HUB_REVISIONS, TaskSpec


def load_hub(spec: TaskSpec) -> tuple[Examples, dict[str, Examples]]:
    """Training and validation examples of a task that has a place on the Hub.

    Raises UserError, within seconds, where the Hub cannot be reached and the data set is not in the cache, and
    where what it gives lacks a split, a column or a label.
    """
    splits = _cached(spec)
    if splits is None:
        if not model_source._hub_answers():
            raise _unreachable(spec, "which is not in the local cache, and the Hub cannot be reached")
        splits = _download(spec)
    train = _examples(spec, splits, "train")
    return train, {name: _examples(spec, splits, _split_name(name)) for name in spec.evals}


def _split_name(name: str) -> str:
    """MNLI's two validation sets are called ``validation_matched`` and ``validation_mismatched`` there."""
    return name if name == "validation" else f"validation_{name}"


def _unreachable(spec: TaskSpec, why: str) -> UserError:
    assert spec.hub is not None
    return UserError(
        f"got {spec.name}, the data set {spec.hub[0]} of the Hub, {why}",
        "a network, or files on this computer",
        f"{VARIABLES[spec.source]}=FOLDER with {spec.folder}/ as officially downloaded, or --task demo-sentiment",
    )


def _cached(spec: TaskSpec) -> Any:
    """The splits as an earlier download left them in the cache of ``datasets``, without asking the Hub."""
    from huggingface_hub import constants

    assert spec.hub is not None
    repository, config = spec.hub
    # The place as documented for HF_DATASETS_CACHE: looking here first spares the import when there is nothing.
    cache = Path(os.environ.get("HF_DATASETS_CACHE") or Path(constants.HF_HOME) / "datasets").expanduser()
    if not any(cache.glob(f"{repository.replace('/', '___')}/{config}/*/*/dataset_info.json")):
        return None
    # load_dataset finds cached data too, but only after half a minute of asking the Hub in vain.
    from datasets.packaged_modules.cache.cache import Cache

    try:
        builder = Cache(
            cache_dir=str(cache),
            dataset_name=repository.split("/")[-1],
            repo_id=repository,
            config_name=config,
            version="auto",
            hash="auto",
        )
        return builder.as_dataset()
    except (ValueError, OSError):
        return None  # incomplete, or of another version of datasets: as if it were not there


def _download(spec: TaskSpec) -> Any:
    import datasets

    assert spec.hub is not None
    repository, config = spec.hub
    try:
        return datasets.load_dataset(repository, config, revision=HUB_REVISIONS.get(repository))
    # One class for each cause (no such data set, no such configuration, connection lost, bad files), of four
    # libraries: they say what happened, and nothing of this project runs inside.
    except Exception as error:
        raise _unreachable(spec, f"which could not be read ({error})") from error


def _examples(spec: TaskSpec, splits: Any, split: str) -> Examples:
    assert spec.hub is not None
    where = f"{spec.hub[0]}, {spec.hub[1]}, {split}"
    if split not in splits:
        raise UserError(f"{where}: got no such split, only {', '.join(splits)}", f"the splits of {spec.title}")
    table = splits[split]

    def column(name: str) -> list[Any]:
        name = spec.hub_columns.get(name, name)
        if name not in table.column_names:
            raise UserError(f"{where}: got no {name!r}, only {', '.join(table.column_names)}", "that column")
        return list(table[name])

    parts = [column(name) for name in spec.text.split("+")]
    pairs = None if spec.text_pair is None else column(spec.text_pair)
    for row, cells in enumerate(zip(*parts, *([pairs] if pairs is not None else []), strict=True), start=1):
        if not all(isinstance(cell, str) for cell in cells):
            raise UserError(f"{where}, row {row}: got no text", "text")
    texts = [": ".join(cells) for cells in zip(*parts, strict=True)]
    return Examples(texts, pairs, _labels(spec, table, column(spec.label), where))


def _labels(spec: TaskSpec, table: Any, values: list[Any], where: str) -> np.ndarray:
    """Labels by their names, where the data set has names, so that another order of the classes does no harm."""
    feature = table.features[spec.hub_columns.get(spec.label, spec.label)]
    names: list[str] = getattr(feature, "names", [])
    read = label_reader(spec)
    numbers: list[float] = []
    for row, value in enumerate(values, start=1):
        named = isinstance(value, int) and 0 <= value < len(names)
        try:
            numbers.append(read((names[value] if named else str(value)).lower()))
        except ValueError:
            raise UserError(f"{where}, row {row}: got the label {value!r}", f"a label of {spec.title}") from None
    return np.array(numbers, dtype=np.float32 if spec.labels is None else np.int64)
