"""Reader of GLUE and SuperGLUE as their official downloads lay them out (gluebenchmark.com, super.gluebenchmark.com),
and of SQuAD and DROP as JSON files.

The TSV files are not CSV: quotation marks belong to the text and nothing is escaped, so lines are split at
tabs and nowhere else. Rows are counted as lines of the file, from 1, with the header.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from beft_core.errors import UserError
from beft_core.files.paths import user_path
from beft_core.tasks.examples import Examples, head_examples
from beft_core.tasks.prompts.render import examples_of
from beft_core.tasks.registry import TASKS
from beft_core.tasks.sources.prompt_files import FORMATS, read_split, read_whole
from beft_core.tasks.sources.text_lines import numbered_lines
from beft_core.tasks.spec import TaskSpec

VARIABLES = {"glue": "BEFT_GLUE_DIR", "superglue": "BEFT_SUPERGLUE_DIR", "qa": "BEFT_QA_DIR"}
"""Names of the environment variables that name the folder of each benchmark."""

Row = dict[str, str]


def find_folder(spec: TaskSpec, explicit: str | Path | None = None) -> Path | None:
    """Find the folder with a task's files: in (or itself) ``explicit``, else the environment's folder, else None.
    Of a prompted task it may be one JSON or JSONL file, which is then split by record.

    An environment folder that simply lacks this task gives None too, because many people have only some
    tasks. Raises UserError for an explicit folder without the task, for a folder that does not exist, and for
    a task's folder that lacks its validation file.
    """
    assert spec.folder is not None
    variable = VARIABLES[spec.source]
    named, how = (explicit, "--data-dir") if explicit is not None else (os.environ.get(variable), variable)
    if not named:
        return None
    root = user_path(named, how)
    example = f"{spec.folder}/{_validation_file(spec)}"
    if spec.prompt is not None and root.suffix.lower() in FORMATS:
        return root
    if not root.is_dir():
        raise UserError(f"got {how}={named}, which is no folder", f"a folder with {example}", f"unsetting {how}")
    if (root / spec.folder).is_dir():
        found = root / spec.folder
    elif explicit is not None and (other := _folder_of_another(root, spec)) is not None:
        # Its files may have the same columns and labels: RTE would be trained as WNLI.
        raise UserError(
            f"got {how}={named}, the folder of {other.title}, for {spec.name}",
            f"a folder with {example}",
            f"{how} {root.parent}",
        )
    elif explicit is not None or root.name.lower() == spec.folder.lower():
        found = root
    else:
        return None
    if not (found / _validation_file(spec)).is_file():
        raise UserError(
            f"got {how}={named} without {example}",
            "the official download layout, such as GLUE/SST-2/train.tsv",
        )
    return found


def _folder_of_another(folder: Path, spec: TaskSpec) -> TaskSpec | None:
    """Find the task whose folder one is by its name, if that is not the folder of ``spec`` too."""
    name = folder.absolute().name.lower()
    named = [one for one in TASKS.values() if one.folder is not None and one.folder.lower() == name]
    return None if any(one.folder == spec.folder for one in named) else next(iter(named), None)


def files_of(spec: TaskSpec, folder: Path) -> list[Path]:
    """List the files of a task in its folder, those that are there; of a prompted task's one file, that file."""
    if folder.suffix.lower() in FORMATS:
        return [folder]
    names = [spec.train_file or f"train{Path(_validation_file(spec)).suffix}", *spec.evals.values()]
    return [path for name in dict.fromkeys(names) if (path := folder / name).is_file()]


def read_task(spec: TaskSpec, folder: Path) -> tuple[Examples, dict[str, Examples]]:
    """Read the training and validation examples of a task. Raises UserError with file and row."""
    if folder.suffix.lower() in FORMATS:
        train, validation = read_split(spec, folder)
        return train, {"validation": validation}
    train = read_file(spec, folder / (spec.train_file or f"train{Path(_validation_file(spec)).suffix}"))
    return train, {name: read_file(spec, folder / file) for name, file in spec.evals.items()}


def read_file(spec: TaskSpec, path: Path) -> Examples:
    """Read the examples of one TSV, JSONL or JSON file. Raises UserError with file and row."""
    if not path.is_file():
        raise UserError(f"got no file {path}", f"{path.name} of the official download")
    if spec.prompt is not None:
        return examples_of(spec, _rows(path, spec), path.name) if path.suffix == ".tsv" else read_whole(spec, path)
    texts: list[str] = []
    pairs: list[str] = []
    labels: list[float] = []
    target = spec.target
    for number, row in _tsv(spec, path) if path.suffix == ".tsv" else _jsonl(path):
        try:
            texts.append(": ".join(row[column] for column in spec.text.split("+")))
            if spec.text_pair is not None:
                pairs.append(row[spec.text_pair])
            labels.append(target.read(row[spec.label]))
        except KeyError as error:
            raise UserError(
                f"{path.name}, row {number}: got no {error.args[0]!r}, only {', '.join(row)}",
                f"the columns of {spec.title}",
            ) from None
        except ValueError:
            raise UserError(f"{path.name}, row {number}: got the label {row[spec.label]!r}", target.expected) from None
    if not texts:
        raise UserError(f"{path.name}: got no examples", f"the examples of {spec.title}")
    return head_examples(spec, texts, pairs if spec.text_pair is not None else None, target.encode(labels))


def _validation_file(spec: TaskSpec) -> str:
    return next(iter(spec.evals.values()))


def _rows(path: Path, spec: TaskSpec) -> Iterator[tuple[str, Row]]:
    for number, row in _tsv(spec, path):
        yield f"{path.name}, row {number}", row


def _tsv(spec: TaskSpec, path: Path) -> Iterator[tuple[int, Row]]:
    lines = ((number, line.split("\t")) for number, line in numbered_lines(path) if line.strip())
    header = list(spec.columns) if spec.columns is not None else next(lines, (0, []))[1]
    for number, cells in lines:
        if len(cells) == len(header):
            yield number, dict(zip(header, cells, strict=True))
        elif not spec.skips_ragged_rows:
            raise UserError(
                f"{path.name}, row {number}: got {len(cells)} columns", f"{len(header)}: {', '.join(header)}"
            )


def _jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    for number, line in numbered_lines(path):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise UserError(f"{path.name}, row {number}: got no JSON object", "one object per line")
        # "label": true is how SuperGLUE writes yes; the registry's names are in lower case.
        yield number, {k: str(v).lower() if isinstance(v, bool) else str(v) for k, v in row.items()}
