"""Temporary copies of uploads where there is no room for them: one line from every function that makes one."""

from __future__ import annotations

import resource
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from beft_core.errors import UserError
from beft_core.exchange.uploads import Model, adapter, from_models
from beft_core.files import scratch
from beft_core.files.disk import NoRoom
from beft_core.files.scratch import put, scratch_file, scratch_folder, whole_folder
from beft_core.tasks.sources import table_preview
from dashboard.result_tables.uploads import read_upload

LIMIT = 4000
TABLE = b"text,label\n" + b"a,b\n" * LIMIT
PARTS = {"adapter_config.json": b'{"peft_type": "BEFT"}', "adapter_model.safetensors": bytes(2 * LIMIT)}
COPIES: dict[str, Callable[[], object]] = {
    "a table's preview": lambda: table_preview.preview("a.csv", TABLE),
    "a table's check": lambda: table_preview.check("a.csv", TABLE, table_preview.Columns("text", None, "label")),
    "an adapter": lambda: adapter(PARTS),
    "a model": lambda: from_models(Model("bundled"), Model(data=bytes(2 * LIMIT))),
    "a configuration": lambda: from_models(Model("bundled"), Model("bundled"), config=b"{" + bytes(2 * LIMIT)),
    "a result table": lambda: read_upload(TABLE),
}


@pytest.fixture
def no_room() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("no_room")
@pytest.mark.parametrize("what", COPIES)
def test_a_copy_that_does_not_fit_is_one_line(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with pytest.raises(UserError, match="no file may become that large here"):
        COPIES[what]()
    assert list(tmp_path.iterdir()) == [], "something was left"


@pytest.mark.parametrize("what", COPIES)
def test_no_place_for_temporary_files_is_one_line(what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"cannot make a temporary folder: No such file.*try TMPDIR"):
        COPIES[what]()


def test_a_file_without_a_name_has_a_place_or_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with scratch_file() as file:
        file.write(b"a")
        file.seek(0)
        assert file.read() == b"a" and list(tmp_path.iterdir()) == []
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "gone"))
    with pytest.raises(UserError, match=r"cannot make a temporary file: No such file.*try TMPDIR"):
        scratch_file()


def test_what_is_put_stands_there_while_it_is_needed() -> None:
    with scratch_folder() as folder:
        path = put(folder / "a", b"b")
        assert path.read_bytes() == b"b"
        with pytest.raises(UserError, match="cannot write a temporary file: No such file"):
            put(folder / "no" / "a", b"b")
    assert not folder.exists()


@pytest.mark.usefixtures("no_room")
def test_it_says_how_much_room_is_missing(tmp_path: Path) -> None:
    with pytest.raises(NoRoom, match=r"expected room for 8\.0 kB"):
        put(tmp_path / "a", bytes(2 * LIMIT))


def test_a_folder_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "new"
    target.mkdir()  # empty: it may be there
    with whole_folder(target, 1) as made:
        (made / "a").write_bytes(b"a")
        assert list(target.iterdir()) == []
    assert [path.name for path in target.iterdir()] == ["a"] and list(tmp_path.iterdir()) == [target]
    (tmp_path / "plain").mkdir()
    assert target.stat().st_mode == (tmp_path / "plain").stat().st_mode, "others may read it as any folder"


@pytest.mark.parametrize(
    "error", [UserError("x"), RuntimeError("x"), KeyboardInterrupt(), OSError(28, "No space left")]
)
def test_a_folder_that_is_not_finished_leaves_nothing(error: BaseException, tmp_path: Path) -> None:
    expected = NoRoom if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), whole_folder(tmp_path / "new", 7) as made:
        (made / "a").write_bytes(b"a")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_on_the_disk_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scratch, "free_bytes", lambda folder: 99)
    with (
        pytest.raises(NoRoom, match=r"cannot write .*new: the disk is full.*room for 100 bytes"),
        whole_folder(tmp_path / "new", 100),
    ):
        raise AssertionError("it was begun")
    with whole_folder(tmp_path / "new", 99):
        pass
    monkeypatch.setattr(scratch, "free_bytes", lambda folder: None)  # a system that does not say
    with whole_folder(tmp_path / "other", 10**18):
        pass
    with pytest.raises(UserError, match="but there is no folder"), whole_folder(tmp_path / "no" / "new", 1):
        raise AssertionError("it was begun")
