"""Broken snapshot files, generated: whoever reads snapshots must answer each with one line, and cheaply."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from example_snapshots import LAYERS, WIDTH, example

from beft_core.snapshots.snapshot import Snapshot

Header = dict[str, Any]
V = "encoder.v"
NBYTES = LAYERS * WIDTH * 4


def parts(snapshot: Snapshot | None = None) -> tuple[Header, bytes]:
    """A sound snapshot of one term as (header, data), to be broken; offsets as `file_bytes` expects them."""
    snapshot = snapshot or example(full=True)
    header: Header = {"__metadata__": {"beft": snapshot.meta.to_json()}}
    data = b""
    for name, array in snapshot.tensors().items():
        raw = array.tobytes()
        kind = "I64" if array.dtype == np.int64 else "F32"
        header[name] = {
            "dtype": kind,
            "shape": list(array.shape),
            "data_offsets": [len(data), len(data) + len(raw)],
        }
        data += raw
    return header, data


def file_bytes(header: Header | str | bytes, data: bytes, length: int | None = None) -> bytes:
    """A safetensors file; `length` overrides what it claims its header's length to be."""
    if isinstance(header, dict):
        header = json.dumps(header)
    raw = header.encode("utf-8", "surrogatepass") if isinstance(header, str) else header
    return (len(raw) if length is None else length).to_bytes(8, "little") + raw + data


def _with_meta(change: Callable[[dict[str, Any]], Any]) -> bytes:
    """The sound file with its metadata changed in place, or replaced by what `change` returns."""
    header, data = parts()
    table = json.loads(header["__metadata__"]["beft"])
    replaced = change(table)
    header["__metadata__"]["beft"] = replaced if isinstance(replaced, str) else json.dumps(table)
    return file_bytes(header, data)


def _with_header(change: Callable[[Header], Any]) -> bytes:
    header, data = parts()
    change(header)
    return file_bytes(header, data)


def _with_values(name: str, value: float, dtype: str = "<f4") -> bytes:
    header, data = parts()
    begin, end = header[name]["data_offsets"]
    raw = np.frombuffer(data[begin:end], dtype).copy()
    raw[-1] = value
    return file_bytes(header, data[:begin] + raw.tobytes() + data[end:])


def _renamed(old: str, new: str) -> bytes:
    return _with_header(lambda header: header.update({new: header.pop(old)}))


def _reshaped(name: str, *shape: Any) -> bytes:
    return _with_header(lambda header: header[name].update(shape=list(shape)))


def _field(name: str, value: Any) -> bytes:
    return _with_meta(lambda meta: meta.update({name: value}))


def _model(name: str, value: Any) -> bytes:
    return _with_meta(lambda meta: meta["model"].update({name: value}))


def _lone(*tensors: tuple[str, str, list[int], int]) -> bytes:
    """A file of exactly these tensors (name, dtype, shape, bytes), with sound metadata."""
    header: Header = {"__metadata__": parts()[0]["__metadata__"]}
    end = 0
    for name, dtype, shape, nbytes in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [end, end + nbytes]}
        end += nbytes
    return file_bytes(header, bytes(end))


def _zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"v": [1.0]}))
    return buffer.getvalue()


