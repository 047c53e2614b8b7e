"""The page's transitions in process: sample, upload, broken upload, nothing at all, run launched, ended, failed."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
import pytest
from dashboard_tools import begin, button, charts, headings, opened, sound, wait
from example_snapshots import base, example
from fake_worker import small_snapshot
from hostile import hostile_snapshots
from made_up_samples import write_index
from streamlit.testing.v1 import AppTest

from beft_core.errors import UserError
from beft_core.execution import local
from beft_core.runs.run import list_runs
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from dashboard.app_pages.importance.verdict import label
from dashboard.figures.parts.numbers import short
from dashboard.figures.parts.style import name_in_text, tinted
from dashboard.shared.sources import accept
from dashboard.shared.text import plain

pytestmark = pytest.mark.usefixtures("lab")

CHARTS = 6
"""Three rankings and three heatmaps; the cell is drawn once somebody asks for it."""


def test_opens_on_the_default_sample_without_a_click() -> None:
    at = opened("importance")
    assert at.selectbox(key="snapshot").value == "A probe"
    assert headings(at)[0] == "#### ● Projection ratio: :orange[$b_v$]" and len(headings(at)) == 3
    assert charts(at) == CHARTS and not at.error and not at.warning
    assert "computed" not in " ".join(caption.value for caption in at.caption)  # no cell before one asks
    elements = [element.value for element in at.main if element.type in ("markdown", "caption")]
    assert elements[0].startswith("● **Projection ratio**")  # the answer is what one reads first


def test_a_score_that_few_probes_have_names_its_term_on_a_box_that_opens_on_demand(tmp_path: Path) -> None:
    probe = small_snapshot(0)
    layers = probe.pre("encoder", "q").shape[0]
    change = {("encoder", term): np.full(layers, size) for term, size in (("q", 0.9), ("k", 0.0), ("v", 0.2))}
    write_snapshot(tmp_path / "samples" / "probe.beft.safetensors", probe.with_output_change(change))
    at = opened("importance")
    (box,) = [one for one in at.expander if "Relative output change" in one.label]
    assert ":blue[$b_q$]" in box.label and charts(at) == CHARTS and len(headings(at)) == 3
    at = opened("importance", more_output="true")
    assert charts(at) == CHARTS + 2 and "Relative output change: :blue[$b_q$]" in headings(at)[3]


@pytest.mark.parametrize(
    ("reached", "said"),
    [
        (
            {"q": 0.787, "v": 0.779, "k": 0.638},
            "$b_q$ and $b_v$ are level within 2 points, and each of these scores named one of them.",
        ),
        ({"v": 0.61, "q": 0.19, "k": 0.07}, "{v} named the best, 42.0 ahead."),
        ({"q": 0.61, "v": 0.19, "k": 0.07}, "▲ **Fisher** named the best, 42.0 ahead."),
        ({"k": 0.61, "v": 0.19, "q": 0.07}, "no approach named the best, 42.0 ahead."),
        ({"v": 0.503, "q": 0.5, "k": 0.49}, "all are level within 2 points, so nobody is proved right."),
    ],
)
def test_the_verdict_says_who_named_whom_and_what_training_alone_gave(
    tmp_path: Path, reached: dict[str, float], said: str
) -> None:
    whole = small_snapshot(0)
    pre = {key: whole.pre(*key) for key in whole.keys()}  # noqa: SIM118 - a method of Snapshot
    for term, value in reached.items():
        trained = () if term == "k" else (term,)
        meta = replace(whole.meta, mode="terms", trained_terms=trained, metrics=({"epoch": 1, "accuracy": value},))
        write_snapshot(tmp_path / "samples" / f"{term}.beft.safetensors", Snapshot.build(meta, pre, pre))
    write_index(tmp_path / "samples", {"probe": "A probe", **{term: f"{term} only" for term in reached}})
    (words,) = [m.value for m in opened("importance").markdown if "Training alone" in m.value]
    named, measured = words.split(" **Training alone** gave ")
    selected = score_snapshot(whole).selected("encoder")
    for key in ("projection_ratio", "magnitude", "fisher"):
        (part,) = [part for part in named.split(";") if label(key) in part]
        assert tinted(str(selected[key])) in part
    order = sorted(reached, key=lambda term: -reached[term])
    assert measured.startswith(", ".join(f"{tinted(term)} **{100 * reached[term]:.1f}**" for term in order[:1]))
    assert all(f"{tinted(term)} **{100 * value:.1f}**" in measured for term, value in reached.items())
    assert "(accuracy, %, 1 seed each)" in measured
    assert [selected[key] for key in ("projection_ratio", "magnitude", "fisher")] == ["v", "v", "q"]
    both = "● **Projection ratio** and ■ **Magnitude**"
    assert said.format(v=both) in measured


def test_without_runs_of_each_term_alone_nobody_is_called_right() -> None:
    words = " ".join(m.value for m in opened("importance").markdown)
    assert "only training each of the three **alone** can tell" in words and "level" not in words


def test_a_link_restores_the_choice_and_the_variants() -> None:
    link = opened("importance", snapshot="Another probe", magnitude="mean", fisher="per batch", apart="true")
    assert link.selectbox(key="snapshot").value == "Another probe"
    assert "Magnitude (mean)" in headings(link)[1] and "Fisher (batches)" in headings(link)[2]
    said = " ".join(m.value for m in link.markdown)  # the cell's numbers are those of the variants too
    assert "**, Magnitude (mean)" in said and "**, Magnitude (L1)" not in said


def test_it_opens_on_the_strongest_layer_and_names_the_contest_from_the_highest_down() -> None:
    at = opened("importance", apart="true")
    scores = score_snapshot(small_snapshot(0))
    v = next(row for row in scores.terms if row.term == "v").scores["projection_ratio"]
    assert f"**$b_v$ in layer {int(np.argmax(v))}**" in [m.value for m in at.markdown]
    means = scores.mean_scores("projection_ratio")
    assert means["v"] > means["q"] > means["k"]
    told = ", ".join(f"$b_{term}$ {short(means[term])}" for term in "vqk")
    assert f"How far did it turn? {told}" in [caption.value for caption in at.caption]


def test_the_headline_has_the_metric_after_the_last_epoch(tmp_path: Path) -> None:
    metrics = ({"epoch": 1, "accuracy": 0.5}, {"epoch": 2, "accuracy": 0.75})
    write_snapshot(tmp_path / "samples" / "probe.beft.safetensors", example(pre=base(), metrics=metrics))
    at = opened("importance")
    assert any("validation accuracy 0.750" in caption.value for caption in at.caption)


def test_a_sample_that_was_replaced_shows_its_own_scores(tmp_path: Path) -> None:
    at = opened("importance")
    write_snapshot(tmp_path / "samples" / "probe.beft.safetensors", small_snapshot(7))
    at.run()
    means = score_snapshot(small_snapshot(7)).mean_scores("projection_ratio")
    assert means["v"] != score_snapshot(small_snapshot(0)).mean_scores("projection_ratio")["v"]
    assert any(f"$b_v$ {short(means['v'])}" in caption.value for caption in sound(at).caption)


def test_a_link_to_something_unknown_falls_back_to_the_sample() -> None:
    at = opened("importance", snapshot="Nothing", run="../../etc/passwd", magnitude="?", fisher="?")
    assert at.selectbox(key="snapshot").value == "A probe" and charts(at) == CHARTS


def test_a_good_upload_is_shown_at_once(tmp_path: Path) -> None:
    at = opened("importance")
    write_snapshot(tmp_path / "x", example(pre=base(), null_terms=("k",), full=True))
    name = "[link](http://x) $x$ <b>.beft.safetensors"
    at.file_uploader[0].upload(name, (tmp_path / "x").read_bytes()).run()
    assert sound(at).selectbox(key="snapshot").value == f"Upload: {name}"
    assert not at.error and any("is a null term and was trained" in c.value for c in at.caption)


def test_a_null_term_that_wins_is_called_noise(tmp_path: Path) -> None:
    noisy = example(pre=base(), null_terms=("k",))
    means = score_snapshot(noisy).mean_scores("magnitude")
    assert means["k"] == max(means.values())
    write_snapshot(tmp_path / "samples" / "probe.beft.safetensors", noisy)
    warnings = [
        m.value for m in opened("importance").markdown if "rounding noise" in m.value and m.value.startswith(":yellow")
    ]
    assert len(warnings) == 2 and all("cannot be selected" in warning for warning in warnings)
    assert not any("b_k" in heading for heading in headings(opened("importance")))


def test_every_hostile_upload_is_answered_with_one_line() -> None:
    for name, data in hostile_snapshots():
        with pytest.raises(UserError) as caught:
            accept(f"{name}.beft.safetensors", data)
        assert "\n" not in plain(caught.value), name


def test_hostile_uploads_lose_nothing_on_the_page() -> None:
    at = opened("importance", snapshot="Another probe")
    before = headings(at)
    for name, data in list(hostile_snapshots())[::25]:
        if at.file_uploader[0].value:
            at.file_uploader[0].set_value([])
        at.file_uploader[0].upload(f"{name}.beft.safetensors", data).run()
        assert len(sound(at).error) == 1, name
        assert at.selectbox(key="snapshot").value == "Another probe" and headings(at) == before, name


@pytest.mark.parametrize(
    "text", ["[x](http://x)", "![x](y)", "<b>x</b>", ":material/home: :red[x]", "$x$", "`x` **x** ~x~"]
)
def test_text_of_strangers_keeps_its_signs(text: str) -> None:
    escaped = plain(text + "\n\x1b[31m")
    assert "\n" not in escaped and "\x1b" not in escaped
    assert re.sub(r"\\(.)", r"\1", escaped).startswith(text)
    assert not re.search(r"(?<!\\)[\[\]<>$`*:!~(]", escaped)


def test_a_run_of_one_term_is_said_to_be_no_contest(tmp_path: Path) -> None:
    write_snapshot(
        tmp_path / "samples" / "probe.beft.safetensors",
        example(pre=base(), trained_terms=("v",), null_terms=("k",)),
    )
    at = opened("importance")
    assert "trained $b_v$ only" in at.info[0].value
    assert headings(at) == ["#### ● Projection ratio", "#### ■ Magnitude (L1)", "#### ▲ Fisher"]
    assert "name none of the three" in " ".join(m.value for m in at.markdown)
    assert sum("No contest: of $b_q$, $b_k$, $b_v$ only $b_v$ took part" in c.value for c in at.caption) == 2
    assert "Not measured" in next(c.value for c in at.caption if "depend" in c.value)
    assert captions_of_bars(at) == []  # nothing is selected, and this snapshot has no other terms


def test_a_run_of_no_candidate_selects_nothing(tmp_path: Path) -> None:
    pre = base()
    still = Snapshot.build(example(pre=pre, trained_terms=(), null_terms=("k",)).meta, pre, pre)
    write_snapshot(tmp_path / "samples" / "probe.beft.safetensors", still)
    at = opened("importance")
    assert headings(at) == ["#### ● Projection ratio", "#### ■ Magnitude (L1)", "#### ▲ Fisher"] and charts(at) == 3
    assert any("took part" in caption.value for caption in at.caption) and "nothing to score" in at.info[0].value
    assert captions_of_bars(at) == []
    at = opened("importance", view="Ranking by approach")
    assert any("here no approach selects one" in text.value for text in at.markdown)


def captions_of_bars(at: AppTest) -> list[str]:
    return [caption.value for caption in at.caption if "★" in caption.value or "Pale" in caption.value]


def test_a_probe_says_what_its_star_and_its_pale_bars_mean() -> None:
    at = opened("importance")
    said = "★ is the selected term. Pale bars are terms outside the contest, there for comparison."
    (caption,) = captions_of_bars(at)
    assert caption.startswith(f"{said} {name_in_text('q')} · ")  # and names the terms, of which figures have symbols
    at = opened("importance", view="Ranking by approach")
    assert any("★ the one that the approach selects" in text.value for text in at.markdown)


@pytest.mark.parametrize("damage", ["missing", "broken", "no entries"])
def test_without_samples_the_page_says_what_to_do(tmp_path: Path, damage: str) -> None:
    index = tmp_path / "samples" / "index.json"
    index.unlink() if damage == "missing" else index.write_text("{" if damage == "broken" else "{}")
    at = opened("importance")
    assert len(at.warning) == 1 and "Open a snapshot file" in at.info[0].value
    assert charts(at) == 0 and not button(at, "Run the one-minute experiment").disabled


def test_a_sample_that_was_damaged_leaves_the_rest_usable(tmp_path: Path) -> None:
    (tmp_path / "samples" / "probe.beft.safetensors").write_bytes(b"junk")
    at = opened("importance")
    assert len(at.error) == 1 and charts(at) == 0
    at.selectbox(key="snapshot").select("Another probe").run()
    assert not sound(at).error and charts(at) == CHARTS


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("{n_train: 5}", "not valid JSON"), ("[1]", "a JSON list"), ('"x"', "a JSON str"),
        ("[" * 100_000, "nested too deep"),
        ('{"n_trian": 5}', "n_trian"), ('{"n_train": "5"}', "n_train"), ('{"epochs": 0}', "--epochs 0"),
    ],
)  # fmt: skip
def test_a_wrong_setting_of_the_experiment_is_one_line(value: str, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_DEMO", value)
    at = opened("importance")
    button(at, "Run the one-minute experiment").click().run()
    assert list_runs() == []
    (error,) = sound(at).error
    said = error.value.replace("\\", "")
    assert "BEFT_DEMO in the environment" in said and words in said and "\n" not in said and len(said) < 1000


def test_launch_watch_and_show_the_result() -> None:
    at = opened("importance")
    button(at, "Run the one-minute experiment").click().run()
    (run,) = list_runs()
    kind, config = run.config()
    assert (kind, config["task"], config["n_train"]) == ("select", "demo-sentiment", 300)
    assert sound(at).query_params["run"] == run.id
    wait(lambda: not run.status().active)
    at.run()  # it was seen at work here: its snapshot is opened by itself, once
    assert "is done after" in " ".join(m.value for m in sound(at).markdown)
    assert all(b.label != "Show it" for b in at.button)
    assert sound(at).selectbox(key="snapshot").value == f"Run {run.id[-6:]}: probe on demo-sentiment"
    assert charts(at) == CHARTS and not at.error


def test_a_run_at_work_is_found_again_by_a_new_session_and_cancelled() -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    at = opened("importance")  # no ?run= in its URL
    assert button(at, "Run the one-minute experiment").disabled
    button(at, "Cancel").click().run()
    assert run.cancel_asked()
    wait(lambda: not run.status().active)
    at = opened("importance", run=run.id)
    assert "what was trained until then is kept" in at.info[0].value
    button(at, "Show what it had").click().run()
    assert run.id[-6:] in str(sound(at).selectbox(key="snapshot").value) and "run" not in at.query_params


@pytest.mark.parametrize(
    ("act", "words"), [("crash", "ZeroDivisionError"), ("memory", "Memory ran out"), ("wrong", "Try another model")]
)
def test_a_failed_run_is_told_in_words_until_dismissed(act: str, words: str) -> None:
    run = begin(act)
    wait(lambda: not run.status().active)
    at = opened("importance", run=run.id)
    assert words in at.error[0].value and charts(at) == CHARTS
    button(at, "Dismiss").click().run()
    assert not sound(at).error and "run" not in at.query_params


def test_a_killed_worker_is_told_and_can_be_resumed() -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    os.kill(run.recorded().process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    wait(lambda: not run.status().active)
    at = opened("importance", run=run.id)
    assert "vanished" in at.error[0].value
    assert all("Resume" not in b.label for b in at.button)
    run.checkpoint.write_bytes(b"")
    button(at.run(), "Resume from its checkpoint").click().run()
    assert not sound(at).error and run.status().active


def test_a_launch_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "worker_command", lambda run: [sys.executable, "-c", "raise SystemExit('no numpy')"])
    at = opened("importance")
    button(at, "Run the one-minute experiment").click().run()
    assert "no numpy" in sound(at).error[0].value and charts(at) == CHARTS


def test_a_clicked_cell_is_worked_out_below() -> None:
    at = opened("importance", apart="true")
    assert at.selectbox(key="layer").value == "strongest" and at.selectbox(key="term").value == "selected"
    snapshot = small_snapshot(0)
    a, b = (part("encoder", "o")[4].astype(float) for part in (snapshot.pre, snapshot.post))
    at.selectbox(key="layer").select(4)
    at.selectbox(key="term").select("o").run()
    said = " ".join(m.value for m in sound(at).markdown)
    ratio = 1 - a @ b / max(a @ a, b @ b)
    assert "in layer 4" in said and f"**{ratio:.3g}**, the projection ratio" in said
    assert f"**{abs(b - a).sum():.3g}**, Magnitude" in said
    # Ratio and Magnitude are the same both ways round: what tells before from after are the lengths.
    captions = " ".join(caption.value for caption in at.caption)
    before, after = np.linalg.norm(a), np.linalg.norm(b)
    assert abs(after / before - 1) > 0.02
    assert f"‖pre‖ = {short(before)}, ‖post‖ = {short(after)}" in captions
    assert f"made it {'longer' if after > before else 'shorter'}, × {short(after / before)}" in captions
    drawn = json.loads(next(c for c in at.get("plotly_chart") if '"after"' in c.proto.spec).proto.spec)
    tips = {note["name"]: np.hypot(note["x"], note["y"]) for note in drawn["layout"]["annotations"] if "ax" in note}
    assert tips["after"] / tips["before"] == pytest.approx(after / before)
    link = opened("importance", layer="4", term="o")
    assert "**$b_{\\mathrm{m1}}$ in layer 4**" in " ".join(m.value for m in link.markdown)


def test_a_cell_of_another_model_is_forgotten(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "samples" / "other.beft.safetensors", example(pre=base(), full=True))
    at = opened("importance", layer="5", term="ln2")
    at.selectbox(key="snapshot").select("Another probe").run()
    assert sound(at).selectbox(key="layer").value == "strongest" and at.selectbox(key="term").value == "selected"
    assert charts(at) == CHARTS + 1 and not at.error  # the link named a cell


def test_a_frozen_null_term_is_explained() -> None:
    at = opened("importance", term="k")
    assert any("It is null, so it was frozen" in caption.value for caption in at.caption)


def test_a_link_opens_the_tab(tmp_path: Path) -> None:
    at = opened("importance", view="Ranking by approach")
    assert charts(at) == 1 and "Where lines cross" in " ".join(m.value for m in at.markdown)
    at = opened("importance", view="Over data sizes", height="score", magnitude="mean")
    assert charts(at) == 1 and "300 (1 seed) training examples" in " ".join(m.value for m in at.markdown)
    assert at.segmented_control(key="height").value == "score"
    assert "Only one data size so far" in " ".join(c.value for c in at.caption)


def test_other_settings_are_left_out_of_the_data_sizes(tmp_path: Path) -> None:
    one, other = small_snapshot(0), small_snapshot(0)
    other.meta = replace(other.meta, n_train=900)
    write_snapshot(tmp_path / "samples" / "other.beft.safetensors", other)
    said = " ".join(m.value for m in opened("importance", view="Over data sizes").markdown)
    assert "300 (1 seed), 900 (1 seed)" in said
    other.meta = replace(one.meta, n_train=900, hyperparameters={"lr": 1.0})
    write_snapshot(tmp_path / "samples" / "other.beft.safetensors", other)
    at = opened("importance", view="Over data sizes")
    assert "300 (1 seed) training" in " ".join(m.value for m in at.markdown)
    assert "1 more of this task left out" in " ".join(c.value for c in at.caption)


def test_without_a_probe_the_data_sizes_say_what_to_do(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "samples" / "probe.beft.safetensors", example(pre=base(), trained_terms=("v",)))
    at = opened("importance", view="Over data sizes")
    assert charts(at) == 0 and "no all-bias probe" in at.info[0].value


def test_the_page_says_what_a_score_depends_on_besides_learning() -> None:
    at = opened("importance")
    words = " ".join(m.value for m in at.markdown).replace("\\", "")
    assert "A constant c added to $b_v$, with W_o c taken from the bias of the attention output" in words
    assert "even which term is selected" in words and "Depends on the scale in which values" in words


def test_links_to_other_pages_keep_tour_and_presenter() -> None:
    query: dict[str, str | list[str]] = {"tour": "guess.cell", "present": "true", "hide": ["choose", "details"]}
    at = opened("importance", layer="4", term="o", **query)
    (link,) = [one.proto for one in at.get("page_link") if one.proto.label == "Open in Geometry"]
    kept = parse_qs(link.query_string)
    assert kept == {
        "tour": ["guess.cell"],
        "present": ["true"],
        "hide": ["choose", "details"],
        "geo": ["Every layer"],
        "geo_snapshot": ["A probe"],
        "geo_layer": ["4"],
        "geo_term": ["o"],
    }
    at = opened("start", **query)
    steps = [parse_qs(one.proto.query_string) for one in at.get("page_link")]
    assert steps and all({name: step.get(name) for name in query} == {n: kept[n] for n in query} for step in steps)
    # Those of the tour say nothing else; those to stops of the deck name the stop and its state.
    assert all(step.keys() == query.keys() for step in steps if "stop" not in step)
    plain = opened("importance", apart="true").get("page_link")[0].proto
    assert set(parse_qs(plain.query_string)) == {"geo", "geo_snapshot", "geo_layer", "geo_term"}
