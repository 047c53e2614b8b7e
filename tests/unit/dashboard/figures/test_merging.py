"""Figures of the page Merge hold the numbers that they are given."""

from __future__ import annotations

import numpy as np
import pytest
from example_snapshots import LAYERS, example

from beft_core.merging.merge import merge
from beft_core.merging.preview import preview
from beft_core.merging.result import MergeResult, TaskScored
from beft_core.merging.similarity import compare
from beft_core.snapshots.snapshot import Snapshot
from dashboard.figures import merging
from dashboard.figures.parts import style

KEY = ("encoder", "v")


def fine_tunes(count: int = 2) -> list[Snapshot]:
    return [example(seed, trained_terms=("q", "v")) for seed in range(1, count + 1)]


def change(snapshot: Snapshot, key: tuple[str, str] = KEY) -> np.ndarray:
    return snapshot.post(*key).astype(np.float64) - snapshot.pre(*key)


def test_the_preview_is_what_vectors_say() -> None:
    sources = fine_tunes(3)
    merged = merge(sources, "task_arithmetic", scale=0.7)
    found = preview(sources, merged)
    both = [np.concatenate([change(s, ("encoder", t)).ravel() for t in ("q", "v")]) for s in [*sources, merged]]
    for at, one in enumerate(both[:-1]):
        assert found.cosine[at] == pytest.approx(one @ both[-1] / np.linalg.norm(one) / np.linalg.norm(both[-1]))
        assert found.kept[at] == pytest.approx(one @ both[-1] / (one @ one))
    for row, snapshot in zip(found.lengths[KEY], [*sources, merged], strict=True):
        np.testing.assert_allclose(row, [np.sqrt((layer**2).sum()) for layer in change(snapshot)])


def test_a_merge_with_itself_keeps_everything_and_nothing_moved_keeps_nothing() -> None:
    one = fine_tunes(1)[0]
    assert preview([one, one], merge([one, one])).kept == pytest.approx([1, 1])
    still = example(1, size=0.0)
    np.testing.assert_array_equal(preview([still, still], merge([still, still])).kept, [0, 0])


def test_angle_matrix() -> None:
    table = compare(fine_tunes(3))
    trace = merging.angle_matrix(table.labels, table.differences.angle_degrees).data[0]
    assert [row[at] for at, row in enumerate(trace.z)] == [None] * 3
    assert trace.z[0][2] == pytest.approx(table.differences.angle_degrees[0, 2])
    assert trace.text[0][2] == f"{table.differences.angle_degrees[0, 2]:.1f}°" and (trace.zmin, trace.zmax) == (0, 180)
    signs = merging.angle_matrix(table.labels, table.sign_conflicts, percent=True).data[0]
    assert signs.text[1][0] == f"{100 * table.sign_conflicts[1, 0]:.0f} %" and signs.zmax == 1


def test_layer_lines_have_the_colours_of_their_terms() -> None:
    table = compare(fine_tunes())
    lines = {key: values[:, 0, 1] for key, values in table.differences.angle_degrees_per_layer.items()}
    figure = merging.layer_lines(lines, dark=True)
    assert [t.line.color for t in figure.data] == [style.TERM_COLOURS["q"], style.TERM_COLOURS["v"]]
    np.testing.assert_allclose(figure.data[1].y, lines[KEY])
    assert figure.layout.yaxis.range[1] > max(90, max(figure.data[0].y))


def test_shares_by_layer_are_in_percent_beside_the_half_of_unrelated_ones() -> None:
    figure = merging.layer_lines({KEY: np.array([0.25, 0.5, 0.75])}, percent=True)
    assert list(figure.data[0].y) == [25, 50, 75] and figure.layout.yaxis.ticksuffix == " %"
    (line,) = figure.layout.shapes
    assert line.y0 == line.y1 == 50 and figure.layout.annotations[0].text == "unrelated: 50 %"


def test_previews() -> None:
    sources = fine_tunes()
    found = preview(sources, merge(sources))
    figure = merging.preview_lengths(["a", "b"], found, KEY)
    assert [t.name for t in figure.data] == ["a", "b", "<b>merged</b>"] and len(figure.data[0].x) == LAYERS
    np.testing.assert_allclose(figure.data[2].y, found.lengths[KEY][-1])
    bars = merging.preview_cosines(["a", "b"], found, "#000000").data[0]
    np.testing.assert_allclose(bars.x, found.cosine)
    angle = np.degrees(np.arccos(found.cosine[0]))
    assert bars.text[0] == f" {found.cosine[0]:.2f} ({angle:.0f}°)"


def result(tasks: int = 2) -> MergeResult:
    names = [f"task{n}" for n in range(tasks)]

    def row(value: float | None) -> dict[str, dict[str, float | None]]:
        return {name: {"accuracy": value} for name in names}

    return MergeResult(
        tasks={name: TaskScored("accuracy", 10, 10, "made up") for name in names},
        rows={"base model": row(0.5), "a": row(0.9), "b": row(0.6), "merged": row(0.8)},
        line=[(0.0, row(0.6)), (0.4, row(0.8)), (0.7, row(None)), (1.0, row(0.9))],
        position=0.4,
        parameter="weight of the first",
        left_out={},
        evaluations=12,
        seconds=1.0,
        device="cpu",
        versions={},
    )


@pytest.mark.parametrize("tasks", [1, 2, 4])
def test_the_line_marks_the_merge_and_the_levels_of_its_sources(tasks: int) -> None:
    figure = merging.along_the_line(result(tasks), ["a", "b"], "#123456")
    curves = [t for t in figure.data if t.name == "merged"]
    assert len(curves) == tasks and list(curves[0].y) == [60.0, 80.0, None, 90.0]
    current = next(t for t in figure.data if t.name == "current")
    assert (list(current.x), list(current.y)) == ([0.4], [80.0])
    levels = {t.name: (t.y[0], t.line.dash) for t in figure.data if t.name in ("base model", "a", "b")}
    assert levels == {"base model": (50.0, "dot"), "a": (90.0, "dash"), "b": (60.0, "dash")}
    assert figure.layout.height > (merging.PANEL if tasks <= 3 else 2 * merging.PANEL)


def test_names_of_strangers_bring_no_tags() -> None:
    label = '<a href="http://x">x</a>' + "y" * 99
    table = compare(fine_tunes())
    text = str(merging.angle_matrix([label, "b"], table.differences.angle_degrees).to_dict())
    assert "<a" not in text and "y" * 60 not in text


def test_bands_run_over_the_whole_scale() -> None:
    colours = merging.band_colours(3)
    assert len(colours) == len(set(colours)) == 3 and all(colour.startswith("rgb(") for colour in colours)
