"""What a machine offers, told without torch: a Hub cache in all states, folders of data, a device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from beft_core.execution import machine


@pytest.fixture(autouse=True)
def forget() -> None:
    machine.device.cache_clear()


BERT = {
    "model_type": "bert",
    "architectures": ["BertForMaskedLM"],
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}


def put(cache: Path, name: str, config: object, weights: str = "model.safetensors") -> None:
    folder = cache / f"models--{name.replace('/', '--')}" / "snapshots" / "abc"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(config if isinstance(config, str) else json.dumps(config))
    (folder / weights).write_bytes(b"")


def test_models_of_the_cache_are_those_that_load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    put(tmp_path, "google-bert/bert-base-cased", BERT)
    put(tmp_path, "some/pickle", BERT, "pytorch_model.bin")
    put(tmp_path, "some/diffusion", {**BERT, "model_type": "unet"})
    put(tmp_path, "some/broken", "{")
    (tmp_path / "models--some--empty" / "snapshots").mkdir(parents=True)
    assert machine.models() == ["bundled", "google-bert/bert-base-cased"]
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "nowhere"))
    assert machine.models() == ["bundled"]


def test_the_cache_is_where_the_hub_keeps_it(tmp_path: Path) -> None:
    code = "from huggingface_hub import constants; from beft_core.execution import machine; "
    code += "assert str(machine.hub_cache()) == constants.HF_HUB_CACHE, (machine.hub_cache(), constants.HF_HUB_CACHE)"
    for variables in ({}, {"HF_HOME": "/x"}, {"XDG_CACHE_HOME": "/y"}, {"HF_HUB_CACHE": "/z", "HF_HOME": "/x"}):
        subprocess.run([sys.executable, "-c", code], check=True, env={"HOME": str(tmp_path), **variables})


def test_data_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "SST-2").mkdir()
    (tmp_path / "SST-2" / "dev.tsv").write_text("sentence\tlabel\n")
    monkeypatch.setenv("BEFT_GLUE_DIR", str(tmp_path))
    monkeypatch.setenv("BEFT_SUPERGLUE_DIR", str(tmp_path / "gone"))
    demo, glue, superglue = machine.data()
    assert len(demo.tasks) == 4 and glue.tasks == ("sst2",) and not glue.missing
    assert superglue.tasks == () and "no folder" in superglue.missing
    assert "rte" in glue.lacking and "sst2" not in glue.lacking
    monkeypatch.delenv("BEFT_GLUE_DIR")
    assert machine.data()[1].missing == "set BEFT_GLUE_DIR"


def test_device_names_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\necho 'NVIDIA T4'\necho 'NVIDIA T4'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    found = machine.device()
    assert (found.queue, found.name) == ("cuda", "NVIDIA T4 and 1 more") and found.cores >= 1


def test_a_broken_driver_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nexit 9\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert machine.device().name == "NVIDIA GPU"


def test_memory_is_in_gib() -> None:
    free, total = machine.memory()
    assert 0 < free <= total < 1e5


def test_what_the_system_would_give_back_counts_as_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that the system keeps in memory are given back: ``available`` counts them, ``free`` does not."""
    told = {"total": 16 * 2**30, "available": 6 * 2**30, "free": 2**30, "used": 9 * 2**30}
    monkeypatch.setattr(machine.psutil, "virtual_memory", lambda: SimpleNamespace(**told))
    assert machine.memory() == (6.0, 16.0)
