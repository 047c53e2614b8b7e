"""Tabs "Figures 1 and 4" and "Learning rate and epochs": what the paper draws, from a result table."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from beft_core.reports.pairing import pairs
from beft_core.reports.seed_means import LrChoice
from beft_core.reports.selection.prediction import score_with_metric
from beft_core.reports.series import figure4, metric_vs_epoch, score_vs_lr
from beft_core.scores.approaches import APPROACHES, PAPER, of_probes
from beft_core.scores.regimes import Measured
from beft_core.terms import CANDIDATES, TERM_KEYS
from dashboard.app_pages.evaluation.tables import reference
from dashboard.app_pages.evaluation.view import View, choose_regime, choose_task, on_demand
from dashboard.content.trained_alone import task_title
from dashboard.figures.curves.rates import over_epochs, over_rates
from dashboard.figures.evaluation import score_and_metric
from dashboard.figures.parts.labels import in_figures
from dashboard.figures.parts.style import latex
from dashboard.shared import page
from dashboard.shared.figure import show
from dashboard.shared.regimes import draw, switches
from dashboard.shared.text import plain

APPROACH, NOTEBOOK = "by_score", "notebook"
"""Keys of the choice of a score and of the switch for the authors' numbers, and their names in the URL."""
SCATTER, EPOCHS = "scores_and_results", "over_epochs"
"""Keys of the boxes that open on demand, and their names in the URL."""
NO_PAIRS = "It takes a probe and the three terms alone, on the same data and seed; this table has none here."
"""Sentence on why no score stands beside a result."""
_SHOWN = ["regime", "n_train", "approach", "term", "seeds", "probe_lr", "mean", "rank", "selected", "value", "lr"]


@st.cache_data(max_entries=16, show_spinner=False)
def _figure4(token: str, lr: str | float, _results: pd.DataFrame) -> pd.DataFrame:
    return figure4(_results, lr)  # type: ignore[arg-type]


@st.cache_data(max_entries=16, show_spinner=False)
def _epochs(token: str, _results: pd.DataFrame) -> pd.DataFrame:
    return metric_vs_epoch(_results)


@st.cache_data(max_entries=16, show_spinner=False)
def _rates(token: str, _results: pd.DataFrame) -> pd.DataFrame:
    return score_vs_lr(_results)


@st.cache_resource(max_entries=8, show_spinner=False)
def _pairs(token: str, _results: pd.DataFrame) -> pd.DataFrame:
    """Put probes beside the terms alone once for all sessions and reruns; nobody changes the rows."""
    return pairs(_results).rows


def null_terms(results: pd.DataFrame) -> list[str]:
    """Collect the bias terms that are certified to change nothing."""
    named = {term for cell in results["null_terms"].dropna() for term in str(cell).split("+")}
    return [term for term in TERM_KEYS if term in named]


def _say_null(null: Sequence[str]) -> None:
    if null:
        names = ", ".join(latex(term) for term in null)
        st.markdown(
            f"{names} is null in this model: a probe keeps it frozen, so it scores 0, and “alone” only the head and "
            "the pooler's bias learn."
        )


# --- Figures 1 and 4 -----------------------------------------------------------------------------------------------


