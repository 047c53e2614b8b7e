"""Plain model folders, opened by transformers alone: the same hidden states, logits and answers, per architecture."""

from __future__ import annotations

import json
import resource
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import CONFIGS, VOCABULARY, tiny
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from beft_core.architectures.table import ROWS
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.exchange.peft_adapter import HEADS
from beft_core.files import safetensors_file, scratch
from beft_core.files.disk import NoRoom
from beft_core.files.safetensors_file import SafetensorsFile, write_safetensors
from beft_core.inference import merged_folder
from beft_core.inference.merged_folder import plan_of, write_merged
from beft_core.models.bias_reader import ModelWeights
from beft_core.models.biases import LoadedModel, add_zero_bias, biases, write_biases
from beft_core.models.lm_head import LmHead
from beft_core.models.load import load_model, wrap
from beft_core.models.source import bundled_path
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


def stored(model: LoadedModel, folder: Path, dtype: torch.dtype = torch.float32, head: bool = False) -> Path:
    """Store a model, as it is now, as somebody's base; a decoder with a language-model head of its own, or tied."""
    backbone: Any = model.backbone
    whole = backbone
    if model.layout.lm is not None or head:
        kind = AutoModelForCausalLM if model.layout.lm is not None else AutoModelForSequenceClassification
        with torch.random.fork_rng():
            torch.manual_seed(0)
            whole = kind.from_config(model.config, dtype=torch.float32)
            getattr(whole, whole.base_model_prefix).load_state_dict(backbone.state_dict(), strict=False)
            if model.layout.lm is not None and not model.config.tie_word_embeddings:
                torch.nn.init.normal_(whole.get_output_embeddings().weight)
    whole.to(dtype).save_pretrained(folder)
    backbone.float()
    model.files = folder
    return folder


def opened(auto: Any, folder: Path) -> Any:
    """The model as transformers opens what was written, every weight of which must be there, and no other."""
    config = AutoConfig.from_pretrained(folder)
    # SDPA bounds no logits, and transformers takes it before 5.24.
    attn = None if getattr(config, "attn_logit_softcapping", None) is None else "eager"
    model, report = auto.from_pretrained(
        folder, output_loading_info=True, dtype=torch.float32, attn_implementation=attn
    )
    assert not report["missing_keys"] and not report["unexpected_keys"] and not report["mismatched_keys"], report
    return model.eval()


