"""How tests are dealt among processes: dear modules whole and evenly, pieces as long as xdist cuts them."""

from __future__ import annotations

from pathlib import Path

from dealing import JOURNEY, SECONDS, dealt, seconds_of

TESTS = Path(__file__).parents[1]


def pieces(modules: list[str], processes: int, seconds: dict[str, float]) -> list[list[str]]:
    """What each process gets, cut as xdist's ``worksteal`` does."""
    order = dealt(modules, processes, lambda module: seconds.get(module, 0))
    assert sorted(order) == list(range(len(modules)))
    cut = []
    for left in range(processes, 0, -1):
        count = len(order) // left
        cut.append([modules[place] for place in order[:count]])
        order = order[count:]
    return cut


def test_dear_modules_come_first_whole_and_evenly() -> None:
    modules = ["a"] * 2 + ["b"] * 3 + ["c"] + ["d"] + [f"cheap {n}" for n in range(10)]
    first, second = pieces(modules, 2, {"a": 9, "b": 5, "c": 6, "d": 2})
    assert first[:3] == ["a", "a", "d"] and second[:4] == ["c", "b", "b", "b"]
    assert {len(first), len(second)} == {8, 9}
    assert all(name.startswith("cheap") for name in first[3:] + second[4:])


def test_a_module_with_more_tests_than_a_process_takes_goes_on_in_the_next() -> None:
    assert pieces(["a"] * 5, 3, {"a": 1}) == [["a"], ["a", "a"], ["a", "a"]]
    assert pieces(["a"] * 4 + ["b"] * 2, 2, {"a": 1}) == [["a", "a", "a"], ["a", "b", "b"]]
    assert pieces(["a"], 3, {}) == [[], [], ["a"]] and pieces([], 3, {}) == [[], [], []]


def test_one_process_keeps_the_order_of_modules_that_are_not_dear() -> None:
    assert dealt(["b", "a", "b", "dear"], 1, {"dear": 1.0, "b": 0.0, "a": 0.0}.__getitem__) == [3, 0, 2, 1]


def test_the_list_names_modules_that_are_there() -> None:
    assert not [name for name in SECONDS if not (TESTS / name).is_file()]


def test_journeys_are_dear_also_where_nobody_measured_them() -> None:
    assert seconds_of("acceptance/test_browser_new.py") == JOURNEY
    assert seconds_of("acceptance/test_cli_dashboard.py") == seconds_of("unit/test_browser.py") == 0
    assert seconds_of("unit/cli/test_report.py") == SECONDS["unit/cli/test_report.py"]
