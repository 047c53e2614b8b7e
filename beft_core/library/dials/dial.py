"""Turning a fine-tune up, down and off from a notebook. Torch is imported when it is measured, not when it is read."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, Unpack

from beft_core.dials import in_words
from beft_core.dials.config import DialConfig
from beft_core.dials.parts import LAMBDAS, Part
from beft_core.dials.result import Dial
from beft_core.errors import UserError
from beft_core.extras import require_training
from beft_core.library import arguments, plots
from beft_core.library.arguments import Where, run_config
from beft_core.library.data import Given
from beft_core.library.progress import watching
from beft_core.library.reading import Source
from beft_core.library.result import Result, Shown
from beft_core.library.snapshot import snapshot_of
from beft_core.library.training import base_of, keywords_of, only_task
from beft_core.library.words import in_python
from beft_core.merging.config import recorded
from beft_core.models.source import locate
from beft_core.scores.approaches import PAPER
from beft_core.training.observer import Observer

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    Model: TypeAlias = str | os.PathLike[str] | PreTrainedModel
    Table: TypeAlias = str | os.PathLike[str] | pd.DataFrame | Mapping[str, Sequence[Any]] | Sequence[Mapping[str, Any]]


@dataclass(frozen=True, repr=False)
class DialResult(Result):
    """Metric of a fine-tune turned up, down and off, whole and part by part, and whether the scores knew."""

    result: Dial

    @property
    def verdict(self) -> str:
        """Answer in plain sentences."""
        return in_words.verdict(self.result)

    def shown(self) -> Shown:
        head = ["λ", f"{self.result.metric}, %", "against λ = 1"]
        return Shown(self.verdict, head, in_words.rows(self.result), [in_words.settings_line(self.result)])

    def to_pandas(self) -> pd.DataFrame:
        """Give one row per part and λ: the metric, and the interval of its difference to λ = 1."""
        import pandas as pd

        rows = [
            (curve.part.name, factor, value, low, high)
            for curve in self.result.curves
            for factor, value, low, high in zip(self.result.lambdas, curve.values, curve.low, curve.high, strict=True)
        ]
        return pd.DataFrame(rows, columns=["part", "lambda", self.result.metric, "difference_low", "difference_high"])

    def costs(self) -> pd.DataFrame:
        """Give one row per part switched off: what that costs, with its interval, and the part's score by each rule."""
        import pandas as pd

        rows = []
        for one in self.result.off:
            tested = [test for test in self.result.tests if one.part in test.parts]
            scores = {rule.key: rule.scores[test.parts.index(one.part)] for test in tested for rule in test.rules}
            about = {"part": one.part.name, "term": one.part.term, "layer": one.part.layer}
            rows.append({**about, "cost": one.loss, "low": one.low, "high": one.high, **scores})
        return pd.DataFrame(rows)

    def rules(self) -> pd.DataFrame:
        """Give one row per kind of parts and rule: Kendall's tau between scores and costs, its interval and p-value."""
        import pandas as pd

        rows = [
            (test.over, rule.key, rule.baseline, rule.tau, rule.low, rule.high, rule.p)
            for test in self.result.tests
            for rule in test.rules
        ]
        return pd.DataFrame(rows, columns=["over", "rule", "baseline", "tau", "low", "high", "p"])

    @in_python
    def plot(
        self,
        kind: str = "curve",
        *,
        at: float = 1.0,
        term: str | None = None,
        layer: int | None = None,
        rule: str = PAPER,
        dark: bool = False,
    ) -> go.Figure:
        """Draw a figure of the dashboard.

        ``kind``: ``curve`` (the metric over λ, of all or of one ``term`` or ``layer``, with the place ``at`` marked),
        ``layers`` or ``terms`` (what each costs when switched off, beside its score by ``rule``).

        Raises:
            UserError: another kind, or a part or rule that this dial does not have.
        """
        part = Part(term, layer)
        kinds = {"curve": lambda: plots.dial_curve(self.result, _known(self.result, part), at, dark)}
        for over in ("layers", "terms"):
            if self.result.off_parts(over):
                kinds[over] = lambda over=over: plots.dial_costs(self.result, over, rule, dark)  # type: ignore[misc]
        return plots.drawn(kind, kinds)


def _known(result: Dial, part: Part) -> Part:
    if result.curve(part) is None:
        have = ", ".join(curve.part.name for curve in result.curves)
        raise UserError(f"got {part.name}", f"one of the parts that were turned: {have}")
    return part


@in_python
def dial(
    snapshot: Source,
    *,
    model: Model | None = None,
    tokenizer: PreTrainedTokenizerBase | None = None,
    task: str | None = None,
    data: Table | None = None,
    texts: Sequence[str] | None = None,
    text_pairs: Sequence[str] | None = None,
    labels: Sequence[Any] | None = None,
    text: str | None = None,
    text_pair: str | None = None,
    label: str | None = None,
    name: str | None = None,
    lambdas: Sequence[float] | None = None,
    progress: bool | None = None,
    observer: Observer | None = None,
    **settings: Unpack[Where],
) -> DialResult:
    """Turn a fine-tune up, down and off: its metric with every bias at ``pre + λ (post - pre)``, the head as trained.

    All layers together, each layer, and of several terms each term go through ``lambdas`` (by default -1 to 2); every
    layer and term is switched off alone, which tests whether what a score calls important costs most. All other
    keywords are those of `evaluate`.

    Raises:
        UserError: as `evaluate`, or a λ that is not finite.
    """
    opened = snapshot_of(snapshot)
    examples = Given(data, None, texts, text_pairs, labels, text=text, text_pair=text_pair, label=label)
    if examples.any and task is not None:
        raise UserError("got both a task and examples", "one of them", "name=..., for the head that they are of")
    scored = examples.scored(opened, name) if examples.any else None
    head = scored.spec.name if scored is not None else task if task is not None else only_task(opened)
    given: dict[str, Any] = recorded([opened], head)
    if isinstance(model, str | os.PathLike):
        given["model"] = model
    placed = arguments.named(settings, Where.__annotations__, keywords_of(dial))
    config = run_config(None, {**given, **placed})
    turned = DialConfig.of(
        opened,
        head,
        lambdas=LAMBDAS if lambdas is None else tuple(lambdas),
        limit=config.n_eval,
        model=config.model,
        data_dir=config.data_dir,
        max_length=config.max_length,
        device=config.device,
        precision=config.precision,
    )
    base = base_of(model, tokenizer)
    require_training()
    with watching(progress, observer) as watched:
        if base is None:
            watched.stage("find the model")
            locate(config.model)  # a name that leads nowhere is told before torch takes its seconds
        watched.stage("start PyTorch")
        from beft_core.dials.measure import measure

        return DialResult(measure(opened, turned, watched, data=scored, base=base))
