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
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.inference.answers import Answer, margin, probabilities
from beft_core.inference.heads import shared_task
from beft_core.merging.config import recorded
from beft_core.models.source import locate
from beft_core.tasks.sources.user_files import read_texts

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
Table = Annotated[
    str | None,
    typer.Option("--file", metavar="FILE", help="Read the texts of this table.", rich_help_panel=DATA_PANEL),
]
_SAYS = {
    "task": "Task whose head answers. Default: the only one that all snapshots hold.",
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
    json: output.Json = False,
) -> None:
    """Ask fine-tunes about sentences: what each says, how far its biases moved it, and which layer did it."""
    snapshots = output.read_all(files)
    task = shared_task(snapshots, given.pop("task", None))
    texts, pairs = _texts(text, text_pair, table)
    config = config_of(recorded(snapshots) | given)
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
    output.print_table(f"{task}: {len(texts)} texts", head, rows, keys=2)
    for at in range(min(len(texts), MAX_SHOWN)):
        output.say(*(answer.verdict(at) for answer in answers))


def _texts(
    text: Sequence[str] | None, pair: Sequence[str] | None, table: str | None
) -> tuple[list[str], list[str] | None]:
    """Read the sentences of the flags, or the columns of a table that they name."""
    if not text:
        raise UserError("got no --text", "a sentence" if table is None else "the column of the text", '--text "..."')
    if table is None:
        return list(text), None if pair is None else list(pair)
    if len(text) > 1 or (pair is not None and len(pair) > 1):
        raise UserError("got several columns for one text", "one --text, and one --text-pair for pairs")
    return read_texts(table, text[0], pair[0] if pair else None)


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
    return file.replace("\\", "/").rpartition("/")[2].removesuffix(".beft.safetensors")


def _short(text: str, limit: int = 48) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
