"""The real decoder, where its packages are installed: what it finds in plain English, and that it is converted once."""

from __future__ import annotations

import json

import pytest

from beft_core.models.gguf.convert import DONE
from beft_core.models.gguf.packaged import GEMMA, TERMS, part_files
from beft_core.models.source import locate

pytestmark = pytest.mark.skipif(part_files() is None, reason="the extra decoder is not installed")


@pytest.mark.timeout(600)
def test_gemma_knows_english(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path_factory.mktemp("home")))
    source = locate(GEMMA)
    assert (source.id, source.own_folder, source.layout.layers, source.layout.terms) == (GEMMA, None, 18, ())
    assert 2.0 < json.loads((source.folder / DONE).read_text())["nats_per_token"] < 4.0
    assert {name for name in TERMS if (source.folder / name).is_file()} == set(TERMS)
    assert locate(GEMMA, local_only=True).folder == source.folder
