"""Several fine-tunes asked at once, on the bundled model: as transformers' own classifiers with each one's biases."""

from __future__ import annotations

import copy
import dataclasses
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoTokenizer

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.inference.held import HeldFineTunes
from beft_core.inference.predict import predict, predict_rows
from beft_core.inference.rows import Rows
from beft_core.inference.sending import by_content
from beft_core.library.snapshot import Snapshot
from beft_core.models.biases import LoadedModel
from beft_core.models.load import load_model
from beft_core.models.source import locate
from beft_core.snapshots.snapshot import read_snapshot

SAMPLES = Path(__file__).parents[3] / "sample_snapshots"
TEXTS = ["The film was surprisingly good, but far too long.", "dull"]
PAIRS = ["It was a fine film.", "bright and short"]


@cache
def model() -> LoadedModel:
    return load_model()


def loader(config: RunConfig) -> LoadedModel:
    assert config.model == "bundled"
    return model()


def sample(name: str) -> Snapshot:
    return Snapshot.of(read_snapshot(SAMPLES / f"{name}.beft.safetensors"))


@cache
def classifier_of_transformers(outputs: int) -> Any:
    """Read from the disk once: that takes longer than all else here."""
    config = AutoConfig.from_pretrained(locate("bundled").folder)
    config.num_labels = outputs
    return AutoModelForSequenceClassification.from_pretrained(locate("bundled").folder, config=config).eval()


def by_transformers(snapshot: Snapshot, texts: list[str], pairs: list[str] | None, *layers_back: int) -> np.ndarray:
    """The logits of transformers' classifier, each example by itself, with the biases of some layers put back."""
    outputs = len(snapshot.extra[f"extra.{snapshot.meta.task}.head.weight"])
    classifier = copy.deepcopy(classifier_of_transformers(outputs))
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    snapshot.apply_to(classifier, head=True)
    outside = snapshot.extra.get(f"extra.{snapshot.meta.task}.outside.bias")
    with torch.no_grad():
        if outside is not None:
            classifier.bert.embeddings.LayerNorm.bias.copy_(torch.tensor(outside))
        for name, value in classifier.state_dict().items():
            if name.endswith("bias") and any(f"encoder.layer.{layer}." in name for layer in layers_back):
                value.copy_(before[name])
        tokenizer = AutoTokenizer.from_pretrained(locate("bundled").folder)
        rows = []
        for at, text in enumerate(texts):
            inputs = tokenizer(text, None if pairs is None else pairs[at], return_tensors="pt")
            rows.append(classifier(**inputs).logits[0].numpy())
    return np.stack(rows)


@pytest.mark.parametrize("task", ["sst2", "stsb"])
def test_samples_answer_as_transformers_does(task: str) -> None:
    snapshots = [sample(f"{task}-low-seed0-{name}") for name in ("v-only", "probe")]
    pairs = PAIRS if task == "stsb" else None
    answers = predict(snapshots, TEXTS, pairs, loader=loader)
    assert [answer.name for answer in answers] == ["b_v", "all biases"]
    every = range(6)
    for snapshot, answer in zip(snapshots, answers, strict=True):
        assert answer.labels == (("negative", "positive") if task == "sst2" else None)
        assert sorted(answer.without) == list(every)
        for found, back in (
            (answer.logits, ()),
            (answer.before, every),
            (answer.without[0], (0,)),
            (answer.without[4], (4,)),
        ):
            np.testing.assert_allclose(found, by_transformers(snapshot, TEXTS, pairs, *back), atol=2e-5)
        effect = answer.effect(0)
        assert abs(effect.shift) > 0.05 and effect.shift == pytest.approx(
            sum(effect.layers.values()) + effect.interaction
        )


def test_rows_are_as_long_as_their_own_fine_tune_had_them() -> None:
    whole = sample("sst2-low-seed0-v-only")
    short = whole.with_meta(dataclasses.replace(whole.meta, hyperparameters={"max_length": 6}))
    asked = [whole, short, sample("stsb-low-seed0-v-only")]
    rows = Rows.checked(asked, TEXTS[:1] * 3, [0, 1, 2], [None, None, PAIRS[0]])
    found = predict_rows(rows, loader=loader)
    for number, one in enumerate(rows.snapshots[:2]):
        (alone,) = predict([one], TEXTS[:1], apart=[], loader=loader)
        np.testing.assert_allclose(found[number].logits, alone.logits[0], atol=1e-5)
    assert np.abs(found[0].logits - found[1].logits).max() > 1e-2 and found[2].labels is None
    cut = predict_rows(rows, max_length=6, loader=loader)
    np.testing.assert_allclose(cut[0].logits, found[1].logits, atol=1e-5)


