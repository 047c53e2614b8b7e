"""Model cards, read by the Hub's own client and by a reader of Markdown, of honest snapshots and of hostile ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_snapshots import base, example
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from beft_core.errors import UserError
from beft_core.publishing.card import MAX_ROWS, METRICS, HubBase, Publication, card_of, check_card
from beft_core.publishing.folder import base_of
from beft_core.snapshots.adapter_folder import AdapterFolder
from beft_core.snapshots.meta import NO_BIASES
from beft_core.snapshots.snapshot import Snapshot, read_snapshot
from beft_core.tasks.answer_metrics import ANSWER_METRICS
from beft_core.tasks.metrics import METRICS as OURS

SAMPLES = Path(__file__).parents[3] / "sample_snapshots"
BUNDLED = HubBase("bundled", "sentence-transformers/all-MiniLM-L6-v2", None, "apache-2.0")
ADAPTER = AdapterFolder({"peft_type": "BEFT"}, {})
HOSTILE = "](http://evil.example) <script>alert(1)</script> | `x` --- # y: [z] {{ 1 }}"


def publication(snapshot: Snapshot, **changes: Any) -> Publication:
    values: dict[str, Any] = {
        "repo": "org/name",
        "task": snapshot.meta.task,
        "base": BUNDLED,
        "adapter": ADAPTER,
        **changes,
    }
    return Publication(snapshot, **values)


def read(text: str) -> tuple[dict[str, Any], str]:
    card = ModelCard(text)
    return card.data.to_dict(), card.text


def test_a_sample_says_what_its_snapshot_records() -> None:
    snapshot = read_snapshot(SAMPLES / "sst2-low-seed0-v-only.beft.safetensors")
    text, picture = card_of(publication(snapshot, license="mit"))
    data, words = read(text)
    assert data["base_model"] == BUNDLED.id and data["base_model_relation"] == "adapter"
    assert data["library_name"] == "peft" and data["license"] == "mit" and data["datasets"] == ["nyu-mll/glue"]
    (result,) = data["model-index"][0]["results"]
    last = snapshot.meta.metrics[-1]["accuracy"]
    assert result["metrics"][0] == {"type": "accuracy", "value": pytest.approx(last, abs=1e-6), "name": "accuracy"}
    assert result["dataset"] == {"name": "SST-2", "type": "nyu-mll/glue", "config": "sst2", "split": "validation"}
    assert f"| accuracy | {last:.4f} | {snapshot.meta.constant_answer['value']:.4f} |" in words  # type: ignore[index]
    for expected in ("| seed | 0 |", "num_labels=2", "0 negative, 1 positive", "beft evaluate name/", "--merged MODEL"):
        assert expected in words
    from beft_core.scores.formulas import Movement

    ratio = Movement(snapshot.pre("encoder", "v"), snapshot.post("encoder", "v")).projection_ratio()
    for layer, value in enumerate(ratio):
        assert f"| {layer} | {value:.4f} |" in words
    assert picture is not None and "b_v" in picture


@pytest.mark.parametrize(
    ("hyperparameters", "metrics", "splits", "words"),
    [
        ({"hold_out": 40}, {"accuracy": 0.8}, ["train"], "on 40 training examples that were set aside:"),
        ({}, {"accuracy": 0.8}, ["validation"], "on 40 validation examples:"),
        (
            {},
            {"accuracy_matched": 0.8, "accuracy_mismatched": 0.7},
            ["validation_matched", "validation_mismatched"],
            "on 40 validation examples:",
        ),
    ],
)
def test_metrics_are_of_the_examples_that_were_scored(
    hyperparameters: dict[str, Any], metrics: dict[str, float], splits: list[str], words: str
) -> None:
    snapshot = read_snapshot(SAMPLES / "sst2-low-seed0-v-only.beft.safetensors")
    meta = dataclasses.replace(
        snapshot.meta,
        task="mnli" if len(metrics) > 1 else "sst2",
        hyperparameters={**snapshot.meta.hyperparameters, **hyperparameters},
        metric=next(iter(metrics)),
        metrics=({"epoch": 1, **metrics},),
        constant_answer={"value": 0.5, "examples": 40},
    )
    data, told = read(card_of(publication(snapshot.with_meta(meta), task=meta.task))[0])
    assert [one["dataset"]["split"] for one in data["model-index"][0]["results"]] == splits
    assert f"After the last epoch, {words}" in told


def test_metrics_of_biases_that_were_trained_on_are_not_theirs() -> None:
    """Of a fine-tune that was stopped amid an epoch: what it kept was never scored."""
    snapshot = read_snapshot(SAMPLES / "sst2-low-seed0-v-only.beft.safetensors")
    scored = snapshot.meta.metrics[-1]["step"]
    assert scored is not None
    for steps, published in ((scored, True), (scored + 3, False)):
        hyperparameters = {**snapshot.meta.hyperparameters, "steps": steps, "stopped_early": not published}
        meta = dataclasses.replace(snapshot.meta, hyperparameters=hyperparameters)
        data, words = read(card_of(publication(snapshot.with_meta(meta)))[0])
        assert ("model-index" in data) is ("metrics" in data) is ("After the last epoch" in words) is published
        assert (f"stopped at step {steps} and not scored there" in words) is not published


def test_the_code_of_a_card_is_python() -> None:
    snapshot = read_snapshot(SAMPLES / "sst2-low-seed0-v-only.beft.safetensors")
    for base_model in (BUNDLED, HubBase("org/x", "org/x", "a" * 40), HubBase('my "x"', None)):
        _, words = read(card_of(publication(snapshot, base=base_model))[0])
        (block,) = [token for token in MarkdownIt().parse(words) if token.info == "python"]
        compile(block.content, "card", "exec")
        assert block.content.count('"') == 4 + 2 * (base_model.revision is not None)


def test_a_prompted_decoder_is_a_language_model() -> None:
    snapshot = read_snapshot(SAMPLES / "gemma-3-270m-prompt-sst2-low-seed0-v-only.beft.safetensors")
    data, words = read(card_of(publication(snapshot, base=base_of(snapshot.meta.model)))[0])
    assert data["pipeline_tag"] == "text-generation" and data["base_model"] == "google/gemma-3-270m"
    assert "- Base model: google/gemma-3-270m; the fine-tune started from its weights at 4.5 bits" in words
    assert f"- Fingerprint of the base: `{snapshot.meta.model.weights}` (SHA-256 of rows of its weights" in words
    assert "undefined from zero" in words, "b_v began at zero, where the ratio says nothing"
    assert "AutoModelForCausalLM" in words and "num_labels" not in words


def test_a_base_is_named_by_what_tells_it_from_others() -> None:
    meta = example(task="sst2", full=True).meta
    unknown = dataclasses.replace(meta.model, fingerprint=NO_BIASES)
    told = f"`{meta.model.fingerprint}` (SHA-256 of its biases). A model where these differ is refused."
    for model, line in ((meta.model, told), (unknown, "none, because the base has no biases")):
        own = example(task="sst2", full=True).with_meta(dataclasses.replace(meta, model=model))
        _, words = read(card_of(publication(own, adapter=None, no_adapter="moved ln1"))[0])
        assert f"- Fingerprint of the base: {line}" in words


def test_without_an_adapter_the_reason_stands_there_and_peft_does_not() -> None:
    snapshot = example(task="sst2", full=True)
    data, words = read(card_of(publication(snapshot, adapter=None, no_adapter="moved <b>ln1</b>"))[0])
    assert "library_name" not in data and "base_model_relation" not in data
    assert "There is no PEFT adapter here: moved \\<b\\>ln1\\</b\\>." in words and "PeftModel" not in words


def test_a_base_of_somebodys_own_is_not_named_as_one_of_the_hub() -> None:
    snapshot = example(full=True, task="sst2")
    own = dataclasses.replace(snapshot.meta, model=dataclasses.replace(snapshot.meta.model, id="gpt2"))
    data, words = read(card_of(publication(snapshot.with_meta(own), base=HubBase("gpt2", None)))[0])
    assert "base_model" not in data
    assert (
        'from_pretrained("BASE"' in words
        and "--base BASE" in words
        and "--model BASE" in words
        and "not on the Hub" in words
    )


def test_adapters_show_their_metric_over_epochs() -> None:
    pre = base()
    snapshot = example(pre=pre, mode="lora", task="sst2", trained_terms=(), size=0.0, full=True)
    still = Snapshot.build(snapshot.meta, pre, pre, extra=dict(snapshot.extra))
    text, picture = card_of(publication(still))
    assert picture is not None and "accuracy over epochs" in picture
    assert "How far the biases moved" not in text and "lora" in read(text)[0]["tags"]
    before = still.with_meta(dataclasses.replace(still.meta, mode="prefix"))
    assert "--merged" not in card_of(publication(before))[0]


def hostile() -> Snapshot:
    snapshot = example(
        task=HOSTILE,
        full=True,
        regime=HOSTILE,
        metric=HOSTILE,
        metrics=({"epoch": 1, HOSTILE: 0.5, "accuracy": 0.25},),
        constant_answer={"value": 0.5, "examples": 10},
        hyperparameters={HOSTILE: {HOSTILE: [HOSTILE]}, **{f"x{n}": n for n in range(500)}},
        versions={HOSTILE: HOSTILE},
        device=HOSTILE,
        heads={HOSTILE: {"kind": "classification", "labels": [HOSTILE, "yes\n---\nlicense: mit"]}},
        provenance={HOSTILE: HOSTILE},
        mode="imported",
    )
    return snapshot.with_meta(
        dataclasses.replace(snapshot.meta, model=dataclasses.replace(snapshot.meta.model, id=HOSTILE))
    )


def test_a_hostile_snapshot_writes_no_markdown_and_no_metadata() -> None:
    snapshot = hostile()
    text, picture = card_of(publication(snapshot, base=HubBase(HOSTILE, None), no_adapter=HOSTILE, adapter=None))
    data, words = read(text)
    assert set(data) == {"license", "metrics", "pipeline_tag", "tags", "model-index"} and data["license"] == "unknown"
    assert data["metrics"] == ["accuracy"]
    assert data["model-index"][0]["results"][0]["dataset"]["name"] == HOSTILE
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(words)
    assert not [token for token in tokens if token.type == "html_block"]
    inline = [child for token in tokens for child in token.children or []]
    assert not [child for child in inline if child.type == "html_inline"]
    links = {child.attrs["href"] for child in inline if child.type == "link_open"}
    assert links == {"https://arxiv.org/abs/2509.15974"}
    assert [child.attrs["src"] for child in inline if child.type == "image"] == ["scores.svg"]
    heads = [tokens[at + 1].content for at, token in enumerate(tokens) if token.type == "heading_open"]
    assert heads == [
        "name",
        "Result",
        "How far the biases moved",
        "Use it",
        "Settings",
        "Base model, data and licence",
    ]
    rows = [len(line.replace("\\|", "").split("|")) for line in words.splitlines() if line.startswith("|")]
    assert set(rows) <= {4, 5, 6, 8} and words.count("\n") < MAX_ROWS + 120
    assert picture is not None and "<script" not in picture
    fences = [token for token in tokens if token.type == "fence"]
    assert all("evil" not in token.content for token in fences)


def test_a_snapshot_without_a_result_has_a_card() -> None:
    bare = example(metrics=(), metric=None, heads={}, task="imported", mode="imported", null_elements=None)
    _, words = read(card_of(publication(bare))[0])
    assert "The snapshot records no metric." in words and "random" in words


def test_every_metric_has_a_name_on_the_hub() -> None:
    assert set(METRICS) == {*OURS, *ANSWER_METRICS}
    snapshot = example(task="mnli", full=True, metrics=({"epoch": 1, "accuracy_matched": 0.5, "f1_macro": 0.25},))
    results = read(card_of(publication(snapshot))[0])[0]["model-index"][0]["results"]
    found = {(one["type"], one["value"]) for result in results for one in result["metrics"]}
    assert found == {("accuracy", 0.5), ("f1", 0.25)}


@pytest.mark.parametrize("text", ["# no front matter\n", "---\n- a list\n---\n", "---\na: [\n---\n", ""])
def test_a_card_that_the_hub_does_not_read_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"README\.md.*front matter"):
        check_card(text)


def test_scores_of_many_layers_are_all_there() -> None:
    pre = {("decoder", "v"): np.ones((40, 4), np.float32)}
    post = {("decoder", "v"): np.ones((40, 4), np.float32) + np.arange(40, dtype=np.float32)[:, None]}
    meta = example().meta
    meta = dataclasses.replace(
        meta, trained_terms=("v",), model=dataclasses.replace(meta.model, layers=40, architecture="llama")
    )
    _, words = read(card_of(publication(Snapshot.build(meta, pre, post)))[0])
    assert "\n| 39 | " in words
