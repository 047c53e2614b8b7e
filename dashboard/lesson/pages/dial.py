"""Page of a lesson on the dial: fine-tunes turned up, down and off, and what each layer costs without its biases."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import plotly.graph_objects as go

from beft_core.dials import in_words
from beft_core.dials.result import Curve, Dial, beside, read_dial
from beft_core.errors import UserError
from beft_core.snapshots.snapshot import SUFFIX
from beft_core.tasks.metrics import metric_in_words
from dashboard.app_pages.dial.words import (
    ABOUT_PARTS,
    ABOUT_TAU,
    FIRST,
    SENTENCE,
    STEP,
    number_at,
    rules,
    rules_by_label,
    tau,
)
from dashboard.content.places import PLACES
from dashboard.figures.curves.dial import costs_beside_scores, here, over_lambda
from dashboard.lesson.charts import THEMES, Chart, chart
from dashboard.lesson.markdown import inline
from dashboard.lesson.page import Page
from dashboard.lesson.shelf import Shelf
from dashboard.shared.text import in_words as with_symbols
from dashboard.shared.text import plain


def page(shelf: Shelf) -> Page:
    """Make the page with a section for each dial that lies beside a snapshot, the author's and the best known first.

    Raises:
        UserError: a dial that cannot be read, or none.
    """
    charts: list[Chart] = []
    sections, turned = [], {}
    for number, (title, dial) in enumerate(_dials(shelf)):
        key = str(number)
        sections.append({"title": title, "key": key, **_section(dial, key, charts)})
        turned[key] = _turned(dial)
    if not sections:
        raise UserError("got samples without a dial that moved something", "those that come with the lab")
    return Page(
        name="dial",
        title=PLACES["dial"].title,
        sentence=SENTENCE,
        teaser=sections[0]["height"],
        words={"sections": sections, "about_tau": ABOUT_TAU, "about_parts": ABOUT_PARTS, "step": STEP},
        data={"turned": turned},
        charts=charts,
    )


def _dials(shelf: Shelf) -> Iterator[tuple[str, Dial]]:
    """Find the dials that have something to turn, by the title of their snapshot."""
    order = {f"{name}{SUFFIX}": at for at, name in enumerate(FIRST)}
    files = [(one.path, one.title) for one in shelf.samples if one.path is not None]
    files.sort(key=lambda file: order.get(file[0].name, len(order)))
    files[:0] = [(one.path, one.title) for one in shelf.own if one.path is not None]
    for path, title in files:
        if beside(path).is_file():
            dial = read_dial(beside(path))
            if dial.terms:
                yield title, dial


def _section(dial: Dial, key: str, charts: list[Chart]) -> dict[str, Any]:
    height, *more = in_words.sentences(dial)
    parts = []
    for at, curve in enumerate(dial.curves):
        words = in_words.part_words(curve.part)
        parts.append((f"curve-{key}-{at}", words))
        charts.append(
            chart(
                f"curve-{key}-{at}", f"{metric_in_words(dial.metric)} over λ for {words}", partial(_curve, dial, curve)
            )
        )
    known = rules_by_label(dial)
    costs = [
        {"label": label, "key": rule, "charts": [_costs(dial, kind, rule, key, charts) for kind in _kinds(dial)]}
        for label, rule in (known or {"": ""}).items()
    ]
    return {
        "height": with_symbols(height),
        "more": with_symbols(" ".join(more)),
        "parts": parts,
        "low": dial.lambdas[0],
        "high": dial.lambdas[-1],
        "costs": costs,
        "rules": rules(dial),
        "settings": plain(in_words.settings_line(dial), 900),
    }


def _curve(dial: Dial, curve: Curve, dark: bool) -> go.Figure:
    """Draw a curve without the place on it, which the page's script adds."""
    figure = over_lambda(dial, curve.part, 1.0, dark)
    figure.data = [trace for trace in figure.data if trace.name != "here"]
    return figure


def _kinds(dial: Dial) -> list[str]:
    return [kind for kind in ("terms", "layers") if dial.off_parts(kind)]


def _costs(dial: Dial, kind: str, rule_key: str, key: str, charts: list[Chart]) -> dict[str, Any]:
    test = dial.test(kind)
    rule = test.rule(rule_key) if test is not None else None
    name = in_words.ONE[kind]
    drawn = chart(
        f"costs-{key}-{kind}-{rule_key}",
        f"Cost of each {name} when switched off, beside its score",
        partial(costs_beside_scores, dial, dial.off_parts(kind), test, rule),
    )
    charts.append(drawn)
    return {"heading": f"**Each {name}**{tau(test, rule)}", "chart": drawn}


def _turned(dial: Dial) -> dict[str, Any]:
    """List, for each part, what the picture and the number show at every step of the slider."""
    steps = round((dial.lambdas[-1] - dial.lambdas[0]) / STEP)
    factors = np.round(dial.lambdas[0] + STEP * np.arange(steps + 1), 6).tolist()
    looks: list[dict[str, Any]] = []
    parts = [[_place(dial, curve, factor, looks) for factor in factors] for curve in dial.curves]
    return {"factors": factors, "parts": parts, "looks": looks}


def _place(dial: Dial, curve: Curve, factor: float, looks: list[dict[str, Any]]) -> dict[str, Any]:
    traces = {name: here(dial, curve, factor, dark) for name, dark in THEMES.items()}
    label, number, below = number_at(dial, curve.part, factor)
    said = {"label": inline(label), "number": number, "below": below}
    light = traces["light"]
    if light is None:
        return said
    look = {name: {part: (trace or {})[part] for part in ("marker", "textfont")} for name, trace in traces.items()}
    if look not in looks:
        looks.append(look)
    shared = {part: value for part, value in light.items() if part in ("x", "y", "text", "textposition")}
    return {**said, "trace": shared, "look": looks.index(look)}
