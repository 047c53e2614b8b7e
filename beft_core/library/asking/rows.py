"""Texts that are each answered by a fine-tune of their own, in a notebook: `predict_rows`, and what it returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Unpack

from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.inference.answers import short_name
from beft_core.inference.rows import RowAnswer, Rows
from beft_core.library.arguments import Where
from beft_core.library.asking.predict import config_of, cut, texts_of
from beft_core.library.progress import watching
from beft_core.library.reading import Source, several_of
from beft_core.library.result import Result, Shown, cell
from beft_core.library.training import base_of
from beft_core.library.words import in_python
from beft_core.models.source import locate
from beft_core.training.observer import Observer

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from beft_core.library.training import Model


@dataclass(frozen=True, repr=False)
class RowPredictions(Result):
    """Answers to texts, each by a fine-tune of its own."""

    rows: Rows
    answers: tuple[RowAnswer, ...]
    """Answer to each row, with the logits of the head of its own task."""
    names: tuple[str, ...]
    """Name of each fine-tune."""

    def shown(self) -> Shown:
        table = self.to_pandas()
        rows = [[cut(cell(value)) for value in row] for row in table.itertuples(index=False)]
        asked = len({one.snapshot for one in self.answers})
        return Shown(f"{counted(len(self.rows), 'row')}, {counted(asked, 'fine-tune')}", list(table.columns), rows)

    def to_pandas(self) -> pd.DataFrame:
        """Give one row per text: who answers by which task's head, what it says and how probable that is; of a
        regression the value, without a probability.
        """
        import pandas as pd

        paired = any(pair is not None for pair in self.rows.pairs)
        return pd.DataFrame(
            [
                {
                    "text": text,
                    **({"text_pair": pair} if paired else {}),
                    "fine-tune": self.names[one.snapshot],
                    "task": one.task,
                    "says": one.value,
                    "p": None if one.probabilities is None else max(one.probabilities.values()),
                }
                for text, pair, one in zip(self.rows.texts, self.rows.pairs, self.answers, strict=True)
            ]
        )


@in_python
def predict_rows(
    snapshots: Source | Sequence[Source],
    texts: str | Sequence[str],
    of: Sequence[int],
    text_pairs: Sequence[str | None] | None = None,
    *,
    task: str | None = None,
    names: Sequence[str] | None = None,
    model: Model | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    progress: bool | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Where],
) -> RowPredictions:
    """Answer each text by one fine-tune of its own, texts of all of them in the same passes of their one base model.

    What a text gets is what its fine-tune says when it is asked alone. The fine-tunes may have trained different bias
    terms on different tasks, with any number of classes or a value; they share the base model, which is loaded once.

    ``snapshots``: in memory or paths. ``of``: for each text, the number of the snapshot that answers it, from 0.
    ``text_pairs``: the second text of each, None where its task takes one. ``task``: whose head answers, where
    snapshots hold several. ``names``: what to call the fine-tunes. ``model``, with its ``tokenizer``: the base model,
    where it is not found under the name that the snapshots give.

    Raises:
        UserError: snapshots of several base models, one whose weights changed (an adapter's do), one without a head, or
            texts that do not suit the task of their snapshot.
    """
    opened = several_of(snapshots if isinstance(snapshots, list | tuple) else [snapshots])
    first = texts_of("texts", texts)
    second = None if text_pairs is None else _pairs(text_pairs)
    rows = Rows.checked(opened, first, _numbers(of), second, task)
    if names is not None and len(names) != len(opened):
        raise UserError(f"got {len(names)} names for {len(opened)} snapshots", "as many")
    config = config_of(opened, model, settings)
    base = base_of(model, tokenizer)
    require_training()
    if base is None:
        locate(config.model)
    from beft_core.inference.predict import predict_rows as answer
    from beft_core.training import inputs

    with watching(progress, observer) as watcher:
        watcher.stage("predict", len(rows))
        answers = answer(
            rows,
            max_length=settings.get("max_length"),
            config=config,
            loader=lambda resolved: inputs.load(resolved, base),
            advance=watcher.advance,
            report=watcher.message,
        )
    called = names or [short_name(snapshot.meta) for snapshot in opened]
    return RowPredictions(rows, tuple(answers), tuple(called))


def _pairs(text_pairs: object) -> list[str | None]:
    """Read texts, or None for no text, in a list, an array or a column. Raises UserError for anything else."""
    several = getattr(text_pairs, "tolist", lambda: text_pairs)()
    if not isinstance(several, list | tuple) or not all(one is None or isinstance(one, str) for one in several):
        raise UserError(f"got text_pairs = {str(text_pairs)[:80]!r}", "a text or None for each text")
    return list(several)


def _numbers(of: object) -> list[int]:
    """Read whole numbers in a list, an array or a column. Raises UserError for anything else."""
    several = getattr(of, "tolist", lambda: of)()
    if not isinstance(several, list | tuple) or not all(type(one) is int for one in several):
        raise UserError(f"got of = {str(of)[:80]!r}", "the number of a snapshot for each text", "of=[0, 1, 0]")
    return list(several)