def hostile_snapshots() -> Iterator[tuple[str, bytes]]:
    """(what is broken, the bytes of a file). All differ from a sound snapshot in that one thing."""
    header, data = parts()
    sound = file_bytes(header, data)
    text = json.dumps(header)
    first = next(name for name in header if name != "__metadata__")

    # not a safetensors file at all
    yield "empty file", b""
    yield "seven bytes", b"1234567"
    yield "only a length", sound[:8]
    yield "zeros", bytes(4096)
    yield "random bytes", np.random.default_rng(0).bytes(4096)
    yield "pickle", pickle.dumps({"encoder.v.pre": [1.0, 2.0]})
    yield "zip, as torch.save writes", _zip()
    yield "a web page", b"<!doctype html><html><body>404: Not Found</body></html>"
    yield "git lfs pointer", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n"

    # header length
    yield "header of 2**60 bytes", file_bytes(header, data, 2**60)
    yield "header of 2**64 - 1 bytes", file_bytes(header, data, 2**64 - 1)
    yield "header one byte longer than the file", file_bytes(header, b"", len(text) + 1)
    yield "header of no bytes", file_bytes(b"", data)
    yield "header cut short", file_bytes(header, data, len(text) // 2)
    yield "header larger than any snapshot's", file_bytes(text + " " * 2**23, data)
    yield "torn in the header", sound[: len(text) // 2]
    yield "torn in the data", sound[:-5]
    yield "trailing bytes", sound + b"\0" * 4

    # header JSON
    yield "not UTF-8", file_bytes(b'{"\xff\xfe": 1}', b"")
    yield "a list", file_bytes("[]", b"")
    yield "not JSON", file_bytes('{"a": }', b"")
    yield "two values", file_bytes('{"__metadata__": {}} {}', b"")
    yield "deep lists", file_bytes('{"a":' + "[" * 100_000, b"")
    yield "deep objects", file_bytes('{"a":' * 100_000, b"")
    yield "duplicate tensor", file_bytes(text[:-1] + f', "{first}": {json.dumps(header[first])}}}', data)
    yield "duplicate key in a row", file_bytes(text.replace('"dtype"', '"dtype": "F32", "dtype"', 1), data)
    yield "NaN in the header", file_bytes('{"a": NaN}', b"")
    yield "integer of 10 000 digits", file_bytes('{"a": ' + "9" * 10_000 + "}", b"")
    yield "no metadata", _with_header(lambda h: h.pop("__metadata__"))
    yield "metadata is a list", _with_header(lambda h: h.update(__metadata__=[]))
    yield "metadata value is a number", _with_header(lambda h: h["__metadata__"].update(x=1))
    yield "metadata of another program", _with_header(lambda h: h.update(__metadata__={"format": "pt"}))

    # rows of the header
    yield "row is a number", _with_header(lambda h: h.update({first: 1}))
    yield "row without shape", _with_header(lambda h: h[first].pop("shape"))
    yield "row with an unknown key", _with_header(lambda h: h[first].update(evil=1))
    yield "unknown dtype", _with_header(lambda h: h[first].update(dtype="F33"))
    yield "dtype is a list", _with_header(lambda h: h[first].update(dtype=["F32"]))
    yield "negative size", _reshaped(first, -LAYERS, -WIDTH)
    yield "fractional size", _reshaped(first, float(LAYERS), WIDTH)
    yield "boolean size", _reshaped(first, True, WIDTH)
    yield "size as text", _reshaped(first, str(LAYERS), WIDTH)
    yield "shape is a number", _with_header(lambda h: h[first].update(shape=LAYERS * WIDTH))
    yield "shape larger than the bytes", _reshaped(first, LAYERS + 1, WIDTH)
    yield "shape whose product overflows", _reshaped(first, 2**32, 2**32, 2**32)
    yield "2**62 elements of nothing", _reshaped(first, 0, 2**62)
    yield "a thousand dimensions", _reshaped(first, *[1] * 1000, LAYERS, WIDTH)
    yield (
        "offset beyond the file",
        _with_header(lambda h: h[first].update(data_offsets=[2**40, 2**40 + NBYTES])),
    )
    yield "offset of 2**70", _with_header(lambda h: h[first].update(data_offsets=[2**70, 2**70 + NBYTES]))
    yield "offsets reversed", _with_header(lambda h: h[first].update(data_offsets=[NBYTES, 0]))
    yield "offset negative", _with_header(lambda h: h[first].update(data_offsets=[-NBYTES, 0]))
    yield "offsets of three", _with_header(lambda h: h[first].update(data_offsets=[0, NBYTES, NBYTES]))
    yield (
        "tensors overlap",
        _with_header(lambda h: h[f"{V}.post"].update(data_offsets=h[f"{V}.pre"]["data_offsets"])),
    )
    yield (
        "hole before the first tensor",
        file_bytes(
            {
                name: row if name == "__metadata__" else {**row, "data_offsets": [8 + x for x in row["data_offsets"]]}
                for name, row in header.items()
            },
            bytes(8) + data,
        ),
    )

    # names, ranks and shapes of a snapshot
    yield "post is missing", _lone((f"{V}.pre", "F32", [LAYERS, WIDTH], NBYTES))
    yield "pre is missing", _lone((f"{V}.post", "F32", [LAYERS, WIDTH], NBYTES))
    yield (
        "pre and post differ in shape",
        _lone((f"{V}.pre", "F32", [LAYERS, WIDTH], NBYTES), (f"{V}.post", "F32", [WIDTH, LAYERS], NBYTES)),
    )
    yield "no tensors", _lone()
    yield "no layers", _lone((f"{V}.pre", "F32", [0, WIDTH], 0), (f"{V}.post", "F32", [0, WIDTH], 0))
    yield (
        "fewer layers than the model",
        _lone((f"{V}.pre", "F32", [1, WIDTH], 4 * WIDTH), (f"{V}.post", "F32", [1, WIDTH], 4 * WIDTH)),
    )
    yield (
        "flat tensors",
        _lone((f"{V}.pre", "F32", [LAYERS * WIDTH], NBYTES), (f"{V}.post", "F32", [LAYERS * WIDTH], NBYTES)),
    )
    yield (
        "half precision",
        _lone(
            (f"{V}.pre", "F16", [LAYERS, WIDTH], NBYTES // 2),
            (f"{V}.post", "F16", [LAYERS, WIDTH], NBYTES // 2),
        ),
    )
    yield "unknown stack", _renamed(f"{V}.pre", "cross.v.pre")
    yield "unknown term", _renamed(f"{V}.pre", "encoder.w.pre")
    yield "unknown part", _renamed(f"{V}.fisher", f"{V}.hessian")
    yield "raw path as a name", _renamed(f"{V}.pre", "encoder.layer.0.attention.self.value.bias")
    yield "control characters in a name", _renamed(f"{V}.pre", "encoder.v\x1b[31m\n.pre")
    yield "lone surrogate in a name", _renamed(f"{V}.pre", "\ud800")
    yield "very long name", _renamed(f"{V}.pre", "v" * 100_000)
    yield "unknown extra", _renamed("extra.task1.head.bias", "extra.task1.weights")
    yield "extra without a task", _renamed("extra.task1.head.bias", "extra.head.bias")
    yield "extra of the wrong rank", _reshaped("extra.task1.head.weight", 2 * WIDTH)
    yield (
        "head with three rows for two labels",
        _field("heads", {"task1": {"kind": "classification", "labels": ["a", "b", "c"]}}),
    )
    yield (
        "trajectory without steps",
        _with_header(lambda h: [h.update({f"decoder.{t}.fisher": h.pop(f"encoder.{t}.steps")}) for t in "qkv"]),
    )
    yield "steps without trajectory", _renamed("trajectory.step", "trajectory.stride")

    # metadata
    yield "metadata not JSON", _with_meta(lambda meta: "{")
    yield "metadata empty", _with_meta(lambda meta: "{}")
    yield "metadata a list in text", _with_meta(lambda meta: "[]")
    yield "metadata deep", _with_meta(lambda meta: '{"a":' * 50_000)
    yield "version 2", _field("format_version", 2)
    yield "version as text", _field("format_version", "1")
    yield "version true", _field("format_version", True)
    yield "no version", _with_meta(lambda meta: [meta.pop("format_version")])
    yield "no model", _with_meta(lambda meta: [meta.pop("model")])
    yield "model is a text", _field("model", "bert")
    yield "no task", _with_meta(lambda meta: [meta.pop("task")])
    yield "task is a number", _field("task", 3)
    yield "task with a newline", _field("task", "sst2\nevil")
    yield "fingerprint too short", _model("fingerprint", "abc")
    yield "layers is zero", _model("layers", 0)
    yield "layers is a text", _model("layers", "3")
    yield "layers is 2**70", _model("layers", 2**70)
    yield "hidden size negative", _model("hidden_size", -1)
    yield "unknown mode", _field("mode", "magic")
    yield "unknown trained term", _field("trained_terms", ["v", "z"])
    yield "trained term twice", _field("trained_terms", ["v", "v"])
    yield "trained terms as a text", _field("trained_terms", "v")
    yield "trained terms hold tables", _field("trained_terms", [{}])
    yield "null term unknown", _field("null_terms", ["b_k"])
    yield "null elements as a list", _field("null_elements", [[0, 4]])
    yield "null elements of no term", _field("null_elements", {"z": [[0, 4]]})
    yield "null elements that overlap", _field("null_elements", {"k": [[0, 4], [3, 6]]})
    yield "null elements as texts", _field("null_elements", {"k": [["0", "4"]]})
    yield "null elements as a number", _field("null_elements", {"k": 4})
    yield "null elements beyond the width", _field("null_elements", {"k": [[4, 9]]})
    yield "trained layer beyond the model", _field("layers", [LAYERS])
    yield "seed fractional", _field("seed", 0.5)
    yield "examples negative", _field("n_train", -1)
    yield "metrics is a table", _field("metrics", {})
    yield "metric is a text", _field("metrics", [{"accuracy": "0.9"}])
    yield (
        "metric infinite",
        _with_meta(lambda meta: json.dumps(meta).replace('"accuracy": 0.8', '"accuracy": 1e999')),
    )
    yield (
        "metric not a number",
        _with_meta(lambda meta: json.dumps(meta).replace('"accuracy": 0.8', '"accuracy": NaN')),
    )
    yield "wall seconds negative", _field("wall_seconds", -1.0)
    yield "versions hold numbers", _field("versions", {"torch": 2})
    yield "head of an unknown kind", _field("heads", {"task1": {"kind": "oracle"}})
    yield "head is a list", _field("heads", {"task1": []})
    yield "hyper-parameters too deep", _field("hyperparameters", json.loads('{"a":' * 50 + "1" + "}" * 50))
    yield "hyper-parameter of 30 digits", _field("hyperparameters", {"lr": 10**30})

    # values, found when they are read
    yield "NaN in pre", _with_values(f"{V}.pre", np.nan)
    yield "infinity in post", _with_values(f"{V}.post", np.inf)
    yield "minus infinity in fisher", _with_values(f"{V}.fisher", -np.inf)
    for part in ("fisher", "fisher_batch", "fisher_tuned"):
        yield f"negative {part}", _with_values(f"{V}.{part}", -1.0)
    yield "NaN in steps", _with_values(f"{V}.steps", np.nan)
    yield "NaN in head", _with_values("extra.task1.head.weight", np.nan)
    yield "steps go back", _with_values("trajectory.step", -5, "<i8")
    yield "a step twice", _with_values("trajectory.step", 0, "<i8")  # the first is 0 too
