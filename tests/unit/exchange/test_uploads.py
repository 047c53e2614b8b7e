"""Files from strangers: snapshots, zips made to harm, adapters in both forms, and models before and after."""

from __future__ import annotations

import io
import json
import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from example_models import BERT, HIDDEN, LAYERS, bert_tensors
from example_snapshots import example
from hostile import hostile_snapshots

from beft_core.errors import UserError
from beft_core.exchange import uploads
from beft_core.exchange.uploads import ADAPTER, Model, from_models, opened, receive, unzipped
from beft_core.files.safetensors_file import write_safetensors
from beft_core.snapshots.snapshot import write_snapshot

CONFIG, WEIGHTS = ADAPTER
VALUE = "base_model.model.bert.encoder.layer.{}.attention.self.value.beft_bias"


def file_of(tensors: dict[str, np.ndarray], folder: Path) -> bytes:
    write_safetensors(folder / "scratch", tensors, {"format": "pt"})
    return (folder / "scratch").read_bytes()


@pytest.fixture
def sound(tmp_path: Path) -> bytes:
    write_snapshot(tmp_path / "s", example(full=True))
    return (tmp_path / "s").read_bytes()


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(BERT))
    (folder / "model.safetensors").write_bytes(file_of(bert_tensors(), tmp_path))
    (folder / "vocab.txt").write_text("a")
    return folder


@pytest.fixture
def adapter(tmp_path: Path) -> dict[str, bytes]:
    vectors = {VALUE.format(n): np.full((1, HIDDEN), n + 1, np.float32) for n in range(LAYERS)}
    return {CONFIG: json.dumps({"peft_type": "BEFT"}).encode(), WEIGHTS: file_of(vectors, tmp_path)}