def test_each_reads_as_much_as_its_own_training_had_whoever_is_asked_beside_it() -> None:
    whole = sample("sst2-low-seed0-v-only")
    short = whole.with_meta(dataclasses.replace(whole.meta, hyperparameters={"max_length": 6}))
    both = predict([whole, short, whole], TEXTS, names=["one", "short", "two"], loader=loader)
    assert [answer.name for answer in both] == ["one", "short", "two"]
    for answer, snapshot in zip(both, (whole, short, whole), strict=True):
        (alone,) = predict([snapshot], TEXTS, loader=loader)
        np.testing.assert_allclose(answer.logits, alone.logits, atol=1e-5)
        assert answer.effect(0).layers == pytest.approx(alone.effect(0).layers, abs=1e-4)
    assert np.abs(both[0].logits[0] - both[1].logits[0]).max() > 1e-2, "the first text is longer than 6 tokens"
    config = RunConfig(max_length=7, device="cpu")
    asked = predict([whole, short], TEXTS, apart=[], config=config, loader=loader)
    np.testing.assert_allclose(asked[0].logits, asked[1].logits, atol=1e-5)  # whoever names a length gets it


def test_a_head_of_a_merge_reads_as_much_as_its_own_training_had() -> None:
    """The file says the longest limit of its sources, and each head its own."""
    whole = sample("sst2-low-seed0-v-only")
    short = whole.with_meta(dataclasses.replace(whole.meta, hyperparameters={"max_length": 6}))
    heads = {"sst2": whole.meta.heads["sst2"] | {"max_length": 6}}
    merged = whole.with_meta(dataclasses.replace(whole.meta, heads=heads))
    (expected,) = predict([short], TEXTS[:1], apart=[], loader=loader)
    for asked in ([merged], [merged, whole]):
        answers = predict(asked, TEXTS[:1], apart=[], loader=loader)
        np.testing.assert_allclose(answers[0].logits, expected.logits, atol=1e-5)
    assert np.abs(answers[1].logits - expected.logits).max() > 1e-2, "the text is longer than 6 tokens"
    held = HeldFineTunes().answer([by_content("merged", merged)], TEXTS[:1], None, "sst2", [], "bundled")
    np.testing.assert_allclose(held["answers"][0]["logits"], expected.logits, atol=1e-5)


def test_only_chosen_examples_are_taken_apart() -> None:
    (whole,) = predict([sample("sst2-low-seed0-v-only")], TEXTS, loader=loader)
    (part,) = predict([sample("sst2-low-seed0-v-only")], TEXTS, apart=[1], names=["mine"], loader=loader)
    assert part.name == "mine" and part.effect(0).layers == {}
    assert part.effect(1).layers == pytest.approx(whole.effect(1).layers, abs=1e-4)
    (none,) = predict([sample("sst2-low-seed0-v-only")], TEXTS, apart=[], loader=loader)
    assert none.without == {}


def test_a_fine_tune_that_moved_nothing_is_its_head() -> None:
    (null,) = predict([sample("sst2-low-seed0-k-only")], TEXTS, loader=loader)
    np.testing.assert_allclose(null.logits, null.before, atol=1e-6)
    assert null.without == {} and null.verdict(0).startswith("b_k (null) moved nothing: ")
    assert null.name == "b_k (null)"


def test_one_name_is_one_question() -> None:
    """The name of a table is that of its file, whatever is asked of it."""
    one = sample("sst2-low-seed0-v-only")
    wide = {name: np.concatenate([value, value]) for name, value in one.tensors().items() if ".head." in name}
    tensors = {**one.tensors(), **wide}
    head = one.meta.heads["sst2"] | {"labels": ["bad", "poor", "fair", "good"]}
    meta = dataclasses.replace(one.meta, heads={"sst2": head})
    other = Snapshot(meta, {name: value.shape for name, value in tensors.items()}, tensors.__getitem__)
    with pytest.raises(UserError, match=r"fine-tunes whose sst2 is not one question.* try .*beft train --name NAME"):
        predict([one, other], TEXTS, loader=loader)
    for labels in (["positive", "negative"], ["good", "bad"]):
        head = one.meta.heads["sst2"] | {"labels": labels}
        named = one.with_meta(dataclasses.replace(one.meta, heads={"sst2": head}))
        with pytest.raises(UserError, match="fine-tunes whose sst2 is not one question"):
            predict([one, named], TEXTS, loader=loader)
    bools = [
        one.with_meta(dataclasses.replace(one.meta, heads={"sst2": one.meta.heads["sst2"] | {"labels": labels}}))
        for labels in (["False", "True"], ["false", "true"])
    ]
    assert len(predict(bools, TEXTS, loader=loader)) == 2, "as pandas writes them into a file, and as Python has them"
    unnamed = one.with_meta(dataclasses.replace(one.meta, heads={"sst2": one.meta.heads["sst2"] | {"labels": None}}))
    assert len(predict([one, unnamed], TEXTS, loader=loader)) == 2, "of an imported head nobody knows the names"


def test_texts_that_do_not_suit_are_refused() -> None:
    one, two = sample("sst2-low-seed0-v-only"), sample("stsb-low-seed0-v-only")
    for snapshots, texts, pairs, says in (
        ([one], TEXTS, PAIRS, "got pairs of texts for sst2"),
        ([two], TEXTS, None, "got one text each for stsb; .* try --text-pair"),
        ([two], TEXTS, PAIRS[:1], "got 1 second texts for 2"),
        ([one], [], None, "got no text"),
        ([one], ["fine", " "], None, "got an empty text"),
        ([one, two], TEXTS, None, "share no single head"),
    ):
        with pytest.raises(UserError, match=says):
            predict(snapshots, texts, pairs, loader=loader)
