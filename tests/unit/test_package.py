"""What ``from beft_core import`` names: where it lies, that editors are told the same, and what a wrong name raises."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
from example_snapshots import example

import beft_core
from beft_core import extras
from beft_core.errors import UserError
from beft_core.library.snapshot import Snapshot

FUNCTIONS = (
    *("select", "train", "evaluate", "predict", "predict_rows", "score", "merge", "compare", "dial", "sweep"),
    "load_snapshot",
)


def test_every_name_is_there_and_documented() -> None:
    for name in beft_core.__all__:
        assert getattr(beft_core, name) is not None and name in dir(beft_core)
    for name in FUNCTIONS:
        function = getattr(beft_core, name)
        assert name in beft_core.__all__ and inspect.isfunction(inspect.unwrap(function)) and function.__doc__


def test_editors_are_told_the_homes_that_names_are_imported_from() -> None:
    tree = ast.parse(Path(str(beft_core.__file__)).read_text())
    for_types = next(
        node for node in tree.body if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    told = {
        alias.name: str(node.module).removeprefix("beft_core.")
        for node in for_types.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert told == beft_core._HOMES and {"__version__", *told} == set(beft_core.__all__)
    assert Path(str(beft_core.__file__)).with_name("py.typed").is_file()


def test_a_name_that_is_not_there_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="module 'beft_core' has no attribute 'trian'"):
        beft_core.trian  # noqa: B018
    with pytest.raises(ImportError, match="cannot import name 'trian'"):
        exec("from beft_core import trian")


def test_what_needs_torch_says_so_where_it_is_not_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(extras, "TRAINING", ("no_such_library",))
    snapshots = [Snapshot.of(example(seed)) for seed in (1, 2)]
    for call in (
        lambda: beft_core.train(),
        lambda: beft_core.select(),
        lambda: beft_core.train(model=object()),
        lambda: beft_core.sweep(out=tmp_path / "s"),
        lambda: beft_core.evaluate(snapshots[0], task="rte"),
        lambda: beft_core.merge(snapshots, method="fisher"),
        lambda: snapshots[0].apply_to(object()),  # type: ignore[type-var]
        lambda: Snapshot.from_models(object(), object()),  # type: ignore[arg-type]
    ):
        with pytest.raises(
            UserError, match=r"got an installation without no_such_library.*pip install 'beft-lab\[train\]'"
        ):
            call()
    assert beft_core.merge(snapshots).keys() and not (tmp_path / "s").exists()
