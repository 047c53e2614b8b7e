"""Result of a comparison, from the tables of its two sweeps and the predictions of what is reported."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np

from beft_core.comparison.choice import Choice
from beft_core.comparison.entries import Entry
from beft_core.comparison.folder import ComparisonFolder
from beft_core.comparison.plan import Plan
from beft_core.comparison.spec import ComparisonSpec
from beft_core.errors import UserError
from beft_core.models.source import BUNDLED
from beft_core.reports.methods.resampling import Resampled, holm, metric_in
from beft_core.reports.methods.table import SETTINGS, Comparison, comparison_of
from beft_core.reports.selection.contests import critical_t
from beft_core.runs.predictions import read_predictions
from beft_core.tasks.constant_answer import PROPORTIONS, uncertainty
from beft_core.tasks.predictions import Predictions

if TYPE_CHECKING:
    import pandas as pd

READERS = 4
"""Files of predictions that are read at the same time, each by a process of its own."""
BYTES = 4
"""Bytes of a trained value."""


def result_of(
    spec: ComparisonSpec,
    plan: Plan,
    choices: Mapping[str, Choice],
    finals: pd.DataFrame,
    folder: ComparisonFolder,
    refused: Mapping[str, str],
    advance: Callable[[], None] = lambda: None,
) -> Comparison:
    """Make both tables of a comparison.

    Args:
        choices: rate of each method that was tried, by its name in sweeps (``trains``).
        finals: result table of the sweep of what is reported.
        refused: reason why a method could not be trained after all, by the same name.
        advance: called for each method and setting that is done; there are :func:`units`.
    """
    predictions = _predictions(finals, folder)
    rows: list[dict[str, Any]] = []
    pairs: list[dict[str, Any]] = []
    for setting in SETTINGS:
        own = {entry.trains: _own_runs(entry, setting, plan, choices, finals) for entry in plan.entries}
        resampled, unpaired = _resampled(own, predictions, [one.trains for one in plan.entries if not one.lrs])
        for entry in plan.entries:
            reason = refused.get(entry.trains) or plan.refused.get(entry.trains) or ""
            shared = _shared(spec, plan, setting, entry, choices.get(entry.trains))
            measured = _measured(entry, own[entry.trains], resampled, reason, plan)
            rows.append(shared | {"reason": unpaired.get(entry.trains, "")} | measured)
            advance()
        if resampled is not None:
            shared = {name: rows[0][name] for name in ("task", "model", "n_train")}
            pairs += _pairs(resampled, [entry.trains for entry in plan.entries], shared | {"setting": setting})
    return comparison_of(rows, pairs)


def units(plan: Plan) -> int:
    """Count how often :func:`result_of` calls ``advance``."""
    return len(plan.entries) * len(SETTINGS)


def _own_runs(
    entry: Entry, setting: str, plan: Plan, choices: Mapping[str, Choice], finals: pd.DataFrame
) -> pd.DataFrame:
    """Select the reported fine-tunes of a method in a setting: all columns of the sweep's table."""
    own = finals[finals["trains"] == entry.trains]
    if not entry.lrs:
        return own
    choice = choices.get(entry.trains)
    lr = plan.same_lr if setting == "same" else None if choice is None else choice.lr
    return own[np.array([lr is not None and math.isclose(lr, one) for one in own["lr"]], dtype=bool)]


def _predictions(finals: pd.DataFrame, folder: ComparisonFolder) -> dict[str, Predictions]:
    """Read the predictions of finished fine-tunes, by the identity of the run; of free text there are none."""
    names = [str(run) for run in finals.loc[finals["state"] == "done", "run"]]
    names = [name for name in names if folder.finals.predictions(name).is_file()]
    with ThreadPoolExecutor(READERS) as readers:
        several = readers.map(lambda name: read_predictions(folder.finals.predictions(name)), names)
        return {name: one[0] for name, one in zip(names, several, strict=True) if len(one) == 1}


def _resampled(
    own: Mapping[str, pd.DataFrame], predictions: Mapping[str, Predictions], untrained: Collection[str]
) -> tuple[Resampled | None, dict[str, str]]:
    """Resample the methods all of whose seeds have predictions, and say of the others why they are not: some of the
    seeds would have an interval beside the mean of all.

    None, for the first, where that is no method, or for a metric that no example has.
    """
    metrics = [name for runs in own.values() for name in runs["metric"].dropna()]
    metric = metric_in(metrics[0]) if metrics else None
    if metric is None:
        return None, {}
    found: dict[str, dict[int, Predictions]] = {}
    unpaired: dict[str, str] = {}
    for trains, runs in own.items():
        done = {int(row["seed"]): str(row["run"]) for row in _rows(runs)}
        if lost := sorted(seed for seed, run in done.items() if run not in predictions):
            seeds = f"seed{'s' * (len(lost) > 1)} {', '.join(map(str, lost))}"
            unpaired[trains] = f"the predictions of {seeds} are missing: the wider interval, and no pairs"
        elif done:
            found[trains] = {seed: predictions[run] for seed, run in done.items()}
    return Resampled(found, metric, untrained=untrained) if found else None, unpaired


def _rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """List the finished fine-tunes that have a metric."""
    return [row for row in table.to_dict("records") if row["state"] == "done" and _is_number(row["value"])]


