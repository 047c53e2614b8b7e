"""Result of a dial: the metric at every factor and without every part, with intervals, and the test of the scores.

It is a small JSON file, read with numpy's half alone and with bounds on everything in it: ``result.json`` of a run,
``*.dial.json`` beside a sample, or what ``beft dial --out`` wrote.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.dials.causal import BASELINES, CausalTest, Rule
from beft_core.dials.parts import ALL, FARTHEST, MAX_LAMBDAS, Part
from beft_core.errors import UserError
from beft_core.files.json_shape import Flag, ListOf, Maybe, Number, OneOf, Shape, Table, Text, check
from beft_core.files.safe_io import atomic_write, read_json_file
from beft_core.scores.approaches import APPROACHES
from beft_core.snapshots.snapshot import SUFFIX as SNAPSHOT
from beft_core.terms import TERM_KEYS

VERSION = 1
SUFFIX = ".dial.json"
"""Ending of the file of a dial that lies beside a snapshot."""
MAX_BYTES = 8 * 2**20
MAX_PARTS = 4096


@dataclass(frozen=True)
class Curve:
    """Metric of one part turned through every factor; None where the outputs were not finite."""

    part: Part
    values: tuple[float | None, ...]
    low: tuple[float | None, ...]
    """Lower end of the 95 % interval of the difference to the metric as trained, at every factor: over resampled
    examples, the same for both."""
    high: tuple[float | None, ...]


@dataclass(frozen=True)
class Off:
    """Loss of the metric when a part is switched off; None where the outputs were not finite."""

    part: Part
    value: float | None
    """Metric without the part's change."""
    loss: float | None
    """Metric as trained less the metric without the part: positive where the part helps."""
    low: float | None
    """Lower end of the 95 % interval of the loss, over resampled examples."""
    high: float | None


@dataclass(frozen=True)
class Dial:
    """Result of a dial."""

    source: str
    """Hash of the snapshot, :func:`beft_core.merging.config.content`."""
    terms: tuple[str, ...]
    """Terms that the fine-tune moved, in canonical order."""
    task: str
    metric: str
    """Name of the metric, as an evaluation calls it."""
    examples: int
    """Number of validation examples that were scored."""
    available: int
    """Number of validation examples that the task has."""
    data: str
    """Origin of the examples, in words."""
    trained: float
    """Metric as trained, at factor 1."""
    trained_low: float | None
    """Lower end of the 95 % interval of that over resampled examples."""
    trained_high: float | None
    lambdas: tuple[float, ...]
    """Factors, ascending; 0 and 1 are among them."""
    curves: tuple[Curve, ...]
    """Curves of the parts; the first is that of the whole."""
    off: tuple[Off, ...]
    """Parts switched off one at a time: layers, terms, and terms in each layer."""
    tests: tuple[CausalTest, ...]
    variants: int
    """Number of different sets of biases that were scored."""
    resamples: int
    seconds: float
    device: str
    versions: dict[str, str]

    @property
    def sole_term(self) -> str | None:
        """Only term that moved; None where several did, or none."""
        return self.terms[0] if len(self.terms) == 1 else None

    def curve(self, part: Part) -> Curve | None:
        """Find the curve of a part."""
        return next((curve for curve in self.curves if curve.part == part), None)

    def off_parts(self, over: str) -> tuple[Off, ...]:
        """List what was switched off of one kind: ``layers``, ``terms`` or ``cells``."""
        kind = {"layers": (True, False), "terms": (False, True), "cells": (False, False)}[over]
        return tuple(one for one in self.off if (one.part.term is None, one.part.layer is None) == kind)

    def test(self, over: str) -> CausalTest | None:
        """Find the test of the scores on one kind of parts."""
        return next((test for test in self.tests if test.over == over), None)

    def at(self, curve: Curve, factor: float) -> tuple[float | None, bool]:
        """Read a curve: its value, and whether it was measured there or lies on the line between its neighbours.

        None beside a value that is not finite, and outside of the factors.
        """
        for place, measured in enumerate(self.lambdas):
            if abs(measured - factor) < 1e-9:
                return curve.values[place], True
        after = int(np.searchsorted(self.lambdas, factor))
        if not 0 < after < len(self.lambdas):
            return None, False
        (x0, x1), (y0, y1) = self.lambdas[after - 1 : after + 1], curve.values[after - 1 : after + 1]
        if y0 is None or y1 is None:
            return None, False
        return y0 + (y1 - y0) * (factor - x0) / (x1 - x0), False

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name."""
        return {"dial_version": VERSION, **json.loads(json.dumps(dataclasses.asdict(self), allow_nan=False))}

    def write(self, path: Path) -> None:
        """Write the file, whole or not at all. Raises UserError where it cannot be written."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        atomic_write(path, [text.encode(), b"\n"])

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], what: str = "the dial") -> Dial:
        """Read the record of :meth:`to_dict`. Raises UserError for anything that it would not write."""
        version = values.get("dial_version")
        if version != VERSION:
            raise UserError(
                f"{what} has the version {str(version)[:20]}", f"a dial of version {VERSION}", "turning the dial again"
            )
        check(dict(values), _SHAPE, what)
        lambdas = tuple(map(float, values["lambdas"]))
        curves = tuple(
            Curve(Part(**one["part"]), *(tuple(one[name]) for name in ("values", "low", "high")))
            for one in values["curves"]
        )
        made = {
            **{name: value for name, value in values.items() if name != "dial_version"},
            "lambdas": lambdas,
            "terms": tuple(values["terms"]),
            "curves": curves,
            "off": tuple(Off(**{**one, "part": Part(**one["part"])}) for one in values["off"]),
            "tests": tuple(map(_read_test, values["tests"])),
        }
        if list(lambdas) != sorted(set(lambdas)) or not {0.0, 1.0} <= set(lambdas):
            raise UserError(f"{what}: lambdas", "ascending numbers with 0 and 1 among them")
        if not curves or curves[0].part != ALL:
            raise UserError(f"{what}: curves", "that of the whole first")
        for curve in curves:
            if any(len(column) != len(lambdas) for column in (curve.values, curve.low, curve.high)):
                raise UserError(f"{what}: the curve of {curve.part.name}", f"{len(lambdas)} values, one for each λ")
        for test in made["tests"]:
            if any(len(column) != len(test.parts) for column in (test.losses, *(r.scores for r in test.rules))):
                raise UserError(f"{what}: the test over {test.over}", f"{len(test.parts)} scores, one for each part")
            if not any(rule.baseline for rule in test.rules):
                raise UserError(f"{what}: the test over {test.over}", "a trivial rule beside the scores")
            if any(len(rule.above or "abc") != 3 for rule in test.rules):
                raise UserError(
                    f"{what}: the test over {test.over}", "a difference of tau with both ends of its interval"
                )
        return cls(**made)


