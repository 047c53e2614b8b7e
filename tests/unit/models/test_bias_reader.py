"""Biases of models on disk: names, fused slices, shards, hostile indices, and the memory of a 13 GB file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from example_models import BERT, HIDDEN, LAYERS, MLP, PATHS, bert_tensors, write_model
from safetensors.numpy import save_file

from beft_core.errors import UserError
from beft_core.exchange.checkpoints import extract
from beft_core.models.bias_reader import ModelWeights
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import fingerprint
from beft_core.terms import TERM_KEYS


@pytest.mark.parametrize("prefix", ["bert.", ""])
@pytest.mark.parametrize("norm", ["bias", "beta"])
def test_prefixes_and_old_names(tmp_path: Path, prefix: str, norm: str) -> None:
    before, after = bert_tensors(0, prefix, norm), bert_tensors(1)
    base, tuned = write_model(tmp_path / "base", before), write_model(tmp_path / "tuned", after)
    snapshot = extract(base, tuned, task="sst2")
    assert [term for _, term in snapshot.keys()] == list(TERM_KEYS)  # noqa: SIM118
    for term, path in PATHS.items():
        kind = norm if term.startswith("ln") else "bias"
        for layer in range(LAYERS):
            np.testing.assert_array_equal(
                snapshot.pre("encoder", term)[layer], before[f"{prefix}encoder.layer.{layer}.{path}.{kind}"]
            )
            np.testing.assert_array_equal(
                snapshot.post("encoder", term)[layer], after[f"bert.encoder.layer.{layer}.{path}.bias"]
            )
    meta = snapshot.meta
    assert (meta.mode, meta.task) == ("imported", "sst2")
    assert (meta.null_terms, meta.trained_terms) == (("k",), TERM_KEYS)
    assert meta.model.id == "base" and meta.provenance == {"base": "base", "tuned": "tuned"}
    pre = {key: snapshot.pre(*key) for key in snapshot.keys()}  # noqa: SIM118
    assert meta.model.fingerprint == fingerprint(pre)
    assert score_snapshot(snapshot).selected()["projection_ratio"] in "qkv"


def test_fused_projections_are_cut(tmp_path: Path) -> None:
    config = {"model_type": "gpt2", "n_embd": HIDDEN, "n_head": 2, "n_layer": 1, "n_inner": MLP}
    widths = {
        "attn.c_attn": 3 * HIDDEN,
        "attn.c_proj": HIDDEN,
        "mlp.c_fc": MLP,
        "mlp.c_proj": HIDDEN,
        "ln_1": HIDDEN,
        "ln_2": HIDDEN,
    }
    tensors = {f"h.0.{name}.bias": np.arange(width, dtype=np.float32) for name, width in widths.items()}
    tensors["h.0.attn.bias"] = np.ones((1, 1, 4, 4), np.float32)  # GPT-2's causal mask, named like a bias
    biases = ModelWeights(write_model(tmp_path / "gpt2", tensors, config))
    layout = biases.layout()
    assert layout is not None
    read = biases.biases(layout)
    for n, term in enumerate("qkv"):
        np.testing.assert_array_equal(read["decoder", term], [np.arange(n * HIDDEN, (n + 1) * HIDDEN)])


def test_half_precision_and_single_files(tmp_path: Path) -> None:
    base = write_model(tmp_path / "base", bert_tensors(0))
    tuned = tmp_path / "tuned.safetensors"
    save_file({name: array.astype(np.float16) for name, array in bert_tensors(1).items()}, tuned)
    snapshot = extract(base / "model.safetensors", tuned)
    expected = bert_tensors(1)["bert.encoder.layer.1.output.dense.bias"].astype(np.float16).astype(np.float32)
    np.testing.assert_array_equal(snapshot.post("encoder", "mlp_out")[1], expected)
    assert snapshot.meta.model.id == "base"


def test_an_added_bias_that_only_some_layers_have_is_no_term(tmp_path: Path) -> None:
    config = {**BERT, "model_type": "llama", "num_hidden_layers": 2}
    bias = np.ones(HIDDEN, np.float32)
    tensors = {f"model.layers.{layer}.self_attn.{p}_proj.bias": bias for layer, p in ((0, "v"), (0, "q"), (1, "q"))}
    weights = ModelWeights(write_model(tmp_path / "some", tensors, config))
    layout = weights.layout()
    assert layout is not None and set(weights.biases(layout)) == {("decoder", "q")}


def _sharded(folder: Path, names: dict[str, str]) -> Path:
    """The small BERT in two shards; `names` changes what the index says."""
    write_model(folder, {"unused": np.ones(1, np.float32)})
    (folder / "model.safetensors").unlink()
    tensors = bert_tensors(0)
    shards = {name: f"model-0000{1 + n % 2}-of-00002.safetensors" for n, name in enumerate(tensors)}
    for shard in set(shards.values()):
        save_file({name: tensors[name] for name in tensors if shards[name] == shard}, folder / shard)
    index = {"metadata": {}, "weight_map": {**shards, **names}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def test_shards(tmp_path: Path) -> None:
    whole, parts = write_model(tmp_path / "whole", bert_tensors(0)), _sharded(tmp_path / "parts", {})
    for source in (parts, parts / "model.safetensors.index.json"):
        snapshot = extract(whole, source)
        assert snapshot.meta.trained_terms == () and len(snapshot.keys()) == 8


@pytest.mark.parametrize(
    "name",
    ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "x.bin", "a\\b.safetensors", "x\0"],
)
def test_an_index_may_only_name_files_beside_it(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="names the file"):
        ModelWeights(_sharded(tmp_path / "parts", {"x": name}))


def test_an_index_that_lies(tmp_path: Path) -> None:
    value = "bert.encoder.layer.0.attention.self.value.bias"
    other = "model-00001-of-00002.safetensors"
    base = write_model(tmp_path / "base", bert_tensors(0))
    for name, reason in (("model-9.safetensors", "cannot read"), (other, "value.bias is nothing")):
        with pytest.raises(UserError, match=reason):
            extract(base, _sharded(tmp_path / "parts", {value: name}))
    index = tmp_path / "parts" / "model.safetensors.index.json"
    for content in ("[]", '{"weight_map": []}', '{"weight_map": {"a": 1}}', "{}"):
        index.write_text(content)
        with pytest.raises(UserError):
            ModelWeights(tmp_path / "parts")


def test_pickles_are_refused(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(UserError, match="pickle"):
        ModelWeights(tmp_path)
    with pytest.raises(UserError, match="pickle"):
        ModelWeights(tmp_path / "pytorch_model.bin")


def _sparse_opt(path: Path, value: float) -> int:
    """A checkpoint of OPT-6.7B's shape in float16, 13.3 GB; only the header and b_v take room on disk."""
    layers, hidden, mlp = 32, 4096, 16384
    shapes: dict[str, list[int]] = {"model.decoder.embed_tokens.weight": [50272, hidden]}
    for n in range(layers):
        root = f"model.decoder.layers.{n}."
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes[f"{root}self_attn.{name}.weight"] = [hidden, hidden]
            shapes[f"{root}self_attn.{name}.bias"] = [hidden]
        shapes |= {f"{root}fc1.weight": [mlp, hidden], f"{root}fc1.bias": [mlp]}
        shapes |= {f"{root}fc2.weight": [hidden, mlp], f"{root}fc2.bias": [hidden]}
        shapes |= {f"{root}{norm}.bias": [hidden] for norm in ("self_attn_layer_norm", "final_layer_norm")}
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    raw = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(len(raw).to_bytes(8, "little") + raw)
        for n in range(layers):
            row = header[f"model.decoder.layers.{n}.self_attn.v_proj.bias"]
            file.seek(8 + len(raw) + row["data_offsets"][0])
            file.write(np.full(hidden, value * (n + 1), "<f2").tobytes())
    os.truncate(path, 8 + len(raw) + end)
    config = {
        "model_type": "opt",
        "hidden_size": hidden,
        "num_attention_heads": 32,
        "num_hidden_layers": layers,
        "ffn_dim": mlp,
    }
    (path.parent / "config.json").write_text(json.dumps(config))
    return 8 + len(raw) + end


def test_thirteen_gigabytes_in_two_hundred_megabytes_of_memory(tmp_path: Path) -> None:
    folders = [tmp_path / "base", tmp_path / "tuned"]
    for folder, value in zip(folders, (1.0, 2.0), strict=True):
        folder.mkdir()
        assert _sparse_opt(folder / "model.safetensors", value) > 13e9
    code = """if True:
        import re, resource, sys
        from pathlib import Path
        from beft_core.exchange.checkpoints import extract
        from beft_core.snapshots.snapshot import write_snapshot
        snapshot = extract(sys.argv[1], sys.argv[2])
        write_snapshot(sys.argv[3], snapshot)
        print(snapshot.meta.trained_terms, float(snapshot.post("decoder", "v")[31, 0]))
        status = Path("/proc/self/status")
        if status.exists():  # getrusage would count the memory of the process that forked this one
            print(1024 * int(re.search(r"VmHWM:\\s+(\\d+)", status.read_text())[1]))
        else:
            print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    command = [sys.executable, "-c", code, *map(str, folders), str(tmp_path / "out.beft.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result, peak = done.stdout.splitlines()
    assert result == "('v',) 64.0"
    assert int(peak) < 200e6
