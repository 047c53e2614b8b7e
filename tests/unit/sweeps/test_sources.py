"""What a sweep is trained on, by what the files hold: another model or other data under the same name is refused."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from example_models import bert_tensors, write_model

from beft_core.errors import UserError
from beft_core.sweeps.sources import sources_of
from beft_core.sweeps.spec import SweepSpec
from beft_core.sweeps.store import SweepFolder


def spec(**settings: Any) -> SweepSpec:
    return SweepSpec(tasks=("rte",), terms=("v",), n_train=(8,), seeds=(0,), settings=settings)


def write_rte(folder: Path, label: str = "entailment") -> Path:
    (folder / "RTE").mkdir(parents=True, exist_ok=True)
    for name in ("train", "dev"):
        rows = "".join(f"{i}\tA {name}\tB\t{label if i else 'not_entailment'}\n" for i in range(3))
        (folder / "RTE" / f"{name}.tsv").write_text(f"index\tsentence1\tsentence2\tlabel\n{rows}")
    return folder


@pytest.fixture(autouse=True)
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No benchmark is on this machine, and commands run in a folder of their own."""
    monkeypatch.delenv("BEFT_GLUE_DIR", raising=False)
    monkeypatch.chdir(tmp_path)


def test_the_same_files_have_the_same_digest_wherever_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_model(tmp_path / "M", bert_tensors())
    first = sources_of(spec(model="M", data_dir=str(write_rte(tmp_path / "a"))))
    assert sorted(first) == ["the data of rte", "the model M"]
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    (tmp_path / "elsewhere").mkdir()
    shutil.copytree(tmp_path / "M", tmp_path / "elsewhere" / "M")
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path / "b"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert sources_of(spec(model="M")) == first
    write_rte(tmp_path / "b", "not_entailment")
    write_model(tmp_path / "elsewhere" / "M", bert_tensors(1))
    changed = sources_of(spec(model="M"))
    assert changed.keys() == first.keys() and not set(changed.values()) & set(first.values())


def test_what_is_not_in_folders_of_ones_own_is_known_by_its_name(tmp_path: Path) -> None:
    assert sources_of(spec()) == sources_of(spec(model="an-org/a-model")) == {}
    assert sources_of(SweepSpec(terms=("v",))) == {}
    (tmp_path / "m.gguf").write_bytes(b"GGUF")
    assert list(sources_of(spec(model=str(tmp_path / "m.gguf")))) == [f"the model {tmp_path / 'm.gguf'}"]


def test_a_sweep_does_not_go_on_with_another_model_or_other_data(tmp_path: Path) -> None:
    write_model(tmp_path / "M", bert_tensors())
    grid = spec(model="M", data_dir=str(write_rte(tmp_path / "a")))
    folder = SweepFolder(tmp_path / "sweep")
    folder.begin(grid)
    assert folder.continued(grid) == grid
    shutil.copytree(tmp_path / "a", tmp_path / "copy")
    folder.continued(spec(model="M", data_dir=str(tmp_path / "copy")))
    other = spec(model="M", data_dir=str(write_rte(tmp_path / "b", "not_entailment")))
    with pytest.raises(UserError, match=r"got the data of rte, which is not what it was when the sweep in .* began"):
        folder.continued(other)
    write_model(tmp_path / "M", bert_tensors(1))
    with pytest.raises(UserError, match="got the model M, which is not what it was"):
        folder.continued(grid)
    write_model(tmp_path / "M", bert_tensors())
    assert folder.continued(grid) == grid
    (folder.path / "sources.json").unlink()  # as an earlier version left it
    assert folder.continued(other).settings == other.settings
