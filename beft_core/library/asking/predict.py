"""Predictions of fine-tunes for texts, in a notebook: `predict`, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

from beft_core.config import RunConfig
from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.inference.answers import Answer, margin, probabilities
from beft_core.inference.heads import shared_task
from beft_core.library import arguments
from beft_core.library.arguments import Where, run_config
from beft_core.library.reading import Source, several_of
from beft_core.library.result import Result, Shown, cell
from beft_core.library.snapshot import Snapshot
from beft_core.library.training import base_of
from beft_core.library.words import in_python
from beft_core.merging.config import recorded
from beft_core.models.source import locate

if TYPE_CHECKING:
    import pandas as pd
    from transformers import PreTrainedTokenizerBase

    from beft_core.library.training import Model


@dataclass(frozen=True, repr=False)
class Predictions(Result):
    """Predictions of fine-tunes for texts: class probabilities or values, and how far the biases moved them."""

    texts: tuple[str, ...]
    text_pairs: tuple[str, ...] | None
    task: str
    answers: tuple[Answer, ...]
    """Answer of each fine-tune, with logits [texts, outputs] under its biases, before them and without each layer's."""

    @property
    def verdicts(self) -> list[str]:
        """Sentence on each text by each fine-tune, the fine-tunes of a text side by side."""
        return [one.verdict(example) for example in range(len(self.texts)) for one in self.answers]

    def shown(self) -> Shown:
        table = self.to_pandas()
        rows = [[cut(cell(value)) for value in row] for row in table.itertuples(index=False)]
        return Shown(f"{self.task}: {counted(len(self.texts), 'text')}", list(table.columns), rows, self.verdicts[:10])

    def to_pandas(self, layers: bool = False) -> pd.DataFrame:
        """Give one row per text and fine-tune: probabilities or value, logits, and the shift of the margin by the
        biases. ``layers``: one row per layer instead, with its part of the shift; ``rest`` is what they do together.

        The margin is the log-odds of the class that the fine-tune predicts, or the value of a regression.
        """
        import pandas as pd

        rows = [
            {**self._about(example), "fine-tune": one.name, **row}
            for example in range(len(self.texts))
            for one in self.answers
            for row in (_by_layer(one, example) if layers else [_whole(one, example)])
        ]
        return pd.DataFrame(rows)

    def _about(self, example: int) -> dict[str, Any]:
        pair = {} if self.text_pairs is None else {"text_pair": self.text_pairs[example]}
        return {"text": self.texts[example], **pair}


@in_python
def predict(
    snapshots: Source | Sequence[Source],
    texts: str | Sequence[str],
    text_pairs: str | Sequence[str] | None = None,
    *,
    task: str | None = None,
    names: Sequence[str] | None = None,
    layers: bool = True,
    model: Model | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    **settings: Unpack[Where],
) -> Predictions:
    """Ask fine-tunes of one base model about texts, or pairs of texts, each under its own head.

    ``snapshots``: one or several, in memory or paths. ``task``: whose head answers; by default the only one that all
    hold. ``names``: what to call the fine-tunes. ``layers``: also put each layer's biases back in turn, which says what
    each layer makes of the shift. ``model``, with its ``tokenizer``: the base model, where it is not found under the
    name that the snapshots give.

    Raises:
        UserError: no head that all hold, texts that do not suit it, another base model, or changed weights.
    """
    opened = several_of(snapshots if isinstance(snapshots, list | tuple) else [snapshots])
    task = shared_task(opened, task)
    first, second = texts_of("texts", texts), None if text_pairs is None else texts_of("text_pairs", text_pairs)
    if names is not None and len(names) != len(opened):
        raise UserError(f"got {len(names)} names for {len(opened)} snapshots", "as many")
    config = config_of(opened, model, settings, task)
    base = base_of(model, tokenizer)
    require_training()
    if base is None:
        locate(config.model)  # a name that leads nowhere is told before PyTorch takes its seconds
    from beft_core.inference.predict import predict as ask
    from beft_core.training import inputs

    answers = ask(
        opened,
        first,
        second,
        task=task,
        names=names,
        apart=None if layers else [],
        config=config,
        loader=lambda resolved: inputs.load(resolved, base),
    )
    return Predictions(tuple(first), None if second is None else tuple(second), task, tuple(answers))


def config_of(
    snapshots: Sequence[Snapshot], model: Model | None, settings: Mapping[str, Any], task: str | None = None
) -> RunConfig:
    """Make the configuration under which snapshots answer, on the CPU unless ``settings`` say otherwise; ``task``:
    whose heads all of them use. Raises UserError.
    """
    given: dict[str, Any] = {**recorded(snapshots, task), "device": "cpu"}
    if model is not None and not hasattr(model, "parameters"):
        given["model"] = model
    return run_config(None, given | arguments.named(settings, ("max_length", "precision", "device")))


def texts_of(name: str, value: object) -> list[str]:
    """Read one text, or several in a list, an array or a column. Raises UserError for anything else."""
    several = [value] if isinstance(value, str) else getattr(value, "tolist", lambda: value)()
    if not isinstance(several, list | tuple) or not all(isinstance(text, str) for text in several):
        raise UserError(f"got {name} = {str(value)[:80]!r}", "a text, or a list of texts", f"{name}=['a fine film']")
    return list(several)


def _whole(one: Answer, example: int) -> dict[str, Any]:
    logits = one.logits[example]
    shift = one.effect(example).shift
    if one.labels is None:
        return {"value": float(logits[0]), "before": float(one.before[example][0]), "shift": shift}
    label = int(logits.argmax())
    shares = probabilities(logits)
    return {
        "predicted": one.labels[label],
        **{f"p {name}": float(share) for name, share in zip(one.labels, shares, strict=True)},
        "margin": margin(logits, label),
        "shift": shift,
        **{f"logit {name}": float(value) for name, value in zip(one.labels, logits, strict=True)},
    }


def _by_layer(one: Answer, example: int) -> list[dict[str, Any]]:
    effect = one.effect(example)
    return [
        {"layer": layer, "shift": change} for layer, change in (*effect.layers.items(), ("rest", effect.interaction))
    ]


def cut(text: str, limit: int = 60) -> str:
    """Shorten a text for a table."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