def read_dial(path: Path) -> Dial:
    """Read the file of a dial. Raises UserError where it is missing, too large or damaged."""
    return Dial.from_dict(read_json_file(path, MAX_BYTES), path.name)


def beside(snapshot: Path) -> Path:
    """Path of the dial that lies beside the file of a snapshot."""
    return snapshot.with_name(snapshot.name.removesuffix(SNAPSHOT) + SUFFIX)


def _read_test(values: Mapping[str, Any]) -> CausalTest:
    rules = (
        Rule(
            **{
                **rule,
                "scores": tuple(rule["scores"]),
                "above": None if rule["above"] is None else tuple(rule["above"]),
            }
        )
        for rule in values["rules"]
    )
    parts = tuple(Part(**part) for part in values["parts"])
    return CausalTest(values["over"], parts, tuple(values["losses"]), tuple(rules))


def _tables(fields: Mapping[str, Shape], most: int = MAX_PARTS) -> ListOf:
    return ListOf(Table(fields), most)


_NUMBER = Maybe(Number())
_NUMBERS = ListOf(_NUMBER, MAX_LAMBDAS)
_PART = Table({"term": Maybe(OneOf(TERM_KEYS)), "layer": Maybe(Number(0, 4096, whole=True))})
_SCORES = ListOf(Number(), MAX_PARTS)
_RULE: dict[str, Shape] = {
    "key": OneOf((*APPROACHES, *BASELINES)),
    "label": Text(),
    "baseline": Flag(),
    "scores": _SCORES,
    "tau": _NUMBER,
    "low": _NUMBER,
    "high": _NUMBER,
    "p": Maybe(Number(0, 1)),
    "above": Maybe(ListOf(Number(), 3)),
}
_TEST: dict[str, Shape] = {
    "over": OneOf(("layers", "terms", "cells")),
    "parts": ListOf(_PART, MAX_PARTS),
    "losses": _SCORES,
    "rules": _tables(_RULE, len(APPROACHES) + len(BASELINES)),
}
_SHAPE = Table(
    {
        "dial_version": Number(VERSION, VERSION, whole=True),
        "source": Text(64),
        "terms": ListOf(OneOf(TERM_KEYS), len(TERM_KEYS)),
        "task": Text(),
        "metric": Text(),
        "examples": Number(1, 1e9, whole=True),
        "available": Number(1, 1e9, whole=True),
        "data": Text(1000),
        "trained": Number(),
        "trained_low": _NUMBER,
        "trained_high": _NUMBER,
        "lambdas": ListOf(Number(-FARTHEST, FARTHEST), MAX_LAMBDAS),
        "curves": _tables({"part": _PART, "values": _NUMBERS, "low": _NUMBERS, "high": _NUMBERS}),
        "off": _tables({"part": _PART, "value": _NUMBER, "loss": _NUMBER, "low": _NUMBER, "high": _NUMBER}),
        "tests": _tables(_TEST, 3),
        "variants": Number(1, 1e6, whole=True),
        "resamples": Number(0, 1e6, whole=True),
        "seconds": Number(0),
        "device": Text(),
        "versions": Table(others=Text()),
    }
)
