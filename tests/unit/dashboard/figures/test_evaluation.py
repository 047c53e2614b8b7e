"""Figures of the evaluation: rules with intervals, settling, scores beside metrics, learning rates and epochs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sweep_tables import make_results

from beft_core.reports.pairing import pairs
from beft_core.reports.selection.prediction import ALWAYS_V, MEASURES, RANDOM, RULES, settled_shares, summary
from beft_core.reports.series import metric_vs_epoch, score_vs_lr
from beft_core.scores.approaches import of_probes
from dashboard.figures.curves.rates import over_epochs, over_rates
from dashboard.figures.evaluation import MEASURES as DRAWN
from dashboard.figures.evaluation import RULE_MARKS, rule_dots, score_and_metric, settling_curves
from dashboard.figures.parts import style

RESULTS = make_results(["sst2"], ["low"], add=lambda run: 0.03 * (run[4] - 1) * (1 if run[2] == "q" else -1))


def panels(*titles: str) -> pd.DataFrame:
    rows = summary(RESULTS)
    return pd.concat([rows[rows["task"] == "sst2"].assign(panel=title) for title in titles], ignore_index=True)


# --- rules ---------------------------------------------------------------------------------------------------------


def test_every_rule_has_a_look_and_every_measure_is_drawn() -> None:
    assert set(RULE_MARKS) == set(RULES) and set(DRAWN) == set(MEASURES.values())
    assert {DRAWN[mean].short for mean in MEASURES.values()} == set(MEASURES)
    assert RULE_MARKS[ALWAYS_V].colour(dark=False) == style.TERM_COLOURS["v"]
    looks = {(mark.colour(dark=True), mark.symbol) for mark in RULE_MARKS.values()}
    assert len(looks) == len(RULES)
    for key in of_probes():  # an approach has no colour of a term
        form = style.approach_forms()[key]
        assert RULE_MARKS[key].colour(dark=True) == style.ink(dark=True) and RULE_MARKS[key].symbol == form.symbol


def uneven(*titles: str) -> pd.DataFrame:
    """A row per panel and rule whose every number is another one, and whose means are not in the middle."""
    rows = []
    for at, title in enumerate(titles):
        for place, rule in enumerate(RULES):
            off = 0.01 * place + 0.1 * at
            rows.append(
                {
                    "panel": title,
                    "rule": rule,
                    "n": 10 + place,
                    "regret": 5 + off,
                    "regret_low": 4.5 + off,
                    "regret_high": 9 + off,
                    "hit_rate": 0.3 + off,
                    "hit_low": 0.05 + off,
                    "hit_high": 0.4 + off,
                    "tau": 0.1 + off,
                    "tau_low": -0.6 + off,
                    "tau_high": 0.3 + off,
                }
            )
    return pd.DataFrame(rows)


@pytest.mark.parametrize("measure", DRAWN)
@pytest.mark.parametrize("dark", [False, True])
def test_dots_stand_at_means_and_bars_end_where_intervals_do(measure: str, dark: bool) -> None:
    rows = uneven("All tasks", "SST-2")
    figure = rule_dots(rows, measure, dark)
    what = DRAWN[measure]
    assert len(figure.data) == len(rows) == 2 * len(RULES) and figure.layout.font.color is None
    assert figure.layout.template.layout.font.color == style.ink(dark)
    written = [a.text for a in figure.layout.annotations if a.name == "number"]
    for number, (trace, row) in enumerate(zip(figure.data, rows.to_dict("records"), strict=True)):
        assert trace.name == row["rule"] and trace.x[0] == pytest.approx(what.factor * row[measure])
        assert trace.yaxis == ("y" if row["panel"] == "All tasks" else "y2")
        ticks = figure.layout["yaxis" if trace.yaxis == "y" else "yaxis2"].ticktext
        assert (
            ticks[trace.y[0]]
            == RULES[row["rule"]]
            .label.replace("b_v", "b<sub>v</sub>")
            .replace("b_q", "b<sub>q</sub>")
            .replace("b_k", "b<sub>k</sub>")
            + " "
        )
        assert trace.error_x.visible
        low, high = (what.factor * row[f"{what.short}_{end}"] for end in ("low", "high"))
        assert trace.x[0] - trace.error_x.arrayminus[0] == pytest.approx(low)
        assert trace.x[0] + trace.error_x.array[0] == pytest.approx(high)
        words = f"{low:.{what.digits}f} to {high:.{what.digits}f}"
        assert words in trace.customdata[0] and f"{row['n']} cases" in trace.customdata[0]
        if number < len(RULES):
            assert written[number].endswith(words)


def test_real_summaries_are_drawn_as_they_are() -> None:
    rows = panels("All tasks", "SST-2")
    figure = rule_dots(rows, "regret")
    assert [trace.x[0] for trace in figure.data] == pytest.approx(list(rows["regret"]))
    assert all(trace.error_x.visible for trace in figure.data)


def test_rules_that_share_a_row_are_counted_and_named_under_the_pointer() -> None:
    rows = uneven("x").iloc[:2].assign(shared=["Fisher; Fixed order b_v, b_q, b_k", ""])
    figure = rule_dots(rows, "regret")
    assert list(figure.layout.yaxis.ticktext) == ["Projection ratio (+ 2) ", "Magnitude (L1) "]
    assert (
        figure.data[0]
        .customdata[0]
        .endswith("also: Fisher<br>also: Fixed order b<sub>v</sub>, b<sub>q</sub>, b<sub>k</sub>")
    )
    assert "also" not in figure.data[1].customdata[0]


def test_the_first_panel_is_wide_and_written_out() -> None:
    figure = rule_dots(panels("All", "A", "B", "C"), "regret")
    wide, narrow = (figure.layout[name].domain for name in ("xaxis", "xaxis2"))
    assert wide[1] - wide[0] == 1 and narrow[1] - narrow[0] < 0.5
    titles = [a.text for a in figure.layout.annotations if a.yref == "paper"]
    assert titles == ["<b>All</b>: points lost (less is better)", "<b>A</b>", "<b>B</b>", "<b>C</b>"]
    written = [a for a in figure.layout.annotations if a.name == "number"]
    assert len(written) == len(RULES) and all(" to " in a.text for a in written)
    # All narrow panels have one scale; the wide one has room for the numbers, and no tick among them.
    assert figure.layout.xaxis2.range == figure.layout.xaxis4.range
    assert figure.layout.xaxis.range[1] > figure.layout.xaxis2.range[1] > max(figure.layout.xaxis.tickvals)


def test_a_single_group_has_no_bar() -> None:
    rows = summary(make_results(["sst2"], ["low"], seeds=[0]))
    figure = rule_dots(rows[rows["task"] == "sst2"].assign(panel="x"), "regret")
    assert not any(trace.error_x.visible for trace in figure.data)
    assert "one group: no interval" in figure.data[0].customdata[0]


def test_rules_without_a_case_get_no_row() -> None:
    rows = panels("x")
    figure = rule_dots(rows[rows["rule"].isin([ALWAYS_V, RANDOM])], "regret")
    assert len(figure.layout.yaxis.ticktext) == 2
    nothing = rows[["regret", "regret_low", "regret_high"]] * 0
    assert rule_dots(rows.assign(**nothing), "regret").layout.xaxis.range[1] > 0


# --- settling ------------------------------------------------------------------------------------------------------


def test_settling_counts_probes() -> None:
    shares = pd.DataFrame({"approach": "projection_ratio", "share": [0.5, 0.1, 0.1, 0.9]})
    figure = settling_curves(shares)
    (line,) = figure.data
    assert line.line.shape == "hv" and list(line.x) == [0, 10, 10, 50, 90, 100]
    assert list(line.y) == [0, 25, 50, 75, 100, 100]
    assert line.name == "Projection ratio: half by 30 %, nine of ten by 78 %"
    every = settling_curves(settled_shares(RESULTS))
    assert [trace.name.split(":")[0] for trace in every.data] == [a.label for a in of_probes().values()]
    widths = [trace.line.width for trace in every.data]
    assert widths == sorted(widths, reverse=True) and every.layout.height > figure.layout.height


# --- scores beside metrics -----------------------------------------------------------------------------------------


def test_score_and_metric_by_hand() -> None:
    rows = pairs(RESULTS).rows
    figure = score_and_metric(rows, "projection_ratio", "accuracy")
    lines = {trace.name: trace for trace in figure.data if trace.name in ("q", "k", "v")}
    v = RESULTS[RESULTS["trains"] == "v"].groupby("lr")["value"].mean()
    np.testing.assert_allclose(lines["v"].y, 100 * v)
    np.testing.assert_allclose(lines["v"].x, [0.9, 0.95])
    assert list(lines["v"].text) == ["0.001", "0.01"] and lines["v"].line.color == style.TERM_COLOURS["v"]
    seeds = next(trace for trace in figure.data if trace.name == "seeds q")
    assert len(seeds.x) == 2 * 3 and "learning rate 0.001, seed 0" in seeds.customdata[0]


def test_a_term_without_scores_is_left_out() -> None:
    rows = pairs(RESULTS).rows.assign(**{"fisher.k": np.nan})
    names = {trace.name for trace in score_and_metric(rows, "fisher", "accuracy").data}
    assert names == {"seeds q", "q", "seeds v", "v"}


# --- learning rates and epochs -------------------------------------------------------------------------------------


def test_learning_rates_are_on_a_log_scale() -> None:
    both = score_vs_lr(RESULTS).rename(columns={"term": "trains"})
    metrics = both.rename(columns={"value_std": "std"})[["trains", "lr", "value", "std", "seeds"]]
    scores = both[["trains", "lr", "score", "score_std", "probes"]].set_axis(metrics.columns, axis=1)
    figure = over_rates(metrics, scores.dropna(subset=["value"]), "accuracy", "Projection ratio")
    assert figure.layout.xaxis.type == "log" and list(figure.layout.xaxis.ticktext) == ["0.001", "0.01"]
    lines = [trace for trace in figure.data if trace.name != "band"]
    assert [trace.showlegend for trace in lines] == [True] * 4 + [False] * 3
    v = next(trace for trace in lines if trace.name.startswith("value bias"))
    want = metrics[metrics["trains"] == "v"].sort_values("lr")
    assert list(v.x) == [0.001, 0.01] == list(want["lr"]) and want["value"].nunique() == 2
    assert list(v.y) == list(want["value"]) and "±" in v.customdata[0] and "3 seeds" in v.customdata[0]
    band = next(t for t in figure.data if t.name == "band" and t.fillcolor == style.TERM_COLOURS["v"])
    low, high = list(want["value"] - want["std"]), list(want["value"] + want["std"])
    assert high[0] != high[1] and list(band.x) == [0.001, 0.01, 0.01, 0.001]  # round the band: out below, back above
    np.testing.assert_allclose(band.y, [low[0], low[1], high[1], high[0]])


@pytest.mark.parametrize("rates", [1, 2, 3])
def test_epochs_have_a_panel_per_learning_rate(rates: int) -> None:
    table = make_results(["sst2"], ["low"], [1e-4, 1e-3, 1e-2][:rates], [0])
    rows = metric_vs_epoch(table)
    figure = over_epochs(rows, "accuracy", dark=True)
    lines = [trace for trace in figure.data if trace.name != "band"]
    assert len(lines) == 5 * rates and len(figure.data) == len(lines)  # one seed: no band
    assert {trace.name for trace in lines if trace.line.color == style.ink(True)} == {"all biases", "head only"}
    assert sum(bool(trace.showlegend) for trace in lines) == 5
    assert figure.layout.annotations[0].text == f"<b>learning rate {sorted(set(rows['lr']))[0]:g}</b>"
    assert list(lines[-1].x) == [1, 2, 3, 4]
    titles = [note.text for note in figure.layout.annotations if note.text.startswith("<b>learning rate")]
    for number, (lr, title) in enumerate(zip(sorted(set(rows["lr"])), titles, strict=True)):
        assert title == f"<b>learning rate {lr:g}</b>"
        (line,) = [
            t for t in lines if t.yaxis == f"y{number + 1 if number else ''}" and t.name.startswith("query bias")
        ]
        own = rows[(rows["lr"] == lr) & (rows["trains"] == "q")].sort_values("epoch")
        assert list(line.y) == list(own["value"]) and own["value"].is_unique


def test_the_legend_names_what_only_a_later_panel_has() -> None:
    rows = metric_vs_epoch(make_results(["sst2"], ["low"], [1e-3, 1e-2], [0]))
    own_rates = rows[(rows["trains"] == "all") == (rows["lr"] == 1e-3)]  # probes at other learning rates than the terms
    figure = over_epochs(own_rates, "accuracy")
    named = [trace.name for trace in figure.data if trace.showlegend]
    assert len(named) == len(set(named)) == 5 and "all biases" in named
