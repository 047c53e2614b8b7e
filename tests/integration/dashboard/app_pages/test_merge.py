"""The page Merge in process: empty, two samples, what does not fit, methods, an evaluation from launch to result."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dashboard_tools import button, charts, opened, sound, wait
from made_up_samples import write_index
from merge_samples import MORE, PAIR, fine_tune, write_pair

from beft_core.execution.start import launch
from beft_core.merging.config import MergeConfig
from beft_core.merging.merge import merge
from beft_core.merging.methods import METHODS, Method, Parameter
from beft_core.merging.plane import grid
from beft_core.merging.result import MergeResult, TaskScored, read_result
from beft_core.merging.shipped import NAME as SHIPPED
from beft_core.merging.shipped import Evaluated, write_evaluations
from beft_core.merging.similarity import compare
from beft_core.runs.run import Run, list_runs
from beft_core.snapshots.snapshot import read_snapshot, write_snapshot
from dashboard.app_pages.merge.method import file_of
from dashboard.shared.sources import run_title

pytestmark = pytest.mark.usefixtures("lab")
TITLES = list(PAIR.values())
EVALUATE = "Evaluate on all their tasks"


@pytest.fixture
def pair(lab: Path) -> None:
    write_pair(lab / "samples")


def words(at: Any) -> str:
    return " ".join(m.value for m in [*at.markdown, *at.caption])


def test_without_two_fine_tunes_the_page_says_what_to_do() -> None:
    at = opened("merge")
    assert "two or more fine-tunes" in at.info[0].value and charts(at) == 0
    assert all(b.label != EVALUATE for b in at.button)


@pytest.mark.usefixtures("pair")
def test_opens_on_the_two_demo_samples_without_a_click() -> None:
    at = opened("merge")
    assert at.multiselect(key="merge").value == TITLES and charts(at) == 4 and not at.error
    snapshots = [fine_tune("demo-sentiment", 1), fine_tune("demo-similarity", 2)]
    table = compare(snapshots)
    assert f"**{table.differences.angle_degrees[0, 1]:.0f}°**" in words(at)
    assert f"{100 * table.sign_conflicts[0, 1]:.0f} %" in words(at)
    merged = merge(snapshots, "mean")
    delta = [s.post("encoder", "v").astype(np.float64) - s.pre("encoder", "v") for s in [*snapshots, merged]]
    for one in delta[:2]:  # an independent look at what the page says is kept
        assert f"**{100 * (one * delta[2]).sum() / (one * one).sum():.0f} %**" in words(at)
    # 4 rows and 11 points, of which three are rows, on two tasks
    assert "**24 evaluations**" in words(at) and "tour" not in at.query_params


def scored_beforehand(**fields: Any) -> Evaluated:
    """An evaluation of the two samples, with a plane whose metrics fall from one corner on."""
    snapshots = [fine_tune("demo-sentiment", 1), fine_tune("demo-similarity", 2)]
    tasks = {one.meta.task: TaskScored("accuracy", 400, 400, "made up") for one in snapshots}
    first, second = tasks

    def scores(one: float, other: float) -> dict[str, dict[str, float | None]]:
        return {first: {"accuracy": one}, second: {"accuracy": other}}

    rows = {"base model": scores(0.5, 0.5), first: scores(0.9, 0.5), second: scores(0.5, 0.7)}
    rows["merged"] = scores(0.8, 0.55)
    plane = [(a, b, scores(0.5 + 0.3 * a, 0.4 + 0.2 * b)) for a, b in grid(7)]
    result = MergeResult(tasks, rows, [], 0.5, None, {}, 98, 1.0, "cpu", {}, plane)
    return Evaluated(MergeConfig.of(snapshots, TITLES, plane=7, **fields), result)


@pytest.mark.usefixtures("pair")
def test_an_evaluation_of_the_samples_is_the_first_thing_one_sees(lab: Path) -> None:
    write_evaluations(lab / "samples", [scored_beforehand()])
    at = opened("merge", plane_a="1.0", plane_b="0.0")
    said = words(at).replace("\\", "")
    assert "#### Average keeps 75 % of demo-sentiment and 25 % of demo-similarity" in said
    assert "gained over the base model" in said and "Fine-tuned on demo-sentiment" in said
    assert "takes **1.25 of demo-sentiment's change and 1.25 of demo-similarity's**" in said
    assert "At 1.00 and 0.00: **demo-sentiment 80.0 %**, **demo-similarity 40.0 %**" in said
    assert all(one.label != "Score the plane" for one in at.button) and not at.info
    at.multiselect(key="merge").set_value([TITLES[0], MORE["third"]]).run()  # of these there is none
    assert "not of what is chosen below" in sound(at).info[0].value
    (lab / "samples" / SHIPPED).write_text('{"evaluations": [{}]}')
    at = opened("merge")
    assert "entry 1" in at.error[0].value and charts(at) == 4


def test_an_evaluation_of_other_terms_is_not_that_of_the_choice(lab: Path) -> None:
    both = [fine_tune(task, seed, ("q", "v")) for seed, task in enumerate(("demo-sentiment", "demo-similarity"), 1)]
    for name, one in zip(PAIR, both, strict=True):
        write_snapshot(lab / "samples" / f"{name}.beft.safetensors", one)
    write_index(lab / "samples", PAIR)
    made = scored_beforehand()  # of b_v alone
    config = MergeConfig.of(both, TITLES, plane=7)
    for scored, others in ((("q", "v"), ["b_v"]), (("v",), ["b_q", "b_v"]), (None, ["b_v"])):
        write_evaluations(lab / "samples", [replace(made, config=replace(config, terms=scored))])
        merged = ["b_q", "b_v"] if scored != ("v",) else ["b_v"]
        at = opened("merge", merge_terms=merged, plane_a="1.0")
        assert "At 1.00 and 0.50: **demo-sentiment 80.0 %**" in words(at).replace("\\", "") and not at.info, scored
        at = opened("merge", merge_terms=others, plane_a="1.0")
        assert "not of what is chosen below" in at.info[0].value, scored
        assert all(f"${name}$" in at.info[0].value for name in merged)
        assert "At 1.00" not in words(at) and "Score the plane to see" in words(at), "that plane is of other terms"


@pytest.mark.usefixtures("pair")
def test_the_plane_is_scored_by_one_button() -> None:
    at = opened("merge", plane_a="0.75")
    assert at.slider(key="plane_a").value == 0.75 and "Score the plane to see" in words(at)
    button(at, "Score the plane").click().run()
    (run,) = list_runs()
    assert sound(at).query_params["merge_run"] == run.id
    assert MergeConfig.from_dict(run.config()[1]).plane == 7
    wait(lambda: not run.status().active)
    three = opened("merge", merge=[*TITLES, MORE["third"]])
    assert all(one.key != "plane_a" for one in three.slider)  # three fine-tunes have no plane


@pytest.mark.usefixtures("pair")
def test_what_does_not_fit_is_told_exactly_and_nothing_is_lost() -> None:
    at = opened("merge", merge=[TITLES[0], MORE["foreign"]])
    assert "different base models" in at.error[0].value and charts(at) == 0
    at.multiselect(key="merge").set_value([TITLES[0], MORE["q-only"]]).run()
    assert "different trained terms" in sound(at).error[0].value
    at.multiselect(key="merge").set_value(TITLES).run()
    assert not sound(at).error and charts(at) == 4


@pytest.mark.usefixtures("pair")
def test_of_probes_only_what_all_trained_is_merged() -> None:
    at = opened("merge", merge=[TITLES[1], MORE["probe-of-all"]])
    assert "Not all of them trained $b_q$" in words(at) and charts(at) == 4


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_has_its_controls_and_its_preview(name: str) -> None:
    at = opened("merge", merge_method=METHODS[name].label)
    assert METHODS[name].reference in words(at) and METHODS[name].remark in words(at).replace("\\", "")
    if METHODS[name].needs_fisher:
        said = at.error[0].value.replace("\\", "")
        assert "no Fisher information at the fine-tuned model" in said and charts(at) == 2
        assert "beft merge --method fisher, which measures it" in said
        return
    assert not at.error and charts(at) == 4
    keys = {w.key for kind in (at.slider, at.number_input, at.button_group) for w in kind}
    for parameter in METHODS[name].parameters:
        assert f"merge_{name}_{parameter.name}" in keys


@pytest.mark.usefixtures("pair")
def test_a_registered_method_has_its_widgets_and_merges_by_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def toy(deltas: np.ndarray, *, shares: list[float], tilt: float, reach: float, places: int) -> np.ndarray:
        return np.round(tilt * reach * (np.asarray(shares) @ deltas), places)

    parameters = (
        Parameter("shares", None, "how much of each", each="Share"),
        Parameter("tilt", 1.0, "by how much all is multiplied", high=9.0),
        Parameter("reach", 1.0, "without an upper end"),
        Parameter("places", 8, "decimal places", high=12),
    )
    monkeypatch.setitem(METHODS, "toy", Method("toy", "Toy", "tilt · Σ sₜ δₜ", "https://example.org", toy, parameters))
    at = opened("merge", merge_method="Toy", merge_toy_tilt="0.0")
    assert at.slider(key="merge_toy_tilt").value == 0 and at.slider(key="merge_toy_tilt").max == 9
    assert at.slider(key="merge_toy_shares").label.startswith("Share of ")
    assert at.number_input(key="merge_toy_places").value == 8
    assert "demo\\-sentiment: **0 %**" in words(at)
    at.slider(key="merge_toy_tilt").set_value(1.0)
    at.number_input(key="merge_toy_reach").set_value(1.0)
    at.slider(key="merge_toy_shares").set_value(1.0).run()
    assert "demo\\-sentiment: **100 %**" in words(sound(at))


@pytest.mark.usefixtures("pair")
def test_sliders_move_the_merge_stand_in_the_link_and_complete_the_tour() -> None:
    at = opened("merge")
    at.slider(key="merge_weighted_weights").set_value(1.0).run()
    assert "demo\\-sentiment: **100 %**" in words(sound(at)) and at.session_state["tour"] == ("merge",)
    link = opened("merge", merge_method="TIES", merge_ties_density="0.5", merge_of="sign conflicts")
    assert link.slider(key="merge_ties_density").value == 0.5
    assert "Sign conflicts" in words(link)


@pytest.mark.usefixtures("pair")
def test_three_fine_tunes_have_a_weight_each() -> None:
    at = opened("merge", merge=[*TITLES, MORE["third"]])
    for number in (1, 2, 3):
        at.slider(key=f"merge_weighted_weights_{number}").set_value(0.0)
    at.run()
    assert "not all zero" in sound(at).error[0].value
    at.slider(key="merge_weighted_weights_3").set_value(0.5).run()
    assert "demo\\-entailment: **100 %**" in words(sound(at))
    at.selectbox(key="merge_method").select("Spherical interpolation").run()
    assert "exactly 2" in sound(at).error[0].value


@pytest.mark.usefixtures("pair")
def test_evaluated_found_again_and_offered_later() -> None:
    at = opened("merge")
    at.slider(key="merge_weighted_weights").set_value(0.25).run()
    button(at, EVALUATE).click().run()
    (run,) = list_runs()
    assert sound(at).query_params["merge_run"] == run.id
    kind, fields = run.config()
    config = MergeConfig.from_dict(fields)
    assert kind == "merge" and config.settings == {"weights": [0.25, 0.75]} and config.limit == 200
    assert [read_snapshot(run.path / name).meta.task for name in config.files] == ["demo-sentiment", "demo-similarity"]
    wait(lambda: not run.status().active)
    assert run.status().state == "done", run.log_tail()

    at = opened("merge", merge_run=run.id)  # as after F5: the controls are at their defaults
    result = read_result(run.result)
    assert charts(at) == 5 and "Fine-tuned on demo\\-sentiment" in words(at)
    best = max(scores["demo-sentiment"]["accuracy"] or 0 for scores in result.rows.values())
    assert f"**{100 * best:.1f}**" in words(at) and "weights 0\\.25 \\: 0\\.75" in words(at)
    button(at, "Close this result").click().run()
    assert charts(sound(at)) == 4 and "merge_run" not in at.query_params
    earlier = at.selectbox(key="merge_earlier")
    earlier.select(earlier.options[0]).run()
    assert at.query_params["merge_run"] == run.id and charts(sound(at)) == 5
    at.multiselect(key="merge").set_value([TITLES[0], MORE["third"]]).run()
    assert "not of what is chosen below" in sound(at).info[0].value
    button(at, "Close this result").click().run()
    assert all(one.key != "merge_earlier" for one in sound(at).selectbox)  # of these there is none


def started(**fields: Any) -> Run:
    """A run of the two samples whose worker behaves as `act` says."""
    snapshots = [fine_tune("demo-sentiment", 1), fine_tune("demo-similarity", 2)]
    config = MergeConfig.of(snapshots, TITLES, device="cpu")

    class Played:
        def to_dict(self) -> dict[str, Any]:
            return config.to_dict() | fields

    return launch("merge", Played(), snapshots=dict(zip(config.files, snapshots, strict=True)))  # type: ignore[arg-type]


@pytest.mark.usefixtures("pair")
@pytest.mark.parametrize(("act", "said"), [("crash", "ZeroDivisionError"), ("memory", "Memory ran out")])
def test_a_failed_evaluation_is_told_until_dismissed(act: str, said: str) -> None:
    run = started(act=act)
    wait(lambda: not run.status().active)
    at = opened("merge", merge_run=run.id)
    assert said in at.error[0].value and charts(at) == 4
    button(at, "Dismiss").click().run()
    assert not sound(at).error and "merge_run" not in at.query_params


@pytest.mark.usefixtures("pair")
def test_an_evaluation_at_work_is_watched_and_cancelled_and_gone_on_with() -> None:
    run = started(pause=0.3)
    wait(lambda: run.status().stage == "evaluate")
    at = opened("merge", merge_run=run.id)
    assert at.get("progress") and button(at, EVALUATE).disabled
    button(at, "Cancel").click().run()
    wait(lambda: not run.status().active)
    at = opened("merge", merge_run=run.id)
    assert run.status().state == "cancelled" and at.info
    button(at, "Go on with it").click().run()
    assert not sound(at).error and run.status().active


@pytest.mark.usefixtures("pair")
def test_a_damaged_result_is_told() -> None:
    run = started()
    wait(lambda: not run.status().active)
    run.result.write_text(json.dumps({"rows": 1}))
    at = opened("merge", merge_run=run.id)
    assert "result\\.json" in at.error[0].value and charts(at) == 4


@pytest.mark.usefixtures("pair")
def test_a_locked_page_starts_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert button(opened("merge", present="true"), EVALUATE).disabled
    at = opened("merge")
    monkeypatch.setenv("BEFT_READ_ONLY", "1")
    button(at, EVALUATE).click().run()
    assert "read\\-only" in sound(at).error[0].value and not list_runs()


def test_a_run_of_another_kind_is_not_shown_here() -> None:
    run = Run.create("train", {"task": "sst2"})
    assert "merge_run" not in opened("merge", merge_run=run.id).query_params
    assert "merge_run" not in opened("merge", merge_run="../../x").query_params


def test_the_download_is_the_merge() -> None:
    merged = merge([fine_tune("demo-sentiment", 1), fine_tune("demo-similarity", 2)], "ties")
    again = read_snapshot(file_of(merged))
    np.testing.assert_array_equal(again.post("encoder", "v"), merged.post("encoder", "v"))
    assert set(again.meta.heads) == {"demo-sentiment", "demo-similarity"}


def test_heads_of_tables_are_scored_on_what_a_run_records_and_on_what_is_uploaded(lab: Path) -> None:
    """One fine-tune is a run of this machine, whose folder names its table; the other one came as a file."""
    films = lab / "films.csv"
    films.write_text("text,label\n" + "".join(f"film {i},{'yes' if i % 2 else 'no'}\n" for i in range(20)))
    fields = {
        "train_file": str(films),
        "text": "text",
        "label": "label",
        "name": "films",
        "mode": "terms",
        "terms": ["v"],
    }
    run = Run.create("train", fields)
    write_snapshot(run.snapshot, fine_tune("films", 1))
    run.write_status(replace(run.recorded(), state="done"))
    write_pair(lab / "samples")
    write_snapshot(lab / "samples" / "third.beft.safetensors", fine_tune("books", 2))

    at = opened("merge", merge=[run_title(run), MORE["third"]])
    assert "**books** will be left out" in words(at) and "**films** will be left out" not in words(at)
    (key,) = [str(box.key) for box in at.file_uploader if str(box.key).startswith("merge_own")]
    sound(at.file_uploader(key=key).upload("books.csv", b"text,label\na book,yes\nno book,no\nanother,maybe\n").run())
    assert "row 4: got the label 'maybe'" in " ".join(box.value for box in at.error).replace("\\", "")
    sound(at.file_uploader(key=key).upload("books.csv", b"text,label\na book,yes\nno book,no\n").run())
    assert not at.error and "2 rows to score" in words(at) and "will be left out" not in words(at)
    button(at, EVALUATE).click().run()
    config = MergeConfig.from_dict(next(one for one in list_runs() if one.kind.name == "merge").config()[1])
    (stored,) = (lab / "home" / "tables").iterdir()
    assert config.tables["films"]["train_file"] == str(films)
    assert config.tables["books"] == {"file": str(stored), "text": "text", "label": "label"}
