"""The first page in process: guess and answer, the tour, the status card, launching, and no samples at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from dashboard_tools import begin, button, charts, opened, sound, wait
from fake_worker import small_snapshot
from made_up_samples import write_index
from streamlit.testing.v1 import AppTest

from beft_core.runs.run import list_runs
from beft_core.scores.table import score_snapshot
from dashboard.shared import tour

pytestmark = pytest.mark.usefixtures("lab")


def words(at: AppTest) -> str:
    return " ".join([*(m.value for m in at.markdown), *(c.value for c in at.caption)])


def test_it_asks_before_it_tells() -> None:
    at = opened("start")
    assert [b.label for b in at.button if b.key.startswith("guess-")] == [
        "**$b_q$, the query**: what a word looks for",
        "**$b_k$, the key**: what a word answers to",
        "**$b_v$, the value**: what a word hands on",
    ]
    assert charts(at) == 1 and "your guess" not in words(at) and not at.error and not at.warning
    assert "0 of 6 steps" in words(at) and "demo tasks (4)" in words(at) and "none yet" in words(at)


@pytest.mark.parametrize(("guess", "verdict"), [("v", "Right: it is $b_v$"), ("q", "Not $b_q$: it is $b_v$")])
def test_a_guess_reveals_the_answer_and_completes_the_step(guess: str, verdict: str) -> None:
    at = opened("start")
    next(b for b in at.button if b.key == f"guess-{guess}").click().run()
    scores = score_snapshot(small_snapshot(0)).mean_scores("projection_ratio")
    (heading,) = [m.value for m in sound(at).markdown if m.value.startswith("####")]
    assert verdict in heading and f"{scores['v']:.3g}" in heading and f"{scores['q']:.3g}" in heading
    assert charts(at) == 2 and "softmax ignores" in words(at)
    assert at.query_params["guess"] in (guess, [guess]) and "guess" in str(at.query_params["tour"])
    assert "1 of 6 steps" in words(at) and tour.STEPS[0].learnt in words(at)


def test_a_link_restores_the_answer() -> None:
    at = opened("start", guess="k", tour="guess.cell.nonsense")
    assert "Not $b_k$" in words(at) and "2 of 6 steps" in words(at)
    assert "#### " not in words(opened("start", guess="<b>"))


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
    assert len(at.warning) == 1 and not at.exception
    assert "steps" in words(at) and "This machine" in words(at)


def test_fine_tunes_of_one_term_are_shown_beside_the_answer(tmp_path: Path) -> None:
    from dataclasses import replace

    from beft_core.snapshots.snapshot import Snapshot, write_snapshot

    whole = small_snapshot(0)
    for name, value, examples in (("q", 0.9, 300), ("v", 0.7, 300), ("v-more", 0.95, 900)):
        term = name[0]
        made = {"n_train": examples, "metrics": ({"epoch": 1, "accuracy": value},)}
        meta = replace(whole.meta, mode="terms", trained_terms=(term,), **made)
        pre = {key: whole.pre(*key) for key in whole.keys()}  # noqa: SIM118 - a method of Snapshot
        post = {key: whole.post(*key) if key[1] == term else pre[key] for key in pre}
        write_snapshot(tmp_path / "samples" / f"{name}.beft.safetensors", Snapshot.build(meta, pre, post))
    write_index(
        tmp_path / "samples", {"probe": "A probe", "q": "q only", "v": "v only", "v-more": "v only, on more data"}
    )
    at = opened("start", guess="v")
    assert charts(at) == 3
    assert "Alone, $b_q$ ended 0.2 ahead of it (1 seed each)" in words(at)
