"""The real decoder, where its packages are installed: what it finds in plain English, and that it is converted once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from beft_core.models.bias_reader import ModelWeights
from beft_core.models.gguf.convert import DONE
from beft_core.models.gguf.packaged import GEMMA, TERMS, part_files
from beft_core.models.source import locate
from beft_core.snapshots.snapshot import SUFFIX, read_snapshot

SAMPLES = Path(__file__).parents[4] / "sample_snapshots"

pytestmark = pytest.mark.skipif(part_files() is None, reason="the extra decoder is not installed")


@pytest.mark.timeout(600)
def test_gemma_knows_english(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFT_HOME", str(tmp_path_factory.mktemp("home")))
    source = locate(GEMMA)
    assert (source.id, source.own_folder, source.layout.layers, source.layout.terms) == (GEMMA, None, 18, ())
    assert 2.0 < json.loads((source.folder / DONE).read_text())["nats_per_token"] < 4.0
    assert {name for name in TERMS if (source.folder / name).is_file()} == set(TERMS)
    assert locate(GEMMA, local_only=True).folder == source.folder
    weights = ModelWeights(GEMMA)  # by which the samples know their base from another model of its size
    samples = [read_snapshot(path) for path in sorted(SAMPLES.glob(f"{GEMMA}-*{SUFFIX}"))]
    assert {one.meta.model.weights for one in samples} == {weights.weights_fingerprint(source.layout)}
