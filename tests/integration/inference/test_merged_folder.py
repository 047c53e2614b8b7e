"""Plain model folders, opened by transformers alone: the same hidden states, logits and answers, per architecture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from prompt_tools import tiny_decoder
from tiny_models import CONFIGS, VOCABULARY, tiny
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from beft_core.architectures.table import ROWS
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.exchange.peft_adapter import HEADS
from beft_core.inference.merged_folder import merged_model, write_merged
from beft_core.models.biases import LoadedModel, add_zero_bias, biases
from beft_core.models.lm_head import LmHead
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta
from beft_core.training.batches.encoded import Encoded
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision
from beft_core.training.predict import Predictor
from beft_core.training.result import put_head
from beft_core.training.session import Session
from beft_core.training.workflow import train

CPU = Precision("float32", torch.device("cpu"))
ROWS_OF_IDS = np.random.default_rng(0).integers(3, VOCABULARY, (3, 6))
LABELS = ("bad", "fair", "good")


def moved(model: LoadedModel, terms: tuple[str, ...], head: bool = False, outside: bool = False) -> Snapshot:
    """A made-up fine-tune of a model: these terms moved by random values."""
    rng = np.random.default_rng(1)
    pre = biases(model)
    post = {
        key: value + (rng.normal(size=value.shape).astype(np.float32) if key[1] in terms else 0)
        for key, value in pre.items()
    }
    extra: dict[str, np.ndarray] = {}
    if head:
        bank = Bank(model, [], runs=1, classes=3, precision=CPU, outside_biases=outside)
        shapes = {name: part.shape for name, part in bank.parts.items() if not name.startswith("outside.")}
        extra = {f"extra.toy.{name}": rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
        count = sum(part.size for name, part in bank.parts.items() if name.startswith("outside."))
        if count:
            extra["extra.toy.outside.bias"] = rng.normal(size=count).astype(np.float32)
    heads = {"toy": {"kind": "classification", "labels": list(LABELS)}} if head else {}
    meta = SnapshotMeta(model=model.info, task="toy", mode="terms", trained_terms=terms, heads=heads)
    return Snapshot.build(meta, pre, post, extra=extra)


def logits_here(model: LoadedModel, snapshot: Snapshot) -> np.ndarray:
    """Logits of the lab for the rows, once the biases are in the model."""
    bank = Bank(model, [], runs=1, classes=3, precision=CPU, outside_biases="extra.toy.outside.bias" in snapshot.extra)
    put_head({name.removeprefix("extra.toy."): value for name, value in snapshot.extra.items()}, bank)
    rows = Encoded.of(list(ROWS_OF_IDS), None, np.zeros(3, np.int64))
    with bank.installed():
        return Predictor(bank, {}, {}, Session(CPU.device)).predict(rows)


def opened(auto: Any, whole: Any, folder: Path) -> Any:
    """The model as transformers opens what was written, every weight of which must be there."""
    whole.save_pretrained(folder)
    model, report = auto.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"], report
    return model.eval()


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "vit"])
def test_a_classifier_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    if not model.layout.terms:
        add_zero_bias(model, "v")
    terms = tuple(term for term in ("q", "v", "o", "mlp_out") if term in model.layout.terms)
    snapshot = moved(model, terms, head=True, outside=name in ("bert", "gpt2"))
    assert model.layout.model_type in HEADS
    try:
        whole = merged_model(snapshot, model)
    except UserError as error:
        assert "v" in model.layout.added and "whose model in transformers never has one" in str(error)
        assert model.layout.model_type in ("mistral", "phi3", "gptj"), "this one has a flag"
        return
    peer = opened(AutoModelForSequenceClassification, whole, tmp_path)
    with torch.no_grad():  # one by one, because these decoders have no token for padding
        rows = [torch.tensor(row)[None] for row in ROWS_OF_IDS]
        theirs = torch.cat([peer(input_ids=row, attention_mask=torch.ones_like(row)).logits for row in rows])
    np.testing.assert_allclose(theirs, logits_here(model, snapshot), atol=1e-5, rtol=1e-5)
    assert tuple(peer.config.id2label.values()) == LABELS


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "vit" and ROWS[CONFIGS[name][0]].lm is not None])
def test_a_language_model_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    model = tiny_decoder(name)
    for term in ("v", "q"):
        if term not in model.layout.terms:
            add_zero_bias(model, term)
    snapshot = moved(model, ("q", "v"))
    try:
        whole = merged_model(snapshot, model)
    except UserError as error:
        assert "never has one" in str(error) and model.layout.model_type in ("mistral", "phi3", "gptj")
        return
    peer = opened(AutoModelForCausalLM, whole, tmp_path)
    ids = torch.tensor(ROWS_OF_IDS)
    with torch.no_grad():
        theirs = peer(input_ids=ids).logits
        ours = LmHead.of(model).logits(model.backbone(input_ids=ids)[0])
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
    assert peer.config.use_cache


def test_an_encoder_without_a_head_is_written_without_one(tmp_path: Path) -> None:
    model = tiny("roberta", attn="sdpa", dtype=torch.float32)
    peer = opened(AutoModel, merged_model(moved(model, ("q",)), model), tmp_path)
    ids = torch.tensor(ROWS_OF_IDS)
    with torch.no_grad():
        torch.testing.assert_close(peer(input_ids=ids)[0], model.backbone(input_ids=ids)[0], atol=1e-5, rtol=1e-5)


def test_added_biases_that_did_not_move_are_left_out(tmp_path: Path) -> None:
    model = tiny_decoder("llama")
    add_zero_bias(model, "v")
    whole = merged_model(moved(model, ()), model)
    assert not whole.config.attention_bias
    whole = merged_model(moved(model, ("v",)), model)
    assert whole.config.attention_bias and not whole.model.layers[0].self_attn.q_proj.bias.any()


def test_the_folder_is_written_whole_and_only_where_nothing_is(tmp_path: Path) -> None:
    run = RunConfig(task="demo-sentiment", n_train=8, n_eval=20, epochs=1, batch_size=4, max_length=16, device="cpu")
    snapshot = train(run)
    folder = write_merged(snapshot, tmp_path / "model", run)
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with pytest.raises(UserError, match="which exists; expected a new or an empty folder"):
        write_merged(snapshot, folder, run)
    with pytest.raises(UserError, match="whose own folder does not exist"):
        write_merged(snapshot, tmp_path / "no" / "model", run)
    with pytest.raises(UserError, match="whose biases differ from those the snapshot started from"):
        write_merged(snapshot.with_meta(_of_another_base(snapshot)), tmp_path / "other", run)
    assert not (tmp_path / "other").exists()


def _of_another_base(snapshot: Snapshot) -> SnapshotMeta:
    return replace(snapshot.meta, model=replace(snapshot.meta.model, fingerprint="0" * 64))


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("head.dense.bias", np.zeros(3, np.float32), "got a head of head.bias, head.dense.bias, head.weight"),
        ("head.bias", None, "got a head of head.weight; expected head.bias, head.weight"),
        ("head.weight", np.zeros((3, 5), np.float32), r"got head.weight of shape \(3, 5\)"),
        ("pooler.bias", np.zeros(5, np.float32), r"got pooler.bias of shape \(5,\)"),
        ("outside.bias", np.zeros(1, np.float32), "got 1 biases outside of the layers"),
    ],
)
def test_a_strangers_head_is_refused(part: str, value: np.ndarray | None, said: str) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    whole = moved(model, ("v",), head=True)
    extra = dict(whole.extra) | ({} if value is None else {f"extra.toy.{part}": value})
    if value is None:
        del extra[f"extra.toy.{part}"]
    pre, post = ({key: read(*key) for key in whole.keys()} for read in (whole.pre, whole.post))  # noqa: SIM118
    with pytest.raises(UserError, match=said):
        merged_model(Snapshot.build(whole.meta, pre, post, extra=extra), model)
