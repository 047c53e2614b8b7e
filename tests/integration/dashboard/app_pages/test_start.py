"""The first page in process: guess and answer, the tour, the status card, launching, and no samples at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from dashboard_tools import begin, button, charts, opened, sound, wait
from fake_worker import small_snapshot
from made_up_samples import write_index
from streamlit.testing.v1 import AppTest

from beft_core.runs.run import list_runs
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from beft_core.terms import TERMS
from dashboard.app_pages.start import flow
from dashboard.app_pages.start.cases import Case, cases
from dashboard.app_pages.start.scheme import MAX_LETTERS, MAX_TOKENS, scene
from dashboard.content.samples import metas, samples
from dashboard.content.samples import opened as opened_source
from dashboard.shared import tour

pytestmark = pytest.mark.usefixtures("lab")

PLAIN, LIMIT = {"q": 0.19, "k": 0.07, "v": 0.611}, {"q": 0.787, "k": 0.638, "v": 0.779}
"""Metrics of three fine-tunes alone: one task where the named term wins by far, one where another is better."""


@pytest.fixture
def answers(tmp_path: Path) -> None:
    """Samples that answer the question on two tasks; the one that bears the score out is not the first of the list."""
    whole = small_snapshot(0)
    pre = {key: whole.pre(*key) for key in whole.keys()}  # noqa: SIM118 - a method of Snapshot
    titles = {}
    for task, reached in (("sst2", LIMIT), ("stsb", PLAIN)):
        meta = replace(whole.meta, task=task)
        post = {key: whole.post(*key) for key in pre}
        write_snapshot(tmp_path / "samples" / f"{task}.beft.safetensors", Snapshot.build(meta, pre, post))
        titles[task] = f"{task}, all-bias probe"
        for term, value in (*reached.items(), ("v", 0.99)):
            name = f"{task}-{term}" if value < 0.99 else f"{task}-more"
            trained = () if term == "k" else (term,)
            alone = replace(
                meta, mode="terms", trained_terms=trained, metrics=({"epoch": 1, "accuracy": value},),
                n_train=900 if value == 0.99 else 300,
            )  # fmt: skip
            moved = {key: post[key] if key[1] in trained else pre[key] for key in pre}
            write_snapshot(tmp_path / "samples" / f"{name}.beft.safetensors", Snapshot.build(alone, pre, moved))
            titles[name] = name
    write_index(tmp_path / "samples", titles)


def words(at: AppTest) -> str:
    opened_by = [block.proto.popover.label for block in at.get("popover")]
    return " ".join([*(m.value for m in at.markdown), *(c.value for c in at.caption), *opened_by]).replace("\\", "")


def bars_of(at: AppTest) -> str:
    return next((one.proto.body for one in at.get("html") if "beft-bars" in one.proto.body), "")


def found() -> list[Case]:
    """The cases of the samples, as the lesson collects them too."""
    return cases(samples(), metas(samples()), opened_source)


def test_it_asks_before_it_tells(answers: None) -> None:
    at = opened("start")
    assert [b.label for b in at.button if b.key.startswith("guess-") and b.key != "guess-again"] == [
        "**query bias, $b_q$**: what a word looks for",
        "**key bias, $b_k$**: what a word answers to",
        "**value bias, $b_v$**: what a word hands on",
    ]
    assert "**STS-B: how similar" in words(at) and not bars_of(at) and "61.1" not in words(at)
    assert charts(at) == 0 and not at.error and not at.warning  # Plotly's 5 MB are not waited for
    assert at.button(key="next-case").disabled
    assert "0 of 6 steps" in words(at) and "demo tasks (4)" in words(at) and "none yet" in words(at)


@pytest.mark.parametrize(("guess", "verdict"), [("v", "Right: the "), ("q", "The ")])
def test_a_guess_is_answered_by_training_alone_in_its_place(answers: None, guess: str, verdict: str) -> None:
    at = opened("start")
    next(b for b in at.button if b.key == f"guess-{guess}").click().run()
    said = next(m.value for m in sound(at).markdown if m.value.startswith(verdict))
    assert f"{verdict}:orange[value bias, $b_v$], by far: **61.1 against 19.0 and 7.0**" in said
    scores = score_snapshot(small_snapshot(0)).mean_scores("projection_ratio")
    assert f"$b_v$ turned furthest ({scores['v']:.2g} against {scores['q']:.2g})" in said
    told = "; ".join(
        f"{name}: {value}{' (your guess)' if name.startswith(TERMS[guess].label) else ''}"
        for name, value in (("query bias, b_q", "19.0"), ("key bias, b_k", "7.0"), ("value bias, b_v", "61.1"))
    )
    assert f'aria-label="accuracy, trained alone. {told}"' in bars_of(at) and bars_of(at).count("your guess") == 2
    assert not [b for b in at.button if b.key.startswith("guess-") and b.key != "guess-again"]
    assert at.query_params["guess"] in (guess, [guess]) and "guess" in str(at.query_params["tour"])
    assert "1 of 6 steps" in words(at) and tour.STEPS[0].learnt in words(at)
    assert "is null in this model: it stays frozen" in words(at)


def test_the_second_case_shows_the_limits_of_the_score_and_leads_back(answers: None) -> None:
    at = opened("start", guess="v", tour="guess.cell.nonsense")
    assert "2 of 6 steps" in words(at)
    assert at.button(key="next-case").label == "And now SST\\-2"
    at.button(key="next-case").click().run()
    assert ":blue[query bias, $b_q$] is **as good** as $b_v$: **78.7 against 77.9 and 63.8**" in words(sound(at))
    assert "Yet the **score** names $b_v$ (" in words(at) and "how much it helps" in words(at)
    link = opened("start", guess="v", next="1")
    assert "78.7" in bars_of(link) and "78.7" in bars_of(at)
    assert at.button(key="next-case").label == "Back to STS\\-B"
    at.button(key="next-case").click().run()
    assert "61.1" in bars_of(sound(at))
    button(at, "Guess again").click().run()
    assert not bars_of(sound(at)) and "guess" not in at.query_params
    assert not bars_of(opened("start", guess="<b>"))


def test_a_wider_lead_comes_first_and_sizes_are_not_mixed(answers: None, tmp_path: Path) -> None:
    first, last = found()
    assert (first.probe.meta.task, last.probe.meta.task) == ("stsb", "sst2")
    assert first.lead == pytest.approx(0.611 - 0.19) and last.lead == pytest.approx(0.779 - 0.787)
    assert (first.best, last.best, last.named) == ("v", "q", "v")
    (tmp_path / "samples" / "stsb-k.beft.safetensors").unlink()
    assert [case.probe.meta.task for case in found()] == ["sst2"]  # without all three there is no contest
    assert [b.key for b in opened("start", guess="v").button if b.key == "next-case"] == []


def test_samples_that_do_not_answer_are_said_to() -> None:
    at = opened("start")
    assert "fine-tunes of each of the three biases alone" in at.info[0].value and not at.warning


@pytest.mark.parametrize("hostile", ["<img src=x onerror=alert(1)>", "${x} `y`", "", "\u202e\x00 !", "a" * 80])
def test_words_of_the_learner_are_data(answers: None, hostile: str) -> None:
    told = scene(hostile)
    assert json.loads(json.dumps(told)) == told and 0 < len(told["tokens"]) <= MAX_TOKENS
    assert all(0 < len(token) <= MAX_LETTERS and token.isprintable() for token in told["tokens"])
    assert told["tokens"][told["asking"]] == told["tokens"][-1] and len(told["steps"]) == 4
    code = (Path(flow.__file__).parent / "flow.js").read_text(encoding="utf-8")
    assert "innerHTML" not in code and "textContent" in code
    assert not opened("start", words=hostile).exception


def test_without_a_step_the_link_stays_as_it_was() -> None:
    assert opened("start", tour="nonsense").query_params["tour"] in ("nonsense", ["nonsense"])


def test_the_tour_ends() -> None:
    assert "All done" in words(opened("start", tour=".".join(step.key for step in tour.STEPS)))


def test_launching_goes_where_the_run_is_watched() -> None:
    at = opened("start", tour="guess")
    button(at, "Run the one-minute experiment").click().run()
    (run,) = list_runs()
    assert at.query_params["run"] in (run.id, [run.id]) and "guess" in str(at.query_params["tour"])
    assert not at.exception and not any("Which bias would you" in title.value for title in at.title)


def test_runs_are_counted_by_state() -> None:
    run = begin("train", steps=10_000)
    ended = begin("crash", device="other")
    wait(lambda: run.status().stage == "train" and not ended.status().active)
    assert "1 running, 1 failed" in words(opened("start")) or "1 failed, 1 running" in words(opened("start"))


@pytest.mark.parametrize("damage", ["missing", "empty", "broken"])
def test_without_samples_the_rest_still_stands(tmp_path: Path, damage: str) -> None:
    index = tmp_path / "samples" / "index.json"
    if damage == "empty":
        index.write_text('{"samples": []}')
    elif damage == "broken":
        (tmp_path / "samples" / "probe.beft.safetensors").write_bytes(b"junk")
    else:
        index.unlink()
    at = opened("start")
    assert (len(at.warning), len(at.info)) == ((1, 0) if damage == "missing" else (0, 1)) and not at.exception
    assert "steps" in words(at) and "This machine" in words(at)