NO_PLACE = ("mistral", "phi3", "gptj")
"""Types whose code in transformers never reads a bias that their base lacks."""


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "vit"])
def test_a_classifier_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    base = stored(model, tmp_path / "base", head=name in ("roberta", "distilbert"))
    if not model.layout.terms:
        add_zero_bias(model, "v")
    terms = tuple(term for term in ("q", "v", "o", "mlp_out") if term in model.layout.terms)
    snapshot = moved(model, terms, head=True, outside=name in ("bert", "gpt2"))
    assert model.layout.model_type in HEADS
    try:
        made = write_merged(snapshot, tmp_path / "merged", base=str(base))
    except UserError as error:
        assert "v" in model.layout.added and "whose model in transformers never has one" in str(error)
        assert model.layout.model_type in NO_PLACE, "this one has a flag"
        assert not (tmp_path / "merged").exists()
        return
    assert made.dtype == "float32" and made.rounding == 0
    peer = opened(AutoModelForSequenceClassification, made.folder)
    write_biases(model, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118
    with torch.no_grad():  # one by one, because these decoders have no token for padding
        rows = [torch.tensor(row)[None] for row in ROWS_OF_IDS]
        theirs = torch.cat([peer(input_ids=row, attention_mask=torch.ones_like(row)).logits for row in rows])
    np.testing.assert_allclose(theirs, logits_here(model, snapshot), atol=1e-5, rtol=1e-5)
    assert tuple(peer.config.id2label.values()) == LABELS


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "vit" and ROWS[CONFIGS[name][0]].lm is not None])
def test_a_language_model_gives_the_same_logits(name: str, tied: bool, tmp_path: Path) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    model.config.tie_word_embeddings = tied
    model.layout = replace(model.layout, lm=replace(model.layout.lm, tied=tied))  # type: ignore[type-var]
    base = stored(model, tmp_path / "base")
    for term in ("v", "q"):
        if term not in model.layout.terms:
            add_zero_bias(model, term)
    snapshot = moved(model, ("q", "v"))
    try:
        made = write_merged(snapshot, tmp_path / "merged", base=str(base))
    except UserError as error:
        assert "never has one" in str(error) and model.layout.model_type in NO_PLACE
        return
    peer = opened(AutoModelForCausalLM, made.folder)
    write_biases(model, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118
    ids = torch.tensor(ROWS_OF_IDS)
    with torch.no_grad():
        theirs = peer(input_ids=ids).logits
        ours = LmHead.of(model).logits(model.backbone(input_ids=ids)[0])
    torch.testing.assert_close(theirs, ours, atol=1e-5, rtol=1e-5)
    assert peer.config.use_cache and peer.config.tie_word_embeddings == tied
    assert ("lm_head.weight" in SafetensorsFile(made.folder / "model.safetensors").tensors) == (not tied)


def test_an_encoder_without_a_head_is_written_without_one(tmp_path: Path) -> None:
    model = tiny("roberta", attn="sdpa", dtype=torch.float32)
    base = stored(model, tmp_path / "base")
    snapshot = moved(model, ("q",))
    peer = opened(AutoModel, write_merged(snapshot, tmp_path / "merged", base=str(base)).folder)
    write_biases(model, {key: snapshot.post(*key) for key in snapshot.keys()})  # noqa: SIM118
    ids = torch.tensor(ROWS_OF_IDS)
    with torch.no_grad():
        torch.testing.assert_close(peer(input_ids=ids)[0], model.backbone(input_ids=ids)[0], atol=1e-5, rtol=1e-5)


def test_added_biases_that_did_not_move_are_left_out(tmp_path: Path) -> None:
    model = tiny("llama", attn="sdpa", dtype=torch.float32)
    base = ModelWeights(stored(model, tmp_path / "base"))
    add_zero_bias(model, "v")
    still = plan_of(moved(model, ()), base)
    assert not still.settings.attention_bias and not any(name.endswith("bias") for name in still.pieces)
    plan = plan_of(moved(model, ("v",)), base)
    zeros = b"".join(plan.pieces["model.layers.0.self_attn.q_proj.bias"].blocks())
    assert plan.settings.attention_bias and zeros == bytes(
        4 * plan.pieces["model.layers.0.self_attn.q_proj.bias"].shape[0]
    )


def test_the_type_of_the_base_is_kept_unless_float32_is_asked_for(tmp_path: Path) -> None:
    model = tiny("gemma3_text", attn="sdpa", dtype=torch.float32)
    model.config.tie_word_embeddings = True
    base = stored(model, tmp_path / "base", torch.bfloat16)
    model = wrap(AutoModel.from_pretrained(base, dtype=torch.float32), id="tiny")
    add_zero_bias(model, "q")
    snapshot = moved(model, ("q",))
    kept = write_merged(snapshot, tmp_path / "kept", base=str(base))
    wide = write_merged(snapshot, tmp_path / "wide", base=str(base), dtype="float32")
    was, now = (SafetensorsFile(folder / "model.safetensors") for folder in (base, kept.folder))
    assert {info.dtype for info in now.tensors.values()} == {"BF16"} and kept.dtype == "bfloat16"
    for name in was.tensors:
        assert b"".join(was.blocks(name)) == b"".join(now.blocks(name)), "weights are copied to the bit"
    assert json.loads((kept.folder / "config.json").read_text())["dtype"] == "bfloat16"
    assert 1e-4 < kept.rounding < 2**-8 and wide.rounding == 0 and wide.dtype == "float32"
    assert wide.bytes == 2 * kept.bytes
    q = snapshot.post("decoder", "q")[1]
    for folder, said in ((kept.folder, torch.tensor(q).bfloat16().float().numpy()), (wide.folder, q)):
        found = SafetensorsFile(folder / "model.safetensors").read("model.layers.1.self_attn.q_proj.bias")
        np.testing.assert_array_equal(found, said)
    wider = opened(AutoModelForCausalLM, wide.folder)
    for name in was.tensors:
        np.testing.assert_array_equal(wider.state_dict()[name].numpy(), was.read(name))


def test_names_of_other_checkpoints_lead_to_the_same_model(tmp_path: Path) -> None:
    """As BERT's own on the Hub: with a prefix, LayerNorms named as in TensorFlow, and a head of pre-training."""
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    snapshot, base = moved(model, ("v", "ln1"), head=True), stored(model, tmp_path / "base")
    plain = {name: b"".join(piece.blocks()) for name, piece in plan_of(snapshot, ModelWeights(base)).pieces.items()}
    tensors = {
        f"bert.{name}".replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
        for name, value in load_file(base / "model.safetensors").items()
    }
    tensors["cls.predictions.bias"] = torch.zeros(VOCABULARY)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    old = plan_of(snapshot, ModelWeights(base)).pieces
    assert old.keys() == plain.keys() and any("LayerNorm.weight" in name for name in old)
    assert all(b"".join(old[name].blocks()) == plain[name] for name in old)


def test_a_base_without_a_pooler_gets_the_one_that_it_was_tuned_with(tmp_path: Path) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    snapshot, base = moved(model, ("v",), head=True), stored(model, tmp_path / "base")
    tensors = {name: value for name, value in load_file(base / "model.safetensors").items() if "pooler" not in name}
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (base / name).write_bytes((bundled_path() / name).read_bytes())
    config = json.loads((base / "config.json").read_text()) | {"vocab_size": 30522}
    (base / "config.json").write_text(json.dumps(config))
    tensors["embeddings.word_embeddings.weight"] = torch.zeros(30522, 32)
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    drawn = load_model(str(base)).backbone.state_dict()["pooler.dense.weight"]
    pieces = plan_of(snapshot, ModelWeights(base)).pieces
    assert b"".join(pieces["bert.pooler.dense.weight"].blocks()) == drawn.numpy().tobytes()
    assert b"".join(pieces["bert.pooler.dense.bias"].blocks()) == snapshot.extra["extra.toy.pooler.bias"].tobytes()


def test_what_the_licence_wants_goes_along_and_no_file_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("roberta", attn="sdpa", dtype=torch.float32)
    base = stored(model, tmp_path / "base")
    (tmp_path / "secret").write_text("ours")
    (base / "LICENSE.txt").write_text("theirs")
    (base / "NOTICE.md").symlink_to(tmp_path / "secret")
    (base / "merges.txt").write_text("a b")
    monkeypatch.setattr(merged_folder, "MAX_FILE", 1000)
    (base / "GEMMA_TERMS.html").write_bytes(bytes(1001))
    merged = write_merged(moved(model, ("v",)), tmp_path / "merged", base=str(base)).folder
    assert {path.name for path in merged.iterdir()} == {"config.json", "model.safetensors", "LICENSE.txt", "merges.txt"}


def test_quantised_weights_are_refused(tmp_path: Path) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    base = stored(model, tmp_path / "base")
    tensors = {
        name: torch.zeros(value.shape, dtype=torch.int8) if value.dim() == 2 else value
        for name, value in load_file(base / "model.safetensors").items()
    }
    save_file(tensors, base / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match="with weights of type I8 of a bert model"):
        plan_of(moved(model, ("v",)), ModelWeights(base))


def test_several_files_open_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    base = tmp_path / "base"
    model.backbone.save_pretrained(base, max_shard_size="20KB")  # type: ignore[operator]
    assert len(list(base.glob("model-*.safetensors"))) > 2
    snapshot = moved(model, ("v",), head=True)
    monkeypatch.setattr(merged_folder, "MAX_SHARD", 20_000)
    many = write_merged(snapshot, tmp_path / "many", base=str(base))
    files = sorted(path.name for path in many.folder.glob("*.safetensors"))
    assert len(files) > 2 and files[0] == f"model-00001-of-{len(files):05d}.safetensors"
    sizes = [sum(info.nbytes for info in SafetensorsFile(many.folder / name).tensors.values()) for name in files]
    assert sum(sizes) == many.bytes and max(sizes) <= 20_000
    monkeypatch.undo()
    one = write_merged(snapshot, tmp_path / "one", base=str(base))
    peers = [opened(AutoModelForSequenceClassification, folder).state_dict() for folder in (many.folder, one.folder)]
    assert all(torch.equal(peers[0][name], peers[1][name]) for name in peers[1])


def test_memory_is_that_of_a_block_not_of_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    base = stored(model, tmp_path / "base")
    path = base / "model.safetensors"
    held = {name: SafetensorsFile(path).read(name) for name in SafetensorsFile(path).tensors}
    held["embeddings.word_embeddings.weight"] = np.zeros((2**18, 32), np.float32)  # 32 MB
    write_safetensors(path, held, {"format": "pt"})
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps(config | {"vocab_size": 2**18}))
    snapshot = moved(model, ("v",), head=True)
    plan = plan_of(snapshot, ModelWeights(base))
    monkeypatch.setattr(safetensors_file, "BLOCK", 2**20)
    tracemalloc.start()
    count = sum(len(block) for piece in plan.pieces.values() for block in piece.blocks())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == plan.bytes > 2**25 and peak < 2**22


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    base, snapshot = stored(model, tmp_path / "base"), moved(model, ("v",), head=True)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))
    try:
        with pytest.raises(NoRoom, match=r"cannot write .*merged: no file may become that large here.*room for"):
            write_merged(snapshot, tmp_path / "merged", base=str(base))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    monkeypatch.setattr(scratch, "free_bytes", lambda folder: 1000)
    with pytest.raises(NoRoom, match=r"cannot write .*merged: the disk is full"):
        write_merged(snapshot, tmp_path / "merged", base=str(base))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base"]


