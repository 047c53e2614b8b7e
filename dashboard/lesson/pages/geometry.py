"""Page of a lesson on what the scores measure: a vector to drag in three pictures, and every layer of snapshots."""

from __future__ import annotations

from functools import partial

from beft_core.terms import CANDIDATES
from dashboard.app_pages.geometry.every_layer import ALT, legend, no_points, strongest
from dashboard.app_pages.geometry.sandbox_jumps import JUMPS
from dashboard.app_pages.geometry.sandbox_scene import HOW, IN_ONE, JUMP_TO, SENTENCE, START, computed, scene
from dashboard.content import facts
from dashboard.content.places import PLACES
from dashboard.figures.geometry import has_points, polar
from dashboard.lesson.charts import Chart, chart
from dashboard.lesson.page import Page
from dashboard.lesson.shelf import Shelf


def page(shelf: Shelf) -> Page:
    """Make the page: the pictures to drag first, and below them every layer of each snapshot."""
    charts: list[Chart] = []
    sections = []
    for number, opened in enumerate(shelf.shown):
        for stack in opened.scores.stacks:
            rows = list(opened.scores.rows(stack).values())
            contest = [row for row in rows if row.term in CANDIDATES] or rows
            row = strongest(rows)
            ring = row.term, int(row.movement.projection_ratio().argmax())
            drawn: Chart | None = None
            if has_points(contest):
                drawn = chart(f"layers-{number}-{stack}", ALT, partial(polar, contest, ring))
                charts.append(drawn)
            several = f", {stack}" if len(opened.scores.stacks) > 1 else ""
            sections.append(
                {
                    "title": f"{opened.title}{several}",
                    "headline": facts.headline(opened),
                    "chart": drawn,
                    "legend": no_points(contest) if drawn is None else "  \n".join(legend(contest)),
                }
            )
    return Page(
        name="geometry",
        title=PLACES["geometry"].title,
        sentence=SENTENCE,
        teaser=PLACES["geometry"].help,
        words={
            "how": HOW,
            "in_one": IN_ONE,
            "jump_to": JUMP_TO,
            "jumps": JUMPS,
            "computed": computed(),
            "sections": sections,
        },
        data={
            "scene": scene(START, None, overlay=False),
            "jumps": [
                {
                    "position": {name: getattr(jump.a, name) for name in ("ratio", "angle", "length")},
                    "pair": scene(START, jump, overlay=False)["pair"],
                }
                for jump in JUMPS
            ],
        },
        charts=charts,
        components=("sandbox",),
    )
