"""The page's transitions in process: sample, upload, broken upload, nothing at all, run launched, ended, failed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from example_snapshots import base, example
from hostile import hostile_snapshots
from made_up_samples import write_samples
from streamlit.testing.v1 import AppTest

from beft_core.errors import UserError
from beft_core.runs import cancel as cancel_module
from beft_core.runs import launch
from beft_core.runs.directory import Run, list_runs
from beft_core.scores import score_snapshot
from beft_core.snapshot import Snapshot, write_snapshot
from dashboard.components.sources import open_bytes
from dashboard.components.text import plain

ROOT = Path(__file__).parents[2]
FAKE = ROOT / "tests" / "fake_worker.py"


@pytest.fixture(autouse=True)
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home of its own, made-up samples and played workers."""
    write_samples(tmp_path / "samples")
    monkeypatch.setenv("BEFT_SAMPLES_DIR", str(tmp_path / "samples"))
    monkeypatch.setenv("BEFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(launch, "worker_command", lambda run: [sys.executable, str(FAKE), str(run.path)])
    monkeypatch.setattr(cancel_module, "TERMINATE_AFTER", 0.4)
    yield tmp_path
    for run in list_runs(tmp_path / "home"):
        process = run.recorded().process
        if process is not None and (found := process.find()) is not None:
            found.kill()


def app() -> AppTest:
    return AppTest.from_file(str(ROOT / "dashboard" / "app.py"), default_timeout=30)


def opened(**query: str) -> AppTest:
    at = app()
    for name, value in query.items():
        at.query_params[name] = value
    return sound(at.run())


def sound(at: AppTest) -> AppTest:
    assert not at.exception, at.exception
    return at


def headings(at: AppTest) -> list[str]:
    return [m.value for m in at.markdown if m.value.startswith("####")]


def charts(at: AppTest) -> int:
    return len(at.get("plotly_chart"))


def button(at: AppTest, label: str) -> Any:
    return next(b for b in at.button if b.label == label)


def wait(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def begin(act: str, **config: Any) -> Run:
    run = Run.create("select", {"act": act, "task": "demo-sentiment", "device": "cpu", **config})
    launch.start(run)
    return run


def test_opens_on_the_default_sample_without_a_click() -> None:
    at = opened()
    assert at.selectbox(key="snapshot").value == "A probe"
    assert headings(at)[0] == "#### Projection ratio: $b_v$" and len(headings(at)) == 3
    assert charts(at) == 4 and not at.error and not at.warning
    assert any("A probe to look at" in caption.value for caption in at.caption)


def test_a_link_restores_the_choice_and_the_variants() -> None:
    link = opened(snapshot="Another probe", magnitude="mean", fisher="per batch")
    assert link.selectbox(key="snapshot").value == "Another probe"
    assert "Magnitude (mean)" in headings(link)[1] and "Fisher (batches)" in headings(link)[2]


def test_a_link_to_something_unknown_falls_back_to_the_sample() -> None:
    at = opened(snapshot="Nothing", run="../../etc/passwd", magnitude="?", fisher="?")
    assert at.selectbox(key="snapshot").value == "A probe" and charts(at) == 4


def test_a_good_upload_is_shown_at_once(tmp_path: Path) -> None:
    at = opened()
    write_snapshot(tmp_path / "x", example(pre=base(), null_terms=("k",), full=True))
    name = "[link](http://x) $x$ <b>.beft.safetensors"
    at.file_uploader[0].upload(name, (tmp_path / "x").read_bytes()).run()
    assert sound(at).selectbox(key="snapshot").value == f"Upload: {name}"
    assert not at.error and any("is a null term and was trained" in c.value for c in at.caption)


def test_a_null_term_that_wins_is_called_noise(tmp_path: Path) -> None:
    noisy = example(pre=base(), null_terms=("k",))
    assert {"k"} == set(score_snapshot(noisy).selected().values())
    write_snapshot(tmp_path / "samples" / "probe.beft.safetensors", noisy)
    warnings = [m.value for m in opened().markdown if "rounding noise" in m.value and m.value.startswith(":orange")]
    assert len(warnings) == 2


def test_every_hostile_upload_is_answered_with_one_line() -> None:
    for name, data in hostile_snapshots():
        with pytest.raises(UserError) as caught:
            open_bytes(f"{name}.beft.safetensors", data)
        assert "\n" not in plain(caught.value), name


def test_hostile_uploads_lose_nothing_on_the_page() -> None:
    at = opened(snapshot="Another probe")
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
    at = opened()
    assert "trained $b_v$ only" in at.info[0].value
    assert "Not measured" in next(c.value for c in at.caption if "depend" in c.value)


def test_a_run_of_no_candidate_selects_nothing(tmp_path: Path) -> None:
    pre = base()
    still = Snapshot.build(example(pre=pre, trained_terms=(), null_terms=("k",)).meta, pre, pre)
    write_snapshot(tmp_path / "samples" / "probe.beft.safetensors", still)
    at = opened()
    assert headings(at) == ["#### Projection ratio", "#### Magnitude (L1)", "#### Fisher"] and charts(at) == 1
    assert "took part" in at.caption[1].value and "nothing to score" in at.info[0].value


@pytest.mark.parametrize("damage", ["missing", "broken", "no entries"])
def test_without_samples_the_page_says_what_to_do(tmp_path: Path, damage: str) -> None:
    index = tmp_path / "samples" / "index.json"
    index.unlink() if damage == "missing" else index.write_text("{" if damage == "broken" else "{}")
    at = opened()
    assert len(at.warning) == 1 and "Open a snapshot file" in at.info[0].value
    assert charts(at) == 0 and not button(at, "Run the one-minute experiment").disabled


def test_a_sample_that_was_damaged_leaves_the_rest_usable(tmp_path: Path) -> None:
    (tmp_path / "samples" / "probe.beft.safetensors").write_bytes(b"junk")
    at = opened()
    assert len(at.error) == 1 and charts(at) == 0
    at.selectbox(key="snapshot").select("Another probe").run()
    assert not sound(at).error and charts(at) == 4


def test_launch_watch_and_show_the_result() -> None:
    at = opened()
    button(at, "Run the one-minute experiment").click().run()
    (run,) = list_runs()
    kind, config = run.config()
    assert (kind, config["task"], config["n_train"]) == ("select", "demo-sentiment", 300)
    assert sound(at).query_params["run"] == run.id
    wait(lambda: not run.status().active)
    at.run()
    at.run()
    assert "is done after" in " ".join(m.value for m in sound(at).markdown)
    button(at, "Show it").click().run()
    assert sound(at).selectbox(key="snapshot").value == f"Run {run.id[-6:]}: select on demo-sentiment"
    assert charts(at) == 4 and not at.error


def test_a_run_at_work_is_found_again_by_a_new_session_and_cancelled() -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    at = opened()  # no ?run= in its URL
    assert at.get("progress") and button(at, "Run the one-minute experiment").disabled
    button(at, "Cancel").click().run()
    assert run.cancel_asked() is not None
    wait(lambda: not run.status().active)
    at = opened(run=run.id)
    assert "what was trained until then is kept" in at.info[0].value
    button(at, "Show what it had").click().run()
    assert run.id[-6:] in str(sound(at).selectbox(key="snapshot").value) and "run" not in at.query_params


@pytest.mark.parametrize(
    ("act", "words"), [("crash", "ZeroDivisionError"), ("memory", "Memory ran out"), ("wrong", "Try another model")]
)
def test_a_failed_run_is_told_in_words_until_dismissed(act: str, words: str) -> None:
    run = begin(act)
    wait(lambda: not run.status().active)
    at = opened(run=run.id)
    assert words in at.error[0].value and charts(at) == 4
    button(at, "Dismiss").click().run()
    assert not sound(at).error and "run" not in at.query_params


def test_a_killed_worker_is_told_and_can_be_resumed() -> None:
    run = begin("train", steps=10_000)
    wait(lambda: run.status().stage == "train")
    os.kill(run.recorded().process.pid, signal.SIGKILL)  # type: ignore[union-attr]
    wait(lambda: not run.status().active)
    at = opened(run=run.id)
    assert "vanished" in at.error[0].value
    assert all("Resume" not in b.label for b in at.button)
    run.checkpoint.write_bytes(b"")
    button(at.run(), "Resume from its checkpoint").click().run()
    assert not sound(at).error and run.status().active


def test_a_launch_that_fails_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "worker_command", lambda run: [sys.executable, "-c", "raise SystemExit('no numpy')"])
    at = opened()
    button(at, "Run the one-minute experiment").click().run()
    assert "no numpy" in sound(at).error[0].value and charts(at) == 4


def test_the_server_never_imports_torch() -> None:
    code = f"""
        import sys
        from streamlit.testing.v1 import AppTest
        at = AppTest.from_file({str(ROOT / "dashboard" / "app.py")!r}, default_timeout=60).run()
        assert not at.exception and len(at.get("plotly_chart")) == 4
        heavy = {{"torch", "transformers", "datasets", "scipy", "sklearn"}} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True, timeout=120)
