"""Command ``beft predict``: what fine-tunes say to sentences, and what their biases did."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from beft_core.cli import output
from beft_core.cli.flags import config_of, takes
from beft_core.cli.parser.command import DATA as DATA_PANEL
from beft_core.cli.parser.command import add
from beft_core.cli.progress import progress
from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.files.paths import user_path
from beft_core.inference.answers import Answer, margin, probabilities
from beft_core.inference.heads import of_different_tasks, shared_task
from beft_core.inference.rows import Rows
from beft_core.merging.config import recorded
from beft_core.models.source import locate
from beft_core.snapshots.snapshot import SUFFIX, Snapshot
from beft_core.tasks.sources.user_files import read_columns, read_texts
from beft_core.training.preconditions import with_adapter

MAX_SHOWN = 20
"""Most texts whose verdicts are printed; the table and --json have all."""

Text = Annotated[
    list[str] | None,
    typer.Option(
        "--text",
        metavar="TEXT",
        help="A sentence, repeatable; with --file the column of the text.",
        rich_help_panel=DATA_PANEL,
    ),
]
Pair = Annotated[
    list[str] | None,
    typer.Option(
        "--text-pair",
        metavar="TEXT",
        help="Its second sentence, for tasks on pairs; with --file the column.",
        rich_help_panel=DATA_PANEL,
    ),
]
By = Annotated[
    str | None,
    typer.Option(
        "--snapshot",
        metavar="COLUMN",
        help="With --file, the column that names the snapshot by which a row is answered.",
        rich_help_panel=DATA_PANEL,
    ),
]
Table = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE", help="Read the texts of this table.", rich_help_panel=DATA_PANEL),
]
_SAYS = {
    "task": "Task whose head answers. Default: the only one that all snapshots hold, else each one's own.",
    "model": "bundled, a Hub id with optional @revision, or a folder. Default: what the snapshots name.",
    "max_length": "Tokens per example. Default: as in the fine-tune.",
}


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "predict", takes(["task", "model", "device", "precision", "max_length"], says=_SAYS)(predict))


def predict(
    files: output.Files,
    given: dict[str, Any],
    text: Text = None,
    text_pair: Pair = None,
    table: Table = None,
    by: By = None,
    json: output.Json = False,
) -> None:
    """Ask fine-tunes about sentences: what each says, how far its biases moved it, and which layer did it.

    Snapshots of different tasks each answer by their own head, and with --snapshot each row of a table is answered by
    its own snapshot: only what they say, but all of it in the same passes.
    """
    snapshots = output.read_all(files)
    task = given.pop("task", None)
    if by is not None or (task is None and of_different_tasks(snapshots)):
        _answer_rows(files, _rows(files, snapshots, task, text, text_pair, table, by), given, json)
        return
    snapshots = [with_adapter(one, user_path(file, "the file")) for one, file in zip(snapshots, files, strict=True)]
    task = shared_task(snapshots, task)
    texts, pairs = _texts(text, text_pair, table)
    config = config_of(recorded(snapshots, task) | given)
    require_training()
    with progress() as observer:
        observer.stage("find the model")
        locate(config.model)
        observer.stage("start PyTorch")
        from beft_core.inference.predict import checked
        from beft_core.inference.predict import predict as ask

        checked(snapshots, task, texts, pairs)
        observer.stage("predict")
        names = None if len(files) == 1 else [_stem(file) for file in files]
        answers = ask(snapshots, texts, pairs, task=task, names=names, config=config)
    if json:
        output.print_json({"task": task, "texts": _document(answers, texts, pairs)})
        return
    head = ["text", "fine-tune", "says", "p", "shift"] if answers[0].labels else ["text", "fine-tune", "value", "shift"]
    rows = [[_short(one), *_row(answer, at)] for at, one in enumerate(texts) for answer in answers]
    output.print_table(f"{task}: {counted(len(texts), 'text')}", head, rows, keys=2)
    for at in range(min(len(texts), MAX_SHOWN)):
        output.say(*(answer.verdict(at) for answer in answers))


def _rows(
    files: Sequence[str],
    snapshots: Sequence[Snapshot],
    task: str | None,
    text: Sequence[str] | None,
    pair: Sequence[str] | None,
    table: str | None,
    by: str | None,
) -> Rows:
    """Read rows with the snapshot of each from a table; or ask every snapshot about every sentence of the flags."""
    if by is None:
        texts, pairs = _texts(text, pair, table)
        several = range(len(snapshots))
        return Rows.checked(
            snapshots,
            [one for one in texts for _ in several],
            [number for _ in texts for number in several],
            None if pairs is None else [one for one in pairs for _ in several],
            task,
        )
    column, second = _columns(text, pair)
    if table is None:
        raise UserError("got --snapshot without a table", "the table whose column it names", "--file rows.csv")
    texts, names, *pairs_of = read_columns(table, [column, by, *second], blank=second)
    return Rows.checked(snapshots, texts, _numbers(files, names), pairs_of[0] if pairs_of else None, task)


def _columns(text: Sequence[str] | None, pair: Sequence[str] | None) -> tuple[str, list[str]]:
    """Read the names of the columns of a table: of the text, and of the second text if there is one."""
    if not text:
        raise UserError("got no --text", "the column of the text", '--text "..."')
    if len(text) > 1 or (pair is not None and len(pair) > 1):
        raise UserError("got several columns for one text", "one --text, and one --text-pair for pairs")
    return text[0], list(pair or ())


def _numbers(files: Sequence[str], names: Sequence[str]) -> list[int]:
    """Find the snapshot that each row names: by its path as given, its file's name, or that without the ending."""
    number_of: dict[str, set[int]] = {}
    for number, file in enumerate(files):
        for name in (file, _stem(file), _stem(file) + SUFFIX):
            number_of.setdefault(name, set()).add(number)
    for row, name in enumerate(names, start=1):
        if len(number_of.get(name, ())) != 1:
            why = "which is none of these snapshots" if name not in number_of else "a name of several snapshots"
            raise UserError(f"row {row}: got {name[:80]}, {why}", f"one of: {', '.join(map(_stem, files))}")
    return [next(iter(number_of[name])) for name in names]