def figures_1_and_4(view: View) -> None:
    """Draw the tab "Figures 1 and 4"."""
    st.markdown(
        "Rank of each bias term by three approaches, over amounts of training data, and what the terms are worth "
        "alone. In the paper, Fig. 1 is SST-2 on 1,000 examples, Fig. 4 SST-2, CoLA and STS-B. A good approach ranks "
        "highest the term that does best alone."
    )
    with page.control("settings", "figures", horizontal=True):
        task = choose_task(view)
        approaches, y = switches()
    drawn = _figure4(view.table.token, view.lr, view.results)
    rows = drawn[drawn["task"] == task].rename(
        columns={
            "seeds": "alone",
            "probes": "seeds",
            "score": "mean",
            "score_std": "std",
            "rank_min": "rank_best",
            "rank_max": "rank_worst",
        }
    )
    names = zip(rows["regime"], rows["n_train"], strict=True)
    # A regime without a name is called by its size, which stands there anyway.
    names_shown = ["" if name == f"{size:,.0f} examples" else in_figures(name) for name, size in names]
    rows = rows.assign(regime=names_shown).astype({"n_train": int})
    null = null_terms(view.results)
    if rows.empty:
        st.info(
            f"There is no finished probe (all biases) of {plain(task_title(task))} in this table, so nothing to rank. "
            "The tables have what was trained alone.",
            icon=":material/info:",
        )
        return
    probes, alone = _measured(view.table.token, task, view.lr, null, view)
    draw("figure4", rows, approaches, y, f"{in_figures(view.metric(task))} (%)", probes, alone, null, view.dark)
    with page.control("details", "figure4"), st.expander("How was this computed?", icon=":material/function:"):
        st.markdown(
            "A score is the mean over layers and over the probes' seeds. A rank is among all eight terms, 1 the "
            "highest: the mean over probes, with a band from the best to the worst of them; with *score*, one standard "
            "deviation each way. The metric is that after the last epoch, with bars from the lowest to the highest "
            "seed. Probes and single terms stand at the learning rate chosen above, which may differ between them."
        )
        _say_null(null)
        st.dataframe(rows[_SHOWN], hide_index=True, alt="Numbers behind the figure")
    if task == "sst2":
        with page.control("settings", "notebook"):
            beside = st.toggle("Beside the authors' notebook", key=NOTEBOOK, bind="query-params")
        if beside:
            reference(view)


@st.cache_data(max_entries=16, show_spinner=False)
def _measured(
    token: str, task: str, lr: LrChoice, null: Sequence[str], _view: View
) -> tuple[list[Measured], list[Measured]]:
    """Collect the metrics in percent at the chosen learning rate, per size: of all biases, and of each term alone."""
    runs = _view.runs
    found: dict[str, list[Measured]] = {what: [] for what in (*CANDIDATES, "all")}
    for regime in runs.regimes(_view.model, task):
        for what, points in found.items():
            mean = runs.at((_view.model, task, regime, what), lr)
            if mean is None:
                continue
            rows = runs.rows
            own = rows[(rows["task"] == task) & (rows["regime"] == regime) & (rows["trains"] == what)]
            own = own[(own["lr"] == mean.lr) & ~own["is_failed"] & own["value"].notna()]
            values = tuple(100 * float(value) for value in own["value"])
            term = None if what == "all" else what
            points.append(Measured(int(own["n_train"].iloc[0]), term, values, what in null))
    return found["all"], [point for term in CANDIDATES for point in found[term]]


# --- section 3.4 ---------------------------------------------------------------------------------------------------


def rates_and_epochs(view: View) -> None:
    """Draw the tab "Learning rate and epochs"."""
    answer = st.container()  # above the lists that it depends on
    with page.control("settings", "rates", horizontal=True):
        task = choose_task(view)
        regime = choose_regime(view, task)
    metric, label = in_figures(view.metric(task)), APPROACHES[PAPER].label
    rows = _pairs(view.table.token, view.results)
    rows = rows[(rows["task"] == task) & (rows["regime"] == regime)]
    with answer:
        st.markdown(_rates_in_words(rows, view.metric(task)))
    of_rates = _rates(view.table.token, view.results)
    of_rates = of_rates[(of_rates["task"] == task) & (of_rates["regime"] == regime)].rename(columns={"term": "trains"})
    scores = of_rates[["trains", "probe_lr", "score", "score_std", "probes"]].dropna(subset=["score"])
    scores = scores.set_axis(["trains", "lr", "value", "std", "seeds"], axis=1).drop_duplicates(["trains", "lr"])
    show(
        over_rates(
            of_rates.rename(columns={"value_std": "std"})[["trains", "lr", "value", "std", "seeds"]],
            scores,
            metric,
            label,
            view.dark,
        ),
        "rates",
        "Metric of each term alone and of all biases, and projection ratio, over learning rates",
        data=lambda: of_rates,
    )
    scatter = partial(_scores_beside_metrics, view, rows, metric)
    on_demand(SCATTER, "Does a higher score come with a better result?", scatter)
    on_demand(EPOCHS, "Epochs: few examples want many", lambda: _over_epochs(view, task, regime, metric))
    with page.control("details", "rates"), st.expander("How was this computed?", icon=":material/function:"):
        st.markdown(
            "Lines are means over seeds, bands one standard deviation (n − 1) each way. Metrics are of the validation "
            "set; curves end at the last epoch, whose value all tables show. Scores are those of the probes (all "
            "biases trained together), means over layers, at the probes' own learning rates. In the picture of scores "
            "and results, a dot joins the score and the metric that belong together: of the same learning rate, or, "
            "where probes have others, of the same place in the two lists; the number beside it is that of the term "
            "alone. Correlations are over learning rates and seeds."
        )
        _say_null(null_terms(view.results))


