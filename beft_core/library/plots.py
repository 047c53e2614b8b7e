"""Figures of the dashboard for results of the library, one function each: no other module of the engine knows them.

They are pure functions that take what the engine computed and return Plotly figures; they need no Streamlit, and lie in
the same wheel. Each is imported when it is drawn, so that nothing else here needs Plotly.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from beft_core.dials.parts import Part
from beft_core.dials.result import Dial
from beft_core.errors import UserError
from beft_core.scores.approaches import PAPER, of_probes, questions
from beft_core.scores.compare import Moves, alike, cosines, differences
from beft_core.scores.plane import trajectory
from beft_core.scores.table import ScoreTable
from beft_core.snapshots.snapshot import Snapshot

if TYPE_CHECKING:
    import pandas as pd
    import plotly.graph_objects as go


def drawn(kind: str, kinds: Mapping[str, Callable[[], go.Figure]]) -> go.Figure:
    """Draw the figure of a name.

    Raises:
        UserError: a name that is none of them.
    """
    if kind not in kinds:
        close = difflib.get_close_matches(str(kind), list(kinds), n=1)
        raise UserError(f"got the figure {str(kind)[:40]!r}", f"one of {', '.join(kinds)}", close[0] if close else "")
    return kinds[kind]()


T = TypeVar("T")


# --- scores --------------------------------------------------------------------------------------------------------


def heatmaps(table: ScoreTable, stack: str, dark: bool) -> go.Figure:
    """Draw layer x term, one panel for each question that the approaches ask."""
    from dashboard.figures.heatmaps import heatmaps

    return heatmaps(table, one_of_each(table.approaches), table.selected(stack), stack, dark)


def ranking(table: ScoreTable, approach: str, stack: str, dark: bool) -> go.Figure:
    """Draw the mean scores of one approach as bars, from the highest down."""
    from dashboard.figures.ranking import ranking

    return ranking(table, approach, table.selected(stack)[approach], stack, dark)


def bumps(table: ScoreTable, stack: str, dark: bool) -> go.Figure:
    """Draw the rank of every term by each approach."""
    from dashboard.figures.bumps import bumps

    ranked = [key for key in table.approaches if key in of_probes()]  # the others rank q, k and v alone
    return bumps(table, ranked, table.selected(stack), stack, dark)


def one_of_each(approaches: Sequence[str]) -> list[str]:
    """Choose the first approach of each question, out of some."""
    asked = [[one.key for one in variants if one.key in approaches] for variants in questions().values()]
    return [keys[0] for keys in asked if keys]


# --- a fine-tune ---------------------------------------------------------------------------------------------------


def epochs(snapshot: Snapshot, dark: bool) -> go.Figure:
    """Draw the metrics on the validation set after each epoch. Raises UserError where none are recorded."""
    records = [{"type": "epoch", **row} for row in snapshot.meta.metrics if "step" in row]
    if not records:
        raise UserError("got a snapshot without metrics after its epochs", "one of a fine-tune that was evaluated")
    from dashboard.figures.curves.progress import metric_curve

    return metric_curve(records, dark)


def path(snapshot: Snapshot, stack: str, dark: bool) -> go.Figure:
    """Draw the path of every trained term through its plane. Raises UserError where it was not followed."""
    followed = trajectory(snapshot, stack)
    if followed is None:
        raise UserError("got a snapshot without a trajectory", "one of train(trajectory_every=N)")
    from dashboard.figures.trajectory import path_figure

    return path_figure(followed, followed.paths, PAPER, len(followed.steps) - 1, dark)


def dial_curve(dial: Dial, part: Part, at: float, dark: bool) -> go.Figure:
    """Draw the metric over λ."""
    from dashboard.figures.curves.dial import over_lambda

    return over_lambda(dial, part, at, dark)


def dial_costs(dial: Dial, over: str, rule: str, dark: bool) -> go.Figure:
    """Draw what each part costs when it is switched off, beside its score. Raises UserError for an unknown rule."""
    test = dial.test(over)
    known = [] if test is None else [one.key for one in test.rules]
    if known and rule not in known:
        raise UserError(f"got the rule {rule[:40]!r}", f"one of {', '.join(known)}")
    from dashboard.figures.curves.dial import costs_beside_scores

    return costs_beside_scores(dial, dial.off_parts(over), test, None if test is None else test.rule(rule), dark)


# --- several -------------------------------------------------------------------------------------------------------


def overview(tables: Sequence[ScoreTable], titles: Sequence[str], stack: str, dark: bool) -> go.Figure:
    """Draw the mean score of every term by each approach, the snapshots told apart by shape."""
    from dashboard.figures.compare import overview

    known = {approach for table in tables for approach in table.approaches}
    return _with_names(overview(_few(tables), titles, one_of_each(list(known)), stack, dark), titles)


def layers(tables: Sequence[ScoreTable], titles: Sequence[str], approach: str, stack: str, dark: bool) -> go.Figure:
    """Draw the score of every layer, one panel per term and one line per snapshot."""
    from dashboard.figures.compare import by_layer

    return _with_names(by_layer(_few(tables), titles, approach, stack, dark), titles)


def angles(moves: Sequence[Moves], titles: Sequence[str], stack: str, dark: bool) -> go.Figure:
    """Draw the angles between what the snapshots learnt, two by two."""
    from dashboard.figures.compare import angles

    figure = angles(cosines(_few(moves), stack), titles, dark)
    names = _plain(titles)
    return figure.update_traces(x=names, y=names)


def difference(tables: Sequence[ScoreTable], approach: str, stack: str, dark: bool) -> go.Figure:
    """Draw the scores of the first snapshot minus those of the second, layer by term."""
    from dashboard.figures.compare import difference_map

    return difference_map(differences(tables[0], tables[1], approach, stack), approach, dark)


def cosine(moves: Sequence[Moves], stack: str, dark: bool) -> go.Figure:
    """Draw how alike the movements of the first two snapshots are, layer by term."""
    from dashboard.figures.compare import cosine_map

    return cosine_map(alike(moves[0], moves[1], stack), dark)


def rates(rows: pd.DataFrame, dark: bool) -> go.Figure:
    """Draw the metric of every fine-tune of a sweep over terms and learning rates."""
    from dashboard.figures.sweep import by_term_and_rate

    sizes = [f"{count:,.0f} examples" if count == count else "all examples" for count in rows["n_train"]]
    return by_term_and_rate(rows.assign(size=sizes), dark)


def _with_names(figure: go.Figure, titles: Sequence[str]) -> go.Figure:
    """Write names behind the letters of the legend: the page that a figure was made for has them beside it."""
    from dashboard.figures.compare import LETTERS

    names = dict(zip(LETTERS, _plain(titles), strict=False))
    for trace in figure.select_traces(lambda trace: trace.name in names and trace.showlegend is not False):
        trace.name = f"{trace.name}: {names[trace.name]}"
    return figure


def _plain(titles: Sequence[str]) -> list[str]:
    """Names that no tag of Plotly's comes out of, since they may be a stranger's."""
    from dashboard.figures.parts.labels import in_figures

    return [in_figures(title) for title in titles]


def _few(items: Sequence[T]) -> Sequence[T]:
    """Return the items, if there are no more of them than figures tell apart. Raises UserError."""
    from dashboard.figures.compare import MAX_COMPARED

    if len(items) > MAX_COMPARED:
        raise UserError(f"got {len(items)} snapshots in one figure", f"at most {MAX_COMPARED}", "some of them")
    return items