def _answer_rows(files: Sequence[str], rows: Rows, given: dict[str, Any], json: bool) -> None:
    """Answer rows, each by its own snapshot, and print the answers."""
    config = config_of(recorded(rows.snapshots) | given)
    require_training()
    with progress() as observer:
        observer.stage("find the model")
        locate(config.model)
        observer.stage("start PyTorch")
        from beft_core.inference.predict import predict_rows

        observer.stage("predict", len(rows))
        answers = predict_rows(
            rows,
            max_length=given.get("max_length"),
            config=config,
            advance=observer.advance,
            report=observer.message,
        )
    names = [_stem(file) for file in files]
    if json:
        output.print_json(
            {
                "rows": [
                    {
                        "text": text,
                        **({} if pair is None else {"text_pair": pair}),
                        "fine_tune": names[one.snapshot],
                        "task": one.task,
                        **({} if one.labels is None else {"predicted": one.value, "probabilities": one.probabilities}),
                        "logits": one.logits,
                    }
                    for text, pair, one in zip(rows.texts, rows.pairs, answers, strict=True)
                ]
            }
        )
        return
    shown = [
        [_short(text), names[one.snapshot], one.task, one.value, max(shares.values()) if shares else "–"]
        for text, one in zip(rows.texts, answers, strict=True)
        for shares in [one.probabilities]
    ]
    title = f"{counted(len(rows), 'row')}, {counted(len({one.snapshot for one in answers}), 'fine-tune')}"
    output.print_table(title, ["text", "fine-tune", "task", "says", "p"], shown, keys=2)


def _texts(
    text: Sequence[str] | None, pair: Sequence[str] | None, table: str | None
) -> tuple[list[str], list[str] | None]:
    """Read the sentences of the flags, or the columns of a table that they name."""
    if table is None:
        if not text:
            raise UserError("got no --text", "a sentence", '--text "..."')
        return list(text), None if pair is None else list(pair)
    column, second = _columns(text, pair)
    return read_texts(table, column, *second)


def _row(answer: Answer, at: int) -> list[Any]:
    logits, shift = answer.logits[at], answer.effect(at).shift
    if answer.labels is None:
        return [answer.name, float(logits[0]), shift]
    label = int(logits.argmax())
    return [answer.name, answer.labels[label], float(probabilities(logits)[label]), shift]


def _document(answers: Sequence[Answer], texts: Sequence[str], pairs: Sequence[str] | None) -> list[dict[str, Any]]:
    """Make the JSON document: one table per text, with one per fine-tune in it."""
    return [
        {
            "text": text,
            **({} if pairs is None else {"text_pair": pairs[at]}),
            "answers": [_told(answer, at) for answer in answers],
        }
        for at, text in enumerate(texts)
    ]


def _told(answer: Answer, at: int) -> dict[str, Any]:
    logits = answer.logits[at]
    effect = answer.effect(at)
    label = int(logits.argmax())
    classes = {}
    if answer.labels is not None:
        shares = probabilities(logits)
        classes = {
            "predicted": answer.labels[label],
            "probabilities": dict(zip(answer.labels, shares.tolist(), strict=True)),
        }
    return {
        "fine_tune": answer.name,
        **classes,
        "logits": logits,
        "logits_before": answer.before[at],
        "margin": margin(logits, label),
        "shift": effect.shift,
        "layers": effect.layers,
        "interaction": effect.interaction,
        "verdict": answer.verdict(at),
    }


def _stem(file: str) -> str:
    return file.replace("\\", "/").rpartition("/")[2].removesuffix(SUFFIX)


def _short(text: str, limit: int = 48) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