def test_the_folder_is_written_whole_and_only_where_nothing_is(tmp_path: Path) -> None:
    run = RunConfig(task="demo-sentiment", n_train=8, n_eval=20, epochs=1, batch_size=4, max_length=16, device="cpu")
    snapshot = train(run)
    folder = write_merged(snapshot, tmp_path / "model").folder
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {path.name for path in folder.iterdir()}
    assert str(bundled_path()) not in (folder / "config.json").read_text(), "no path of this machine"
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    with pytest.raises(UserError, match="which exists; expected a new or an empty folder"):
        write_merged(snapshot, folder)
    with pytest.raises(UserError, match="but there is no folder"):
        write_merged(snapshot, tmp_path / "no" / "model")
    with pytest.raises(UserError, match="whose biases differ from those the snapshot started from"):
        write_merged(snapshot.with_meta(_of_another_base(snapshot)), tmp_path / "other")
    assert not (tmp_path / "other").exists()


def _of_another_base(snapshot: Snapshot) -> SnapshotMeta:
    return replace(snapshot.meta, model=replace(snapshot.meta.model, fingerprint="0" * 64))


@pytest.mark.parametrize(
    ("part", "value", "said"),
    [
        ("head.dense.bias", np.zeros(3, np.float32), "got a head of head.bias, head.dense.bias, head.weight"),
        ("head.bias", None, "got a head of head.weight; expected head.bias, head.weight"),
        ("head.weight", np.zeros((3, 5), np.float32), r"got classifier.weight of shape \(3, 5\)"),
        ("pooler.bias", np.zeros(5, np.float32), r"got pooler.dense.bias of shape \(5,\)"),
        ("outside.bias", np.zeros(1, np.float32), "got 1 biases outside of the layers"),
    ],
)
def test_a_strangers_head_is_refused(part: str, value: np.ndarray | None, said: str, tmp_path: Path) -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    base = ModelWeights(stored(model, tmp_path / "base"))
    whole = moved(model, ("v",), head=True)
    extra = dict(whole.extra) | ({} if value is None else {f"extra.toy.{part}": value})
    if value is None:
        del extra[f"extra.toy.{part}"]
    pre, post = ({key: read(*key) for key in whole.keys()} for read in (whole.pre, whole.post))  # noqa: SIM118
    with pytest.raises(UserError, match=said):
        plan_of(Snapshot.build(whole.meta, pre, post, extra=extra), base)