def _shared(spec: ComparisonSpec, plan: Plan, setting: str, entry: Entry, choice: Choice | None) -> dict[str, Any]:
    """Make the columns that say what was compared, and how the rate of a method was found."""
    tried = choice is not None and setting == "best"
    rate = plan.same_lr if setting == "same" else None if choice is None else choice.lr
    return {
        "task": spec.task_name,
        "model": str(spec.settings.get("model", BUNDLED)),
        "n_train": plan.n_train,
        "n_eval": plan.reported_on,
        "hold_out": plan.held_out,
        "budget": len(entry.lrs),
        "preset": spec.settings.get("preset", "quick"),
        "setting": setting,
        "method": entry.name,
        "label": entry.label,
        "trains": entry.trains,
        "lr": rate if entry.lrs else None,
        "lr_low": entry.lrs[0] if entry.lrs else None,
        "lr_high": entry.lrs[-1] if entry.lrs else None,
        "lr_source": entry.source,
        "edge": choice.edge if tried and choice is not None else "",
        "trials": choice.as_json() if choice is not None else "[]",
    }


def _measured(entry: Entry, own: pd.DataFrame, resampled: Resampled | None, reason: str, plan: Plan) -> dict[str, Any]:
    """Make the columns of a method's metric and cost, or of why there are none."""
    done = _rows(own)
    failed = int((own["state"] == "failed").sum())
    if not done:
        why = reason or next(iter(own["failure"].dropna()), None) or "no trial of it ended with a metric"
        return {"state": "refused" if reason else "failed", "reason": why, "failed": failed, "seeds": 0}
    values = [float(row["value"]) for row in done]
    mean = sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (len(values) - 1)) if len(values) > 1 else None
    found = {
        "state": "done",
        "metric": done[0]["metric"],
        "value": mean,
        "spread": spread,
        "seeds": len(done),
        "failed": failed,
        "values": json.dumps(values),
        "trained_parameters": _mean(done, "trained_parameters"),
        "total_parameters": _mean(done, "total_parameters"),
        "seconds": _mean(done, "seconds"),
        "bank_runs": max(row["bank_runs"] for row in done),
        "peak_bytes": max((row["peak_bytes"] for row in done if _is_number(row["peak_bytes"])), default=None),
        "device": done[0]["device"],
    }
    found["trained_bytes"] = None if found["trained_parameters"] is None else BYTES * found["trained_parameters"]
    if resampled is None or entry.trains not in resampled.methods:
        low, high = without_examples(values, done[0]["metric"], plan.reported_on)
        found |= {
            "low": low,
            "high": high,
            "interval": "normal",
            "constant": plan.constant,
            "at_chance": "yes" if low <= plan.constant else "no",
            "seeds_at_chance": sum(
                without_examples([value], done[0]["metric"], plan.reported_on)[0] <= plan.constant for value in values
            ),
        }
    else:
        interval, above = resampled.interval(entry.trains), resampled.above_constant(entry.trains)
        found |= {
            "low": interval.low,
            "high": interval.high,
            "interval": "bootstrap",
            "constant": resampled.constant,
            "at_chance": "yes" if above.low <= 0 else "no",
            "seeds_at_chance": resampled.seeds_at_constant(entry.trains),
        }
    return found


def without_examples(values: Sequence[float], metric: str, examples: int) -> tuple[float, float]:
    """Compute a 95 % interval of a mean over seeds where no prediction was kept, as of free text.

    Two parts whose squares add up: two standard errors of the metric on so many examples, which all seeds share, and
    Student's interval of the mean over seeds. It is wider than a bootstrap's, mostly of few seeds.
    """
    mean = float(np.mean(values))
    half = uncertainty(metric, min(max(mean, 0.0), 1.0), examples)
    if len(values) > 1:
        seeds = critical_t(len(values) - 1) * float(np.std(values, ddof=1)) / math.sqrt(len(values))
        half = math.hypot(half, seeds)
    least = 0.0 if any(metric == name or metric.startswith(f"{name}_") for name in PROPORTIONS) else -1.0
    return max(least, mean - half), min(1.0, mean + half)


def _pairs(resampled: Resampled, order: list[str], shared: dict[str, Any]) -> list[dict[str, Any]]:
    """Compare every two methods on the same examples."""
    found = []
    for first, second in itertools.combinations([name for name in order if name in resampled.methods], 2):
        try:
            difference = resampled.difference(first, second)
        except UserError:
            continue  # other seeds failed of each, and none is left that both have
        better, worse, alike = resampled.split(first, second)
        found.append(
            shared
            | {
                "first": first,
                "second": second,
                "metric": resampled.metric,
                "difference": difference.value,
                "low": difference.low,
                "high": difference.high,
                "first_better": better,
                "second_better": worse,
                "alike": alike,
                "p": resampled.p(first, second),
                "seeds": resampled.count_pairs(first, second),
                "examples": resampled.examples,
            }
        )
    for pair, corrected in zip(found, holm([pair["p"] for pair in found]), strict=True):
        pair["p_holm"] = corrected
    return found


def _mean(rows: list[dict[str, Any]], name: str) -> float | None:
    values = [float(row[name]) for row in rows if _is_number(row[name])]
    return sum(values) / len(values) if values else None


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
