"""The process that answers questions: what it loaded it keeps, and it answers as the function does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_decoder import asked_fine_tune, write_decoder, write_varied_copa

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.inference import held as module
from beft_core.inference import logits
from beft_core.inference.answers import Answer
from beft_core.inference.examples import scored_examples
from beft_core.inference.held import HeldFineTunes
from beft_core.inference.predict import predict
from beft_core.inference.sending import by_content, by_file
from beft_core.inference.variants import Variant
from beft_core.snapshots.snapshot import read_snapshot
from beft_core.tasks.predictions import predictions_of
from beft_core.training import inputs
from beft_core.training.evaluate import evaluate
from beft_core.training.workflow import train

SAMPLES = Path(__file__).parents[3] / "sample_snapshots"
V, Q = (SAMPLES / f"sst2-low-seed0-{term}-only.beft.safetensors" for term in "vq")


def test_answers_are_those_of_the_function(monkeypatch: pytest.MonkeyPatch) -> None:
    loads: list[RunConfig] = []
    real = module.inputs.load
    monkeypatch.setattr(module.inputs, "load", lambda config: (loads.append(config), real(config))[1])
    process = HeldFineTunes()
    runs = [by_file("mine", V), by_content("uploaded", read_snapshot(Q))]
    asked = {"texts": ["a fine film", "dull"], "text_pairs": None, "task": "sst2", "apart": [1], "model": "bundled"}
    found = json.loads(json.dumps(process.answer(runs, **asked), allow_nan=False))
    assert found["seconds"] > 0
    expected = predict([read_snapshot(V), read_snapshot(Q)], asked["texts"], apart=[1], loader=process.model)
    for sent, own, name in zip(found["answers"], expected, ("mine", "uploaded"), strict=True):
        answer = Answer.from_dict(sent)
        assert answer.name == name
        np.testing.assert_allclose(answer.logits, own.logits, atol=1e-6)
        assert answer.effect(1).layers == pytest.approx(own.effect(1).layers, abs=1e-5)
    before = process.snapshot(runs[0])
    process.answer(runs[:1], **asked)
    assert len(loads) == 1 and process.snapshot({**runs[0], "name": "other"}) is before


def test_a_model_that_was_rewritten_is_another_one() -> None:
    process = HeldFineTunes()
    settings: dict[str, Any] = {"n_train": 8, "epochs": 1, "evaluate": "never", "device": "cpu"}
    tuned = [train(RunConfig(task="demo-sentiment", rewrite_scale=scale, **settings)) for scale in (None, 10.0)]
    for one in (*tuned, *tuned):
        found = process.answer([by_content("mine", one)], ["dull"], None, "demo-sentiment", [], "bundled")
        np.testing.assert_allclose(
            found["answers"][0]["logits"], predict([one], ["dull"], apart=[])[0].logits, atol=1e-5
        )


def test_fine_tunes_that_are_asked_again_lie_beside_their_model_already(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshots, texts = [read_snapshot(V), read_snapshot(Q)], ("a fine film", "dull, and longer than the other")
    expected = {text: predict(snapshots, [text], apart=[]) for text in texts}
    made: list[int] = []
    real = logits.Resident
    monkeypatch.setattr(logits, "Resident", lambda *a, **k: (made.append(len(a[1])), real(*a, **k))[1])
    process = HeldFineTunes()
    runs = [by_file("v", V), by_file("q", Q)]

    def ask(text: str, order: int = 1, apart: tuple[int, ...] = (0,)) -> None:
        found = process.answer(runs[::order], [text], None, "sst2", list(apart), "bundled")["answers"]
        for sent, own in zip(found, expected[text][::order], strict=True):
            np.testing.assert_allclose(sent["logits"], own.logits, atol=1e-5)
            np.testing.assert_allclose(sent["before"], own.before, atol=1e-5)

    for text in (*texts, *texts):
        ask(text)
    assert made == [16], "two fine-tunes, each with all, without any and without each of six layers"
    ask(texts[0], order=-1)
    for text in texts:
        ask(text, apart=())
    assert made == [16, 16, 4]
    ask(texts[1])  # two are kept
    assert made == [16, 16, 4, 16]
    process.model(RunConfig(model=str(folder), device="cpu"))  # a bank would keep a model that has to go
    ask(texts[1])
    assert len(made) == 5


def test_a_bank_is_of_the_biases_that_the_model_had(folder: Path) -> None:
    process = HeldFineTunes()
    model = process.model(RunConfig(model=str(folder), device="cpu"))
    v = Variant(asked_fine_tune(model, "v"), "asks")
    ((_, first),) = process._in_banks(model, [v])
    ((_, again),) = process._in_banks(model, [v])
    assert again is first
    asked_fine_tune(model, "q")  # which the model gets, too
    ((_, last),) = process._in_banks(model, [v])
    assert last is not first


def test_what_was_asked_for_longest_ago_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_SNAPSHOTS", 2)
    process = HeldFineTunes()
    runs = [by_file("v", V), by_file("q", Q), by_file("k", SAMPLES / "sst2-low-seed0-k-only.beft.safetensors")]
    first, second = process.snapshot(runs[0]), process.snapshot(runs[1])
    assert process.snapshot(runs[0]) is first
    process.snapshot(runs[2])
    assert process.snapshot(runs[0]) is first and process.snapshot(runs[1]) is not second


def test_validation_sets_are_read_under_several_at_once() -> None:
    names = ("demo-sentiment-low-seed0-v-only", "demo-sentiment-low-seed0-probe")
    files = [SAMPLES / f"{name}.beft.safetensors" for name in names]
    process = HeldFineTunes()
    runs = [by_file(name, file) for name, file in zip(names, files, strict=True)]
    found = process.score(runs, "demo-sentiment", "bundled", limit=60)
    for sent, file in zip(found["logits"], files, strict=True):
        snapshot = read_snapshot(file)
        data = scored_examples(snapshot, "demo-sentiment", 60)
        one = predictions_of("demo-sentiment", [("validation", data.evals["validation"], np.array(sent["validation"]))])
        config = RunConfig(task="demo-sentiment", n_eval=60, device="cpu")
        expected = evaluate(snapshot, config, base=lambda: process.model(RunConfig(device="cpu")))["accuracy"]
        assert float((one.predicted == one.labels).mean()) == pytest.approx(expected)


def test_a_model_that_is_not_the_base_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="folder not found"):
        HeldFineTunes().answer([by_file("v", V)], ["a"], None, "sst2", [], str(tmp_path / "none"))


def test_a_model_whose_files_were_replaced_is_loaded_again(tmp_path: Path) -> None:
    config = RunConfig(model=str(write_decoder(tmp_path / "mine", seed=0)), device="cpu")
    process = HeldFineTunes()
    first = process.model(config)
    assert process.model(config) is first
    write_decoder(tmp_path / "mine", seed=1)
    now = process.model(config)
    assert now.info.weights != first.info.weights and now.info.weights == inputs.load(config).info.weights


def test_examples_have_the_demonstrations_before_them_that_the_fine_tune_had(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_varied_copa(tmp_path, 60)
    monkeypatch.setenv("BEFT_SUPERGLUE_DIR", str(tmp_path))
    model = str(write_decoder(tmp_path / "decoder"))
    settings: dict[str, Any] = {"model": model, "add_bias": ("v",), "max_length": 256, "device": "cpu"}
    found = []
    for count in (2, 0):
        config = RunConfig(task="prompt-copa", mode="none", demonstrations=count, **settings)
        tuned = train(config)
        expected = evaluate(tuned, config)["accuracy"]
        (logits,) = HeldFineTunes().score([by_content("mine", tuned)], "prompt-copa", model, 2000)["logits"]
        data = scored_examples(tuned, "prompt-copa", 2000)
        sets = [(name, part, np.array(logits[name], np.float32)) for name, part in data.evals.items()]
        read = predictions_of("prompt-copa", sets)
        assert float((read.predicted == read.judged).mean()) == expected
        found.append(expected)
    assert found[0] != found[1]


def test_windows_that_write_in_turn_keep_what_they_have_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_decoder(tmp_path / "tiny")
    runs = [by_content("mine", asked_fine_tune(inputs.load(RunConfig(model=str(folder), add_bias=("v",)))))]
    begun: list[str] = []
    real = module.SideBySide
    monkeypatch.setattr(module, "SideBySide", lambda *given: (begun.append(given[3]), real(*given))[1])
    monkeypatch.setattr(module, "MAX_WRITERS", 2)

    def go_on(process: HeldFineTunes, prompt: str, text: dict[str, Any] | None = None) -> dict[str, Any]:
        tokens, ended = ([], []) if text is None else (text["tokens"], text["ended"])
        return process.write(runs, prompt, "asks", str(folder), [1.0], tokens, ended, 0.0)

    process, texts = HeldFineTunes(), dict[str, dict[str, Any]]()
    prompts = ["a film", "the end of it"]
    for _ in range(3):
        for prompt in prompts:
            texts[prompt] = go_on(process, prompt, texts.get(prompt))
    assert begun == prompts
    alone = HeldFineTunes()
    assert go_on(alone, "a film", go_on(alone, "a film", go_on(alone, "a film"))) == texts["a film"]
    begun.clear()
    for prompt in ("a third", "the end of it", "a film"):  # only two are kept
        go_on(process, prompt, texts.get(prompt))
    assert begun == ["a third", "a film"]
    process.model(RunConfig(device="cpu"))  # a text would keep a model that has to go
    go_on(process, "a film", texts["a film"])
    assert begun == ["a third", "a film", "a film"]
