"""Folders for the Hub: written whole, taken again where they are equal, nothing of this machine in them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from example_models import bert_tensors, write_model
from example_snapshots import base, example

from beft_core.errors import UserError
from beft_core.exchange.checkpoints import extract
from beft_core.exchange.peft_adapter import import_peft
from beft_core.publishing import folder as folders
from beft_core.publishing.folder import FILES, HubFolder, base_of, publication_of, repo_of, write_hub_folder
from beft_core.snapshots.adapter_folder import CONFIG, WEIGHTS, AdapterFolder, read_adapter
from beft_core.snapshots.snapshot import ModelInfo, Snapshot, adapter_beside, read_snapshot, write_snapshot
from beft_core.training.preconditions import own_adapter


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_model(tmp_path / "base", bert_tensors())


def moved(model: Path, term: str = "v") -> Snapshot:
    """A fine-tune that moved one term of a model in a folder."""
    start = extract(model, model, task="sst2")
    pre = {key: start.pre(*key) for key in start.keys()}  # noqa: SIM118
    post = pre | {("encoder", term): pre["encoder", term] + np.float32(0.5)}
    meta = dataclasses.replace(
        start.meta, model=dataclasses.replace(start.meta.model, folder=str(model)), mode="terms", trained_terms=(term,)
    )
    return Snapshot.build(meta, pre, post)


def written(snapshot: Snapshot, out: Path, repo: str = "org/name") -> HubFolder:
    file = out.parent / "own.beft.safetensors"
    write_snapshot(file, snapshot)
    return write_hub_folder(publication_of(read_snapshot(file), file, repo), out)


def test_a_folder_holds_what_others_need_and_nothing_of_this_machine(model: Path, tmp_path: Path) -> None:
    snapshot = moved(model)
    made = written(snapshot, tmp_path / "out")
    assert [name for name, _ in made.files] == list(FILES) == [n for n in FILES if (tmp_path / "out" / n).is_file()]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(FILES)
    assert dict(made.files) == {name: (tmp_path / "out" / name).stat().st_size for name in FILES}
    for name in FILES:
        assert str(tmp_path).encode() not in (tmp_path / "out" / name).read_bytes()
    back = import_peft(tmp_path / "out", model)
    np.testing.assert_allclose(back.post("encoder", "v"), snapshot.post("encoder", "v"), atol=1e-6)
    config = json.loads((tmp_path / "out" / CONFIG).read_text())
    assert config["base_model_name_or_path"] is None, "the name of a folder here is another model's on the Hub"
    there = read_snapshot(tmp_path / "out" / "snapshot.beft.safetensors")
    assert there.meta.model.folder is None and there.meta.model.fingerprint == snapshot.meta.model.fingerprint


def test_what_is_there_is_taken_where_it_is_equal_but_for_the_card(model: Path, tmp_path: Path) -> None:
    snapshot, out = moved(model), tmp_path / "out"
    assert not written(snapshot, out).there
    before = {name: (out / name).read_bytes() for name in FILES}
    again = written(snapshot, out)
    assert again.there and not again.edited
    (out / "README.md").write_text((out / "README.md").read_text() + "\nBy hand.\n")
    again = written(snapshot, out)
    assert again.there and again.edited and (out / "README.md").read_text().endswith("By hand.\n")
    assert {name: (out / name).read_bytes() for name in FILES[1:]} == {name: before[name] for name in FILES[1:]}
    assert not list(tmp_path.glob(".out*"))


def test_a_licence_that_is_named_is_never_lost_to_the_card_that_is_there(model: Path, tmp_path: Path) -> None:
    out, file = tmp_path / "out", tmp_path / "own.beft.safetensors"
    written(moved(model), out)
    licensed = publication_of(read_snapshot(file), file, "org/name", license="mit")
    with pytest.raises(UserError, match="with the licence 'unknown' instead of 'mit'"):
        write_hub_folder(licensed, out)
    card = out / "README.md"
    card.write_text(card.read_text().replace("license: unknown", "license: mit"))
    assert write_hub_folder(licensed, out).edited and written(moved(model), out).edited


def _other(out: Path) -> None:
    (out / "adapter_model.safetensors").write_bytes(b"other")


def _linked(out: Path) -> None:
    (out / "scores.svg").unlink()
    (out / "scores.svg").symlink_to("/etc/hostname")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_other, "has another adapter_model.safetensors"),
        (_linked, "has no file scores.svg"),
        (lambda out: (out / ".env").write_text("SECRET=1"), r"has \.env too"),
        (lambda out: (out / "more").mkdir(), "has more too"),
        (lambda out: (out / CONFIG).unlink(), "has no file adapter_config.json"),
        (lambda out: (out / "README.md").write_text("# without front matter"), "without a front matter|does not read"),
        (lambda out: (shutil.rmtree(out), out.write_text("x")), "which is not a folder"),
    ],
)
def test_anything_else_is_refused_and_stays(change: object, said: str, model: Path, tmp_path: Path) -> None:
    snapshot, out = moved(model), tmp_path / "out"
    written(snapshot, out)
    change(out)  # type: ignore[operator]
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(UserError, match=said):
        written(snapshot, out)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_where_peft_cannot_hold_it_there_is_no_adapter_but_the_reason(model: Path, tmp_path: Path) -> None:
    made = written(moved(model, "ln1"), tmp_path / "out")
    assert CONFIG not in dict(made.files)
    assert "There is no PEFT adapter here: moved encoder.ln1" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(UserError, match="is not the base model"):  # that is no such reason
        other = write_model(tmp_path / "else", bert_tensors(1))
        file = tmp_path / "own.beft.safetensors"
        publication_of(read_snapshot(file), file, "org/name", base=str(other))


def test_an_adapter_snapshot_takes_its_adapter_with_it(tmp_path: Path) -> None:
    adapter = AdapterFolder({"peft_type": "LORA", "base_model_name_or_path": "x"}, {"a": np.ones(3, np.float32)})
    pre = base()
    still = example(pre=pre, size=0.0, mode="lora", trained_terms=(), provenance={"adapter": adapter.digest()})
    file = tmp_path / "lora.beft.safetensors"
    still.adapter = adapter
    write_snapshot(file, still)
    made = publication_of(read_snapshot(file), file, "org/name")
    out = write_hub_folder(made, tmp_path / "out").path
    assert sorted(path.name for path in out.iterdir()) == sorted(FILES)
    there = out / "snapshot.beft.safetensors"
    assert own_adapter(read_snapshot(there), there).digest() == adapter.digest()  # at the top, where PEFT looks
    assert read_adapter(out).config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
    other = AdapterFolder(adapter.config, {"a": np.zeros(3, np.float32)})
    other.write(adapter_beside(file))
    with pytest.raises(UserError, match="is not the adapter of lora"):
        publication_of(read_snapshot(file), file, "org/name")
    (adapter_beside(file) / WEIGHTS).unlink()
    with pytest.raises(UserError, match="got no adapter in"):
        publication_of(read_snapshot(file), file, "org/name")


@pytest.mark.parametrize("mode", ["full", "random", "fish"])
def test_weights_that_are_kept_nowhere_are_refused(mode: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="whose weights changed too"):
        publication_of(example(mode=mode), tmp_path / "x", "org/name")


@pytest.mark.parametrize(
    "name",
    [
        "name",
        "a/b/c",
        "../name",
        "org/..",
        "org/-x",
        "org/x--y",
        "org/x.git",
        "org/x y",
        "org/é",
        "/x",
        "org/",
        "o/" + "x" * 97,
    ],
)
def test_names_that_the_hub_does_not_take_are_refused(name: str) -> None:
    with pytest.raises(UserError, match="as a name on the Hub"):
        repo_of(name)


def test_names_that_it_takes() -> None:
    assert repo_of("o/a") == "o/a" and repo_of("my-org/BERT_v.1") == "my-org/BERT_v.1"
    for key, bad in (("base_id", "a\nb"), ("base_id", "../x"), ("license", "MIT\nx: y"), ("license", "")):
        with pytest.raises(UserError, match="got --"):
            publication_of(example(), Path("x"), "org/name", **{key: bad})


def info(id: str, revision: str | None = None, folder: str | None = None) -> ModelInfo:
    return ModelInfo(id, revision, "bert", 3, 8, "0" * 64, folder)


def test_a_base_is_one_of_the_hub_only_where_a_commit_says_so() -> None:
    commit = "a" * 40
    assert base_of(info("org/m", commit)).id == "org/m" and base_of(info("org/m", commit)).revision == commit
    assert base_of(info("bundled")).id == "sentence-transformers/all-MiniLM-L6-v2"
    for other in (info("gpt2"), info("org/m", "main"), info("org/m", commit, "/home/me/m"), info("a](b", commit)):
        assert base_of(other).id is None and base_of(other).revision is None
    assert base_of(info("mine", folder="/x"), "org/m").id == "org/m"


def test_a_full_disk_leaves_nothing(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beft_core.files.scratch.free_bytes", lambda folder: 10)
    with pytest.raises(UserError, match=r"cannot write .*out: the disk is full.*room for"):
        written(moved(model), tmp_path / "out")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".out*"))
    assert folders.MAX_CARD > 10_000
