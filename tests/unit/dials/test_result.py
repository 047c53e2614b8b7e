"""Files of dials: written and read, bounded, and curves read between their points."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_dials import example_dial

from beft_core.dials.parts import ALL, Part, moved
from beft_core.dials.result import MAX_BYTES, SUFFIX, Dial, beside, read_dial
from beft_core.errors import UserError
from beft_core.merging.config import content
from beft_core.snapshots.snapshot import SUFFIX as SNAPSHOT
from beft_core.snapshots.snapshot import read_snapshot


@pytest.mark.parametrize("terms", [("v",), ("q", "k", "v")])
def test_what_is_written_is_read(terms: tuple[str, ...], tmp_path: Path) -> None:
    dial = example_dial(terms)
    dial.write(tmp_path / "a.dial.json")
    assert read_dial(tmp_path / "a.dial.json") == dial
    assert Dial.from_dict(json.loads(json.dumps(dial.to_dict()))) == dial


def test_a_curve_is_measured_at_its_points_and_a_line_between_them() -> None:
    dial = example_dial()
    whole = dial.curves[0]
    assert dial.at(whole, 1.0) == (dial.trained, True)
    at = dial.lambdas.index(1.0)
    value, measured = dial.at(whole, (1.0 + dial.lambdas[at + 1]) / 2)
    assert not measured and value == pytest.approx(np.mean([x for x in whole.values[at : at + 2] if x is not None]))
    assert dial.at(whole, 99.0) == (None, False)
    assert dial.curve(ALL) is whole and dial.curve(Part("o")) is None


def test_parts_switched_off_are_listed_by_kind() -> None:
    dial = example_dial(("q", "k", "v"))
    assert [one.part for one in dial.off_parts("terms")] == [Part("q"), Part("k"), Part("v")]
    assert [one.part for one in dial.off_parts("layers")] == [Part(layer=layer) for layer in range(3)]
    assert len(dial.off_parts("cells")) == 9
    assert dial.test("cells") is not None and dial.test("layers") is None


def _damages() -> dict[str, Any]:
    def set_at(*path: Any, value: Any) -> Any:
        def change(table: dict[str, Any]) -> None:
            place: Any = table
            for step in path[:-1]:
                place = place[step]
            place[path[-1]] = value

        return change

    return {
        "version": set_at("dial_version", value=2),
        "missing": lambda table: table.pop("curves"),
        "unknown": set_at("more", value=1),
        "text for a number": set_at("trained", value="0.7"),
        "short curve": lambda table: table["curves"][0]["values"].pop(),
        "no whole": lambda table: table["curves"].pop(0),
        "no curves": set_at("curves", value=[]),
        "unordered": lambda table: table["lambdas"].reverse(),
        "no 1": lambda table: table["lambdas"].__setitem__(table["lambdas"].index(1.0), 1.01),
        "unknown term": set_at("curves", 0, "part", "term", value="w"),
        "unknown rule": set_at("tests", 0, "rules", 0, "key", value="guess"),
        "no baseline": lambda table: table["tests"][0].update(rules=table["tests"][0]["rules"][:1]),
        "short scores": lambda table: table["tests"][0]["rules"][0]["scores"].pop(),
        "half a difference": lambda table: table["tests"][0]["rules"][0]["above"].pop(),
        "huge": set_at("trained", value=1e300),
    }


@pytest.mark.parametrize("damage", _damages())
def test_damaged_files_are_refused_in_one_line(damage: str) -> None:
    table = copy.deepcopy(example_dial().to_dict())
    _damages()[damage](table)
    with pytest.raises(UserError) as told:
        Dial.from_dict(table, "a.dial.json")
    assert str(told.value).startswith("a.dial.json") and "\n" not in str(told.value)


def test_a_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.dial.json"
    path.write_bytes(b" " * (MAX_BYTES + 1))
    with pytest.raises(UserError, match=r"large\.dial\.json"):
        read_dial(path)


SHIPPED = sorted((Path(__file__).parents[3] / "sample_snapshots").glob(f"*{SUFFIX}"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name.removesuffix(SUFFIX))
def test_shipped_dials_are_of_the_samples_beside_them(path: Path) -> None:
    snapshot = read_snapshot(path.with_name(path.name.replace(SUFFIX, SNAPSHOT)))
    dial = read_dial(path)
    assert beside(path.with_name(path.name.replace(SUFFIX, SNAPSHOT))) == path
    assert (dial.source, dial.task, dial.metric) == (content(snapshot), snapshot.meta.task, snapshot.meta.metric)
    assert dial.terms == tuple(moved(snapshot)) and dial.examples == dial.available
    # As the fine-tune was scored when it ended, on another device perhaps.
    assert dial.trained == pytest.approx(snapshot.meta.metrics[-1][dial.metric], abs=0.005)
