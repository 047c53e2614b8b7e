"""What an adapter or a model claims is bounded before it is read; an export that breaks off mixes no two adapters."""

from __future__ import annotations

import json
import struct
import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from example_models import HIDDEN, LAYERS, bert_tensors, write_model

from beft_core.errors import UserError
from beft_core.exchange.checkpoints import extract
from beft_core.exchange.peft_adapter import CONFIG, WEIGHTS, export_peft, import_peft
from beft_core.files.safetensors_file import write_safetensors
from beft_core.models import bias_reader
from beft_core.models.bias_reader import ModelWeights
from beft_core.snapshots.snapshot import Snapshot

VALUE = "base_model.model.bert.encoder.layer.{}.attention.self.value.beft_bias"
HEAD = "base_model.model.classifier."


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_model(tmp_path / "base", bert_tensors())


def adapter(folder: Path, head: dict[str, tuple[int, ...]]) -> Path:
    """An adapter whose vectors are ones, with a head of these shapes; the file is sparse."""
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps({"peft_type": "BEFT"}))
    shapes = {VALUE.format(n): (1, HIDDEN) for n in range(LAYERS)} | {
        HEAD + name: shape for name, shape in head.items()
    }
    rows, end = {}, 0
    for name, shape in shapes.items():
        begin, end = end, end + 4 * int(np.prod(shape, dtype=object))
        rows[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, end]}
    header = json.dumps(rows).encode()
    with (folder / WEIGHTS).open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header + np.ones(LAYERS * HIDDEN, np.float32).tobytes())
        file.truncate(8 + len(header) + end)
    return folder


@pytest.mark.parametrize("size", [1e-6, 1e-3, 1.0, 1e3])
def test_a_round_trip_gives_the_same_bits(size: float, base: Path, tmp_path: Path) -> None:
    """But where a value changed by more than it is now: float32 has no vector then that leads to its last bits."""
    start = import_peft(adapter(tmp_path / "ones", {}), base)
    pre = {key: start.pre(*key) for key in start.keys()}  # noqa: SIM118
    own = pre["encoder", "v"]
    moved = (own + size * np.random.default_rng(0).normal(size=own.shape)).astype(np.float32)
    export_peft(Snapshot.build(start.meta, pre, {**pre, ("encoder", "v"): moved}), tmp_path / "out", base=base)
    back = import_peft(tmp_path / "out", base).post("encoder", "v")
    kept = np.abs(moved - own) <= np.abs(moved)
    assert kept.mean() > 0.4
    np.testing.assert_array_equal(back[kept], moved[kept])
    np.testing.assert_allclose(back, moved, rtol=1e-5)


@pytest.mark.parametrize(
    "head",
    [
        {"weight": (2**28, HIDDEN)},
        {"weight": (2**30,)},
        {"weight": (3, HIDDEN), "bias": (2**30,)},
        {"weight": (3, HIDDEN + 1)},
        {"weight": (0, HIDDEN)},
        {"weight": ()},
        {"weight": (3, HIDDEN), "bias": (3, 1)},
    ],
    ids=str,
)
def test_a_head_of_another_shape_is_refused_before_it_is_read(
    head: dict[str, tuple[int, ...]], base: Path, tmp_path: Path
) -> None:
    folder = adapter(tmp_path / "a", head)
    tracemalloc.start()
    with pytest.raises(UserError, match=r"classifier\.(weight|bias) is \[.*expected \[classes.*, as the base"):
        import_peft(folder, base)
    assert tracemalloc.get_traced_memory()[1] < 2**22
    tracemalloc.stop()


def test_a_head_of_this_model_is_taken(base: Path, tmp_path: Path) -> None:
    snapshot = import_peft(adapter(tmp_path / "a", {"weight": (3, HIDDEN), "bias": (3,)}), base, task="t")
    assert snapshot.extra["extra.t.head.weight"].shape == (3, HIDDEN)
    assert snapshot.extra["extra.t.head.bias"].shape == (3,)


def test_biases_are_bounded_over_all_layers(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tuned = write_model(tmp_path / "tuned", bert_tensors(1))
    total = sum(array.size for name, array in bert_tensors().items() if name.endswith("bias"))
    monkeypatch.setattr(bias_reader, "MAX_ELEMENTS", total)
    extract(base, tuned)
    monkeypatch.setattr(bias_reader, "MAX_ELEMENTS", total - 1)
    with pytest.raises(UserError, match=f"biases of {total} elements; expected at most {total - 1}"):
        extract(base, tuned)


def test_the_vectors_of_an_adapter_are_bounded_over_all_layers(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A base without biases, to which an adapter adds some: the base's own bound does not see them."""
    config = {
        "model_type": "llama",
        "hidden_size": HIDDEN,
        "num_attention_heads": 2,
        "num_hidden_layers": LAYERS,
        "intermediate_size": 12,
        "attention_bias": False,
    }
    bare = write_model(tmp_path / "llama", {"model.norm.weight": np.ones(HIDDEN, np.float32)}, config)
    folder = tmp_path / "a"
    folder.mkdir()
    (folder / CONFIG).write_text(json.dumps({"peft_type": "BEFT"}))
    name = "base_model.model.model.layers.{}.self_attn.v_proj.beft_bias"
    vectors = {name.format(n): np.ones((1, HIDDEN), np.float32) for n in range(LAYERS)}
    write_safetensors(folder / WEIGHTS, vectors, {})
    monkeypatch.setattr(bias_reader, "MAX_ELEMENTS", LAYERS * HIDDEN)
    assert import_peft(folder, bare).post("decoder", "v").shape == (LAYERS, HIDDEN)
    monkeypatch.setattr(bias_reader, "MAX_ELEMENTS", LAYERS * HIDDEN - 1)
    with pytest.raises(UserError, match="biases of 16 elements"):
        import_peft(folder, bare)


class Crash(BaseException):
    """What ends a process in the middle of a write."""


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


def moved(base: Path, term: str) -> Snapshot:
    layout = ModelWeights(base).layout()
    assert layout is not None
    pre = ModelWeights(base).biases(layout)
    snapshot = extract(base, base)
    post = {key: array + (key[1] == term) for key, array in pre.items()}
    return Snapshot.build(replace(snapshot.meta, trained_terms=(term,)), pre, post)


@pytest.mark.parametrize("crash", [1, 2, 3, 4, 5])
def test_an_export_that_breaks_off_mixes_no_two_adapters(
    crash: int, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ended before its n-th rename, over the folder of another adapter with files of its own."""
    export_peft(moved(base, "v"), tmp_path / "old", base=base)
    export_peft(moved(base, "q"), tmp_path / "new", base=base)
    folder = tmp_path / "a"
    export_peft(moved(base, "v"), folder, base=base)
    (folder / "README.md").write_text("mine")
    calls, real = [0], Path.replace

    def replaced(self: Path, target: Path) -> Path:
        calls[0] += 1
        if calls[0] == crash:
            raise Crash
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replaced)
    try:
        export_peft(moved(base, "q"), folder, base=base)
    except Crash:
        assert crash <= calls[0]
    monkeypatch.undo()
    found = written(folder)
    assert found.pop("README.md") == b"mine"
    if CONFIG in found:
        assert found in (written(tmp_path / "old"), written(tmp_path / "new"))
    else:
        with pytest.raises(UserError, match=f"no {CONFIG}"):
            import_peft(folder, base)
    export_peft(moved(base, "q"), folder, base=base)
    assert written(folder) == written(tmp_path / "new") | {"README.md": b"mine"}
