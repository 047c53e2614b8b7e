"""The page in process: sandbox by sliders and jumps, a layer by link, trajectories or none, odd snapshots."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from dashboard_tools import charts, opened, sound
from example_snapshots import base, example
from fake_worker import small_snapshot
from streamlit.testing.v1 import AppTest

from beft_core.scores.plane import Pair, trajectory
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Key, Snapshot, write_snapshot
from dashboard.app_pages.geometry import pairs, sandbox, training
from dashboard.app_pages.geometry.sandbox_jumps import JUMPS, Jump, Position
from dashboard.figures.parts.numbers import short

pytestmark = pytest.mark.usefixtures("lab")
LAYERS, TRAINING = "Every layer", "Through training"


def words(at: AppTest) -> str:
    return " ".join(element.value for element in (*at.markdown, *at.caption, *at.info))


def write_probe(folder: Path, snapshot: Snapshot) -> None:
    write_snapshot(folder / "samples" / "probe.beft.safetensors", snapshot)


def followed(layers: int = 6) -> Snapshot:
    """The made-up probe with four checkpoints of all terms but the frozen one."""
    probe = small_snapshot(layers=layers)
    pre, post = ({key: read(*key) for key in probe.keys()} for read in (probe.pre, probe.post))  # noqa: SIM118
    steps: dict[Key, np.ndarray] = {
        key: np.stack([pre[key] + t * (post[key] - pre[key]) for t in (0.25, 0.5, 0.75, 1)])
        for key in pre
        if key[1] != "k"
    }
    return Snapshot.build(probe.meta, pre, post, steps=steps, trajectory_step=np.array([10, 20, 30, 40]))


def told(at: AppTest) -> dict[str, Any]:
    """What the page tells the picture."""
    (picture,) = [one for one in at.get("bidi_component") if one.key == sandbox.KEY]
    return dict(json.loads(picture.proto.mixed.json if picture.proto.HasField("mixed") else picture.proto.json))


def test_opens_on_the_sandbox_without_a_snapshot_or_a_click() -> None:
    at = opened("geometry")
    assert told(at)["position"] == asdict(Position()) and len(told(at)["sliders"]) == 5
    assert not at.selectbox and charts(at) == 0 and "tour" not in at.query_params
    assert told(at)["overlay"] is False and told(opened("geometry", overlay="true"))["overlay"] is True


@pytest.mark.parametrize(
    ("query", "position"),
    [
        ({"r": "1.0", "angle": "-0.5"}, Position(ratio=1.0, angle=-0.5)),
        ({"r": "0", "len": "0.4", "grad": "0.35", "graddir": "180"}, Position(0.0, 50.0, 0.4, 0.35, 180.0)),
        ({"r": "nonsense", "angle": "1e99", "len": "nan", "grad": "", "jump": "?"}, Position()),
    ],
)
def test_links_restore_a_position(query: dict[str, str], position: Position) -> None:
    assert told(opened("geometry", **query))["position"] == asdict(position)


@pytest.mark.parametrize("jump", JUMPS, ids=lambda jump: jump.title)
def test_jumps_move_the_picture_and_tell_the_lesson(jump: Jump) -> None:
    at = opened("geometry", grad="0.9")
    at.button_group(key="jump").set_value(jump.title).run()
    assert told(sound(at))["position"] == asdict(replace(jump.a, gradient=0.9))
    assert jump.lesson in words(at)
    position = {**at.query_params}
    at = opened("geometry", **{key: value if isinstance(value, str) else value[0] for key, value in position.items()})
    assert told(at)["position"] == asdict(replace(jump.a, gradient=0.9))  # a link leads there too


def test_presenter_mode_can_hide_the_sliders() -> None:
    assert not told(opened("geometry", present="true", stop="off"))["hidden"]
    assert told(opened("geometry", present="true", stop="off", hide="settings"))["hidden"]
    assert told(opened("geometry", present="true"))["hidden"]  # a stop of the deck has the picture alone


def test_what_the_picture_sends_is_checked_before_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    good = {"ratio": 1.5, "angle": 9.0, "length": 1, "gradient": 0.5, "direction": 0, "seq": 3}
    for bad in (None, 3, {}, {**good, "ratio": "1"}, {**good, "angle": float("nan")}, {**good, "more": 1}):
        monkeypatch.setattr(sandbox.st, "session_state", {sandbox.KEY: {"moved": bad}})
        assert sandbox._sent() is None, bad
    state: dict[str, Any] = {sandbox.KEY: {"moved": {**good, "ratio": 99.0}}}
    monkeypatch.setattr(sandbox.st, "session_state", state)
    monkeypatch.setattr(sandbox.tour, "done", lambda key, moving: state.update(done=key))
    monkeypatch.setattr(sandbox.address, "put", state.__setitem__)
    sandbox._moved()
    assert (state["r"], state["angle"], state["grad"], state["done"]) == ("2", "9", None, "sandbox")


def test_a_link_to_a_layer_opens_it() -> None:
    at = opened("geometry", geo_layer="2", geo_term="q")
    assert at.query_params["geo"] in (LAYERS, [LAYERS])
    assert (at.selectbox(key="geo_layer").value, at.selectbox(key="geo_term").value) == (2, "q")
    probe = small_snapshot()
    pair = Pair.of(probe.pre("encoder", "q")[2], probe.post("encoder", "q")[2])
    assert f"Turned by **{pair.angle:.1f}°**" in words(at) and f"={short(pair.score)}$$" in words(at)
    assert charts(at) == 2


def test_without_a_link_the_strongest_layer_is_taken_apart() -> None:
    at = opened("geometry", geo=LAYERS)
    assert at.selectbox(key="geo_term").value == "v" and "1st of 6" in words(at)
    assert "null here and therefore frozen" in words(at)


def test_links_to_layers_that_are_not_there_fall_back() -> None:
    at = opened("geometry", geo=LAYERS, geo_layer="99", geo_term="../x", terms="zz", geo_snapshot="Nothing")
    assert at.selectbox(key="geo_term").value == "v" and charts(at) == 2


def test_a_click_on_a_point_chooses_it_and_nonsense_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = score_snapshot(small_snapshot()).terms
    for points in ([{"customdata": ["ln1", 3, "text"]}], [], [{}], [{"customdata": ["x", 1]}], [{"customdata": "q"}]):
        state = {"plane": {"selection": {"points": points}}, "geo_term": "q", "geo_layer": 0}
        monkeypatch.setattr(pairs.st, "session_state", state)
        pairs._clicked(rows)
        assert (state["geo_term"], state["geo_layer"]) == (("ln1", 3) if points and "text" in str(points) else ("q", 0))


def test_snapshots_with_zero_reversed_and_two_stacks(tmp_path: Path) -> None:
    ones = np.ones((3, 8), np.float32)
    pre = {("encoder", "q"): 0 * ones, ("encoder", "v"): ones, ("decoder", "v"): ones}
    post = {("encoder", "q"): ones, ("encoder", "v"): -ones, ("decoder", "v"): 0 * ones}
    write_probe(tmp_path, Snapshot.build(example(pre=pre).meta, pre, post))
    at = opened("geometry", geo_layer="1", geo_term="q")
    assert "length ratio is infinite" in words(at) and "3 layers are zero" in words(at) and "↺ reversed" in words(at)
    at.selectbox(key="geo_term").select("v").run()
    assert "reversed: more than 90°" in words(sound(at)) and "=2$$" in words(at)
    at = opened("geometry", geo=LAYERS, geo_stack="decoder")
    assert "made this bias **zero**" in words(at) and charts(at) == 2


def test_twenty_four_layers_of_eight_terms(tmp_path: Path) -> None:
    write_probe(tmp_path, followed(layers=24))
    assert "of 192**" in words(opened("geometry", geo_layer="23", geo_term="ln2", terms=["q", "ln2"]))
    assert "5 checkpoints" in words(opened("geometry", geo=TRAINING))


def test_a_trajectory_is_shown_and_frozen_terms_are_named(tmp_path: Path) -> None:
    write_probe(tmp_path, followed())
    at = opened("geometry", geo=TRAINING, step="25")
    assert "5 checkpoints, from before the fine-tune (step 0) to step 40" in words(at)
    assert "$b_k$: frozen or not followed" in words(at)
    at = opened("geometry", geo=TRAINING, terms="k")
    assert "Choose one of them above" in words(at)


@pytest.mark.parametrize(("named", "at"), [("", 4), ("0", 0), ("25", 2), ("40", 4), ("9999", 4), ("-3", 4), ("x", 4)])
def test_the_step_in_the_link(monkeypatch: pytest.MonkeyPatch, named: str, at: int) -> None:
    track = trajectory(followed(), "encoder")
    assert track is not None
    monkeypatch.setattr(training.st, "query_params", {"step": named})
    assert training._at(track) == at


def test_without_a_trajectory_the_page_says_how_to_get_one(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "samples" / "other.beft.safetensors", followed())
    at = opened("geometry", geo=TRAINING)
    assert "in between" in at.info[0].value
    (link,) = [b for b in at.button if b.label == "Another probe"]
    link.click().run()
    assert sound(at).selectbox(key="geo_snapshot").value == "Another probe" and "5 checkpoints" in words(at)


@pytest.mark.parametrize("tab", [LAYERS, TRAINING])
def test_without_samples_or_with_damaged_ones_the_page_says_what_to_do(tmp_path: Path, tab: str) -> None:
    (tmp_path / "samples" / "probe.beft.safetensors").write_bytes(b"junk")
    at = opened("geometry", geo=tab)
    assert len(at.error) == 1 and charts(at) == 0
    (tmp_path / "samples" / "index.json").unlink()
    at = opened("geometry", geo=tab)
    assert len(at.warning) == 1 and at.info and charts(at) == 0


def test_a_run_that_moved_nothing(tmp_path: Path) -> None:
    pre = base()
    write_probe(tmp_path, Snapshot.build(example(pre=pre, trained_terms=(), null_terms=("k",)).meta, pre, pre))
    at = opened("geometry", geo=LAYERS)
    assert "scores 0 in every layer" in words(at) and charts(at) == 2