def zipped(files: dict[str, bytes], folder: str = "", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(folder + name, data)
    return buffer.getvalue()


def with_members(*members: tuple[str, bytes, dict[str, Any]]) -> bytes:
    """A zip whose members have attributes of choice."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data, attributes in members:
            info = zipfile.ZipInfo(name)
            for key, value in attributes.items():
                setattr(info, key, value)
            archive.writestr(info, data)
    return buffer.getvalue()


# --- snapshots -----------------------------------------------------------------------------------------------------


def test_every_hostile_snapshot_is_told_alone_and_the_good_ones_are_taken(sound: bytes) -> None:
    hostile = list(hostile_snapshots())
    files = [("good.beft.safetensors", sound), *hostile, ("again.beft.safetensors", sound)]
    answers = receive(files)
    assert [answer.name for answer in answers] == [name for name, _ in files]
    assert answers[0].snapshot is not None and answers[-1].snapshot is not None
    for answer in answers[1:-1]:
        assert answer.snapshot is None and answer.problem is not None, answer.name
        text = str(answer.problem)
        assert "these bytes" not in text and "\n" not in text and text, answer.name


def test_a_file_of_another_kind_is_told_what_it_is(tmp_path: Path, adapter: dict[str, bytes]) -> None:
    with pytest.raises(UserError, match=r"choosing it together with its adapter_config\.json"):
        opened("renamed.safetensors", adapter[WEIGHTS])
    with pytest.raises(UserError, match="“From two models” on the page Compare"):
        opened("model.safetensors", file_of(bert_tensors(), tmp_path))


# --- adapters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["zip", "zip of a folder", "two files", "two files the other way round"])
def test_adapters_become_snapshots(form: str, adapter: dict[str, bytes], base_folder: Path) -> None:
    files = {
        "zip": [("my.zip", zipped(adapter))],
        "zip of a folder": [("my.zip", zipped({**adapter, "README.md": b"x"}, "adapter/"))],
        "two files": list(adapter.items()),
        "two files the other way round": list(adapter.items())[::-1],
    }[form]
    (answer,) = receive(files, str(base_folder))
    assert answer.problem is None and answer.snapshot is not None
    snapshot = answer.snapshot
    assert snapshot.meta.trained_terms == ("v",) and snapshot.meta.mode == "imported"
    moved = snapshot.post("encoder", "v") - snapshot.pre("encoder", "v")
    np.testing.assert_allclose(moved, [[n + 1] * HIDDEN for n in range(LAYERS)], rtol=1e-6)


def test_an_adapter_of_another_base_asks_for_it(adapter: dict[str, bytes], base_folder: Path) -> None:
    adapter[CONFIG] = json.dumps({"peft_type": "BEFT", "base_model_name_or_path": "org/other"}).encode()
    (answer,) = receive([("a.zip", zipped(adapter))])
    assert "an adapter of the base model org/other" in str(answer.problem)
    assert receive([("a.zip", zipped(adapter))], str(base_folder))[0].snapshot is not None


@pytest.mark.parametrize(
    ("base", "words"),
    [("/no/such/folder", "not a folder"), ("org/unknown", "downloads are off"), ("../x\0y", "x")],
)
def test_a_base_that_is_not_here_is_told_and_never_fetched(base: str, words: str, adapter: dict[str, bytes]) -> None:
    (answer,) = receive([("a.zip", zipped(adapter))], base)
    assert words in str(answer.problem)


def test_an_adapter_that_does_not_fit_names_no_place_of_this_machine(adapter: dict[str, bytes]) -> None:
    (answer,) = receive([("a.zip", zipped(adapter))], "bundled")
    assert "has 8 elements; expected 384" in str(answer.problem) and "/" not in str(answer.problem).split(":")[0]
    adapter[CONFIG] = b'{"peft_type": "LORA"}'
    assert "type LORA; expected BEFT" in str(receive([("a.zip", zipped(adapter))], "bundled")[0].problem)


def test_halves_of_adapters_are_told_and_disturb_nothing(adapter: dict[str, bytes], sound: bytes) -> None:
    half, good = receive([(WEIGHTS, adapter[WEIGHTS]), ("s.beft.safetensors", sound)])
    assert f"expected {CONFIG} with it" in str(half.problem) and good.snapshot is not None
    answers = receive([*adapter.items(), *adapter.items()])
    assert len(answers) == 4 and all("one adapter after the other" in str(answer.problem) for answer in answers)


# --- zips made to harm ---------------------------------------------------------------------------------------------


def _crooked(adapter: dict[str, bytes]) -> dict[str, bytes]:
    """What is wrong -> a zip."""
    good = zipped(adapter)
    link = {"external_attr": (stat.S_IFLNK | 0o777) << 16}
    zeros = bytes(8 * 2**20)
    shrunk = bytearray(good)
    at = shrunk.index(b"PK\x01\x02") + 24
    shrunk[at : at + 4] = struct.pack("<I", 3)
    grown = bytearray(good)
    grown[at : at + 4] = struct.pack("<I", int.from_bytes(good[at : at + 4], "little") + 3)
    claims = bytearray(good)
    claims[at : at + 4] = struct.pack("<I", 2**31)
    broken = bytearray(good)
    broken[60:70] = b"\xff" * 10
    end = good.rindex(b"PK\x05\x06")
    large = bytearray(good)
    large[end + 12 : end + 16] = struct.pack("<I", 2**31)
    locked = bytearray(good)
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    return {
        "empty zip": zipped({}),
        "cut": good[:-40],
        "only its end": good[end:],
        "not a zip": b"PK\x03\x04" + bytes(100),
        "damaged data": bytes(broken),
        "claims fewer bytes": bytes(shrunk),
        "claims three bytes more": bytes(grown),
        "claims 2 GB": bytes(claims),
        "a directory of 2 GB": bytes(large),
        "two ends": good + good,
        "encrypted": bytes(locked),
        "zip64": good[:end] + b"PK\x06\x07" + bytes(16) + good[end:],
        "bomb": zipped({CONFIG: adapter[CONFIG], WEIGHTS: zeros}),
        "config bomb": zipped({CONFIG: zeros, WEIGHTS: adapter[WEIGHTS]}),
        "lzma": zipped(adapter, method=zipfile.ZIP_LZMA),
        "65 files": zipped({**adapter, **{f"{n}": b"" for n in range(65)}}),
        "100 000 files": zipped({f"{n}": b"" for n in range(100_000)}, method=zipfile.ZIP_STORED),
        "a link": with_members((CONFIG, b"/etc/passwd", link), (WEIGHTS, adapter[WEIGHTS], {})),
        "twice": with_members((CONFIG, b"{}", {}), (f"x/{CONFIG}", b"{}", {}), (WEIGHTS, b"", {})),
        "a pickle": zipped({"archive/data.pkl": b"x"}),
        "a pickled adapter": zipped({CONFIG: adapter[CONFIG], "adapter_model.bin": b"x"}),
        "config is a list": zipped({**adapter, CONFIG: b"[]"}),
        "config is deep": zipped({**adapter, CONFIG: b'{"a":' * 50_000}),
        "weights are junk": zipped({**adapter, WEIGHTS: b"junk"}),
        "weights are a snapshot": zipped({**adapter, WEIGHTS: next(data for _, data in hostile_snapshots())}),
    }


def test_every_crooked_zip_is_told_in_one_line_and_cheaply(adapter: dict[str, bytes], base_folder: Path) -> None:
    for name, data in _crooked(adapter).items():
        tracemalloc.start()
        (answer,) = receive([(f"{name}.zip", data)], str(base_folder))
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert answer.snapshot is None and answer.problem is not None, name
        assert "\n" not in str(answer.problem) and str(answer.problem), name
        assert peak < 4e6 + 2 * len(data), (name, peak)


def test_nothing_is_written_where_a_zip_says(adapter: dict[str, bytes], base_folder: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    for folder in ("../../", "/tmp/", "..\\..\\", str(tmp_path / "evil") + "/"):
        (answer,) = receive([("x.zip", zipped(adapter, folder))], str(base_folder))
        assert answer.snapshot is not None  # the path inside is not used for anything
    assert sorted(tmp_path.rglob("*")) == before


def test_a_pickle_is_told_as_such(adapter: dict[str, bytes]) -> None:
    with pytest.raises(UserError, match="a pickle, which is never read"):
        unzipped(zipped({CONFIG: adapter[CONFIG], "adapter_model.bin": b"x"}))


def test_sound_zips_of_zeros_are_not_bombs(adapter: dict[str, bytes]) -> None:
    files = {CONFIG: b" " * 1000, WEIGHTS: bytes(uploads.FREE_BYTES)}
    assert unzipped(zipped(files)) == files


# --- models before and after ---------------------------------------------------------------------------------------


def tuned(seed: int = 0) -> dict[str, np.ndarray]:
    return {n: a + (1 if "value.bias" in n else 0) for n, a in bert_tensors(seed).items()}


@pytest.mark.parametrize("form", ["bytes", "places", "bytes after a place"])
def test_two_models_become_a_snapshot(form: str, tmp_path: Path, base_folder: Path) -> None:
    after = file_of(tuned(), tmp_path)
    (tmp_path / "after.safetensors").write_bytes(after)
    before = Model(data=(base_folder / "model.safetensors").read_bytes(), name="pre/../<b>.safetensors")
    config = json.dumps(BERT).encode()
    snapshot = {
        "bytes": lambda: from_models(before, Model(data=after, name="post.safetensors"), config),
        "places": lambda: from_models(Model(str(base_folder)), Model(f" {tmp_path / 'after.safetensors'} ")),
        "bytes after a place": lambda: from_models(Model(str(base_folder)), Model(data=after, name="post.safetensors")),
    }[form]()
    assert snapshot.meta.trained_terms == ("v",)
    np.testing.assert_allclose(snapshot.post("encoder", "v") - snapshot.pre("encoder", "v"), 1, rtol=1e-5)
    assert snapshot.meta.model.id == ("pre/../<b>.safetensors" if form == "bytes" else "base")
    assert snapshot.meta.provenance == {
        "base": snapshot.meta.model.id,
        "tuned": "after.safetensors" if form == "places" else "post.safetensors",
    }


def test_models_that_are_missing_or_do_not_fit_are_told(tmp_path: Path, base_folder: Path) -> None:
    good, after = Model(str(base_folder)), Model(data=file_of(tuned(), tmp_path), name="m")
    alone = Model(data=(base_folder / "model.safetensors").read_bytes(), name="m")
    for arguments, words in (
        ((Model(), after), "no model before the fine-tune"),
        ((good, Model()), "no model after the fine-tune"),
        ((alone, after), "try giving the config.json too"),
        ((alone, after, b"[]"), "expected a JSON object"),
        ((Model("/no/such"), after), "not a folder"),
        ((good, Model(data=b"junk", name="m")), "4 bytes"),
        ((good, Model("bundled")), "expected"),
    ):
        with pytest.raises(UserError, match=words) as caught:
            from_models(*arguments)  # type: ignore[arg-type]
        assert "/beft-" not in str(caught.value), words
