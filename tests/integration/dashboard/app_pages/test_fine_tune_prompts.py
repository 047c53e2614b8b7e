"""Fine-tune for language models, in process: added biases, prompts, demonstrations, and what is counted and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dashboard_tools import PlayedService, button, captions, command, metrics, opened, sound
from example_decoder import write_copa, write_decoder, write_reviews

from beft_core.runs.run import list_runs
from dashboard.app_pages.fine_tune import prompts
from dashboard.shared import model_service

LENGTHS = {"counted": 400, "total": 400, "cut": 3, "longest": 2600, "most": 2048}
ANSWER: dict[str, Any] = {
    "trainable": 64,
    "total": 23808,
    "frozen": [],
    "examples": 64,
    "evaluated": 100,
    "steps": 20,
    "seconds": 9.0,
    "parts": {"train": 9.0},
    "bytes": 10**9,
    "memory": 10**10,
    "step_ms": 9.0,
    "spread": 0.1,
    "timed_steps": 5,
    "load": 0.2,
    "device": "cpu",
    "how": "5 steps were timed",
    "prompts": LENGTHS,
}


@pytest.fixture
def tiny(lab: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Folder of a tiny decoder, with made-up COPA beside it."""
    write_copa(lab / "superglue")
    monkeypatch.setenv("BEFT_SUPERGLUE_DIR", str(lab / "superglue"))
    return str(write_decoder(lab / "tiny"))


def test_biases_are_added_where_the_model_has_none(tiny: str) -> None:
    at = opened("fine_tune", ft_model=tiny, ft_task="prompt-copa", ft_do="train", ft_regime="all", ft_demos="2")
    assert "--add-bias v" in command(at) and "--max-length 2048" in command(at) and "--demonstrations 2" in command(at)
    assert metrics(at)["Trained parameters"] == "32" and metrics(at)["Steps"] == "5"
    assert "This model has no $b_v$" in captions(at) and "prompts of up to 2,048 tokens" in captions(at)
    assert at.number_input(key="ft_length").placeholder == "2,048"
    table = next(table.value for table in at.table if "prompt" in table.value)
    assert "It rained so" in table["prompt"][0] and table["answer"][0] == "we left\\."
    at = sound(at.radio(key="ft_do").set_value("select").run())
    assert at.pills(key="ft_add").value == ["q", "k", "v"] and "--add-bias q k v" in command(at)
    at = sound(at.pills(key="ft_add").set_value(["v", "o"]).run())
    assert "--add-bias v o" in command(at)
    at = opened("fine_tune", ft_model=tiny, ft_task="prompt-copa", ft_do="train", ft_mode="none", ft_add=["v"])
    assert "--terms none --add-bias v" in command(at) and metrics(at)["Trained parameters"] == "none"
    assert metrics(at)["Steps"] == "0" and "trajectory" not in command(at)


def test_tasks_and_models_that_do_not_match_are_one_line(tiny: str) -> None:
    at = opened("fine_tune", ft_task="prompt-copa", ft_do="train")
    assert "bert, which is no language model, for a task of prompts" in at.warning[0].value
    assert button(at, "Start").disabled and not at.error
    at = opened("fine_tune", ft_model=tiny, ft_task="prompt-copa", ft_do="train", ft_mode="head")
    assert "without a trained head" in at.warning[0].value
    at = opened("fine_tune", ft_model=tiny, ft_task="sst2", ft_do="train", ft_terms=["v"])
    assert "this task trains a classification head on it" in captions(at) and "the task prompt-sst2" in captions(at)
    assert not button(at, "Start").disabled


def test_a_prompt_over_a_table_of_ones_own(tiny: str, tmp_path: Path) -> None:
    at = opened("fine_tune", ft_model=tiny, ft_task="own-table", ft_do="train", ft_answered="a prompt")
    data = write_reviews(tmp_path / "reviews.jsonl").read_bytes()
    at = sound(at.file_uploader(key="ft_file").upload("reviews.jsonl", data).run())
    assert at.text_input(key="ft_prompt").value == "{review} It was"
    at.selectbox(key="ft_label").select("verdict")
    at = sound(at.text_input(key="ft_candidates").set_value("neg=terrible, pos=great").run())
    assert "The first prompt: film" in captions(at) and "2 classes: neg" in captions(at)
    assert "Judged by accuracy" in captions(at) and "value bias, $b_v$\\." not in captions(at)
    assert "--prompt '{review} It was'" in command(at) and "--candidates neg=terrible pos=great" in command(at)
    at = sound(at.text_input(key="ft_candidates").set_value("").run())
    assert "The answers are free text. Judged by answer F1" in captions(at)
    at = sound(at.text_input(key="ft_prompt").set_value("{nothing} It was").run())
    assert "no column 'nothing', which the prompt names" in at.warning[0].value
    other = b'{"said": "a very long sentence", "y": "a"}\n{"said": "another long sentence", "y": "b"}\n'
    at = sound(at.file_uploader(key="ft_file").upload("other.jsonl", other * 5).run())
    assert at.text_input(key="ft_prompt").value == "{said} It was"
    at = sound(at.file_uploader(key="ft_file").upload("reviews.jsonl", data).run())
    at.selectbox(key="ft_label").select("verdict")
    at.text_input(key="ft_prompt").set_value("{review}\\nIt was")
    at = sound(at.text_input(key="ft_candidates").set_value("neg=terrible, pos=great").run())
    button(at, "Start").click().run()
    (run,) = list_runs()
    config = run.config()[1]
    assert config["prompt"] == "{review}\nIt was" and config["candidates"] == ["neg=terrible", "pos=great"]
    assert config["text"] is None and config["label"] == "verdict" and config["add_bias"] == ["v"]


def test_a_check_counts_the_prompts_that_are_cut(tiny: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Desk(PlayedService):
        def ask(self, question: str, timeout: float = 0, **fields: Any) -> Any:
            assert question == "preflight" and fields["config"]["task"] == "prompt-copa"
            return ANSWER

    monkeypatch.setattr(model_service, "service", Desk)
    at = opened("fine_tune", ft_model=tiny, ft_task="prompt-copa", ft_do="train", ft_regime="all")
    at = sound(button(at, "Check it first").click().run())
    assert "**3 of 400 prompts are cut** at the left: the longest has 2,600 tokens, 2,048 are allowed." in captions(at)
    none = prompts.lengths_in_words(LENGTHS | {"cut": 0, "longest": 90, "total": 900})
    assert none == "No prompt is cut: the longest has 90 of 2,048 tokens (400 of 900 were counted)."