def _rates_in_words(rows: pd.DataFrame, metric: str) -> str:
    """Write whether a higher score comes with a better result, by the paper's approach, as Markdown.

    ``rows``: pairs of probes and terms alone, of one task and regime.
    """
    claim = (
        "The paper's section 3.4: a learning rate that moves a bias further gives it a higher score, and a better "
        "result."
    )
    if rows.empty:
        return f"{claim} {NO_PAIRS}"
    if not (related := _correlations(rows, PAPER)):
        return claim
    label = APPROACHES[PAPER].label.lower()
    return f"{claim} **Here Spearman's correlation of {label} and {plain(metric)} is {related}.**"


def _correlations(rows: pd.DataFrame, approach: str) -> str:
    """Write Spearman's correlation of a score and the metric for each term; empty where there is none."""
    if rows.empty or not _has_scores(rows, approach):
        return ""
    related = score_with_metric(rows, approach)
    return ", ".join(f"{latex(term)} {value:.2f}" for term, value in related.items() if value == value)


def _has_scores(rows: pd.DataFrame, approach: str) -> bool:
    return bool(rows[[f"{approach}.{term}" for term in CANDIDATES]].notna().all(axis=None))


def _over_epochs(view: View, task: str, regime: str, metric: str) -> None:
    curves = _epochs(view.table.token, view.results)
    curves = curves[(curves["task"] == task) & (curves["regime"] == regime)]
    if curves.empty:
        st.caption("No curve in this table.")
        return
    show(
        over_epochs(curves, metric, view.dark),
        "epochs",
        "Metric after each epoch, of each term alone and of all biases, at each learning rate",
        data=lambda: curves,
    )


def _scores_beside_metrics(view: View, rows: pd.DataFrame, metric: str) -> None:
    if rows.empty:
        st.caption(NO_PAIRS)
        return
    known = [key for key in of_probes() if _has_scores(rows, key)]
    if not known:
        st.caption("The probes hold no scores.")
        return
    if APPROACH in st.session_state and st.session_state[APPROACH] not in known:
        del st.session_state[APPROACH]
    with page.control("settings", "scatter"):
        approach = str(
            st.segmented_control(
                "Score",
                known,
                default=known[0],
                required=True,
                key=APPROACH,
                bind="query-params",
                format_func=lambda key: APPROACHES[key].label,
            )
        )
    correlations = _correlations(rows, approach)
    st.markdown(
        "Along a line, from one learning rate to the next, the paper expects up and to the right. "
        + (f"Spearman's correlation over learning rates and seeds: {correlations}. " if correlations else "")
        + "Both follow the learning rate, so this alone does not say which term to take; that is the last tab."
    )
    show(
        score_and_metric(rows, approach, metric, view.dark),
        "score-metric",
        "Score of each term in the probe against the metric of the term alone, over learning rates",
        data=lambda: rows,
    )
