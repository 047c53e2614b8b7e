"""Made-up dials, as the engine would measure them: layers that cost what is said of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from example_snapshots import base, example

from beft_core.dials import causal
from beft_core.dials.parts import ALL, LAMBDAS, Part, moved, turned
from beft_core.dials.result import Curve, Dial, Off
from beft_core.merging.config import content
from beft_core.snapshots.snapshot import Snapshot

RESAMPLES = 20


def example_dial(
    terms: tuple[str, ...] = ("v",),
    snapshot: Snapshot | None = None,
    *,
    trained: float = 0.71,
    costs: Sequence[float] = (0.02, 0.05, 0.2),
    noise: float = 0.004,
    metric: str = "spearman",
    better: float = 0.0,
) -> Dial:
    """A dial of a snapshot: its whole loses `0.3 (1 - λ)^2` less `better (λ - 1)`, layer i costs `costs[i]`."""
    snapshot = snapshot or example(pre=base(terms=terms), full=True)
    what = turned(snapshot)
    rng = np.random.default_rng(0)

    def cost(part: Part) -> float:
        of_layers = sum(costs) if part.layer is None else costs[part.layer % len(costs)]
        return of_layers / (1 if part.term is None else 1 + len(terms) - terms.index(part.term))

    def curve(part: Part) -> Curve:
        size = 0.3 if part == ALL else cost(part)
        values = [trained - size * (1 - x) ** 2 + better * (x - 1) for x in LAMBDAS]
        spread = [noise * abs(1 - x) for x in LAMBDAS]
        ends = [tuple(v - trained + sign * s for v, s in zip(values, spread, strict=True)) for sign in (-1, 1)]
        return Curve(part, tuple(values), *ends)

    parts = [part for part in (*what.whole, *what.cells) if part != ALL]
    losses = {part: cost(part) + noise * np.concatenate([[0], rng.normal(size=RESAMPLES)]) for part in parts}
    return Dial(
        source=content(snapshot),
        terms=tuple(moved(snapshot)),
        task=snapshot.meta.task,
        metric=metric,
        examples=1500,
        available=1500,
        data="made up",
        trained=trained,
        trained_low=trained - 0.02,
        trained_high=trained + 0.02,
        lambdas=LAMBDAS,
        curves=tuple(map(curve, what.whole)),
        off=tuple(Off(p, trained - cost(p), cost(p), cost(p) - noise, cost(p) + noise) for p in parts),
        tests=causal.tests(snapshot, what, losses),
        variants=12 * len(what.whole) + 1,
        resamples=RESAMPLES,
        seconds=12.5,
        device="cpu",
        versions={"beft-lab": "0.2.0"},
    )
