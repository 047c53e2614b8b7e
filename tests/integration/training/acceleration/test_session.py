"""With and without everything that merely makes a fine-tune faster: each method ends at the same values."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_models import tiny
from training_tools import config, difference, fit

import beft_core
from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.snapshots.snapshot import Snapshot
from beft_core.training.acceleration import session
from beft_core.training.acceleration.last_layer import LastLayerReader
from beft_core.training.acceleration.read_tokens import ReadTokensReader
from beft_core.training.acceleration.session import Accelerated, session_for
from beft_core.training.batches.arrange import Shaping
from beft_core.training.batches.reader import Reader
from beft_core.training.precision import Precision
from beft_core.training.session import Session

CPU = torch.device("cpu")
ON_GPU = pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))
BANKS: dict[str, list[dict[str, Any]]] = {
    "a bank of one": [{"terms": ("v",)}],
    "a bank of several": [
        {"terms": ("v",), "seed": 0},
        {"terms": ("q", "mlp_in"), "seed": 1, "n_train": 7, "schedule": "constant"},
        {"terms": ("v",), "layers": (1,), "seed": 2, "weight_decay": 0.1},
    ],
    "all biases": [{"mode": "all", "lr": 2e-3, "fisher": True}],
    "head": [{"mode": "head"}],
    "random entries": [{"mode": "random", "lr": 2e-3}],
    # The large epsilon keeps Adam from turning the rounding noise of null elements into whole steps.
    "full": [{"mode": "full", "lr": 1e-2, "adam_epsilon": 2e-3}],
}
TOLERANCE = 2e-5
"""As for two layouts of the same batch: Adam turns rounding into steps."""


def both_ways(name: str, bank: str, device: str, **more: Any) -> tuple[list[Snapshot], list[Snapshot]]:
    settings = {"device": device, "lr": 2e-3, "evaluate": "epoch", **more}
    runs = [config(**{**settings, **own}) for own in BANKS[bank]]
    plain = [dataclasses.replace(run, plain=True) for run in runs]
    return fit(name, *runs), fit(name, *plain)


@pytest.mark.parametrize("device", ["cpu", ON_GPU])
@pytest.mark.parametrize("name", ["bert", "gpt2"])
@pytest.mark.parametrize("bank", BANKS)
def test_plain_training_ends_at_the_same_values(bank: str, name: str, device: str) -> None:
    for fast, plain in zip(*both_ways(name, bank, device), strict=True):
        assert difference(fast, plain) < TOLERANCE
        moved = max(float(abs(plain.post(*key) - plain.pre(*key)).max()) for key in plain.keys())  # noqa: SIM118
        assert moved > 1e-3 or bank == "head" or bank == "random entries"
        for ours, theirs in zip(fast.meta.metrics, plain.meta.metrics, strict=True):
            assert ours == pytest.approx(theirs, abs=1e-4)
        assert fast.meta.trained_parameters == plain.meta.trained_parameters


@pytest.mark.parametrize("pad", ["packed", "buckets", "longest"])
def test_plain_training_takes_every_layout(pad: str) -> None:
    fast, plain = (runs[0] for runs in both_ways("bert", "a bank of one", "cpu", pad=pad))
    assert difference(fast, plain) < TOLERANCE


def test_dropout_is_pytorchs_own_in_plain_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """The trick of the CPU draws other elements: without it, the same as where it is switched off by hand."""
    fast, plain = (runs[0] for runs in both_ways("bert", "a bank of one", "cpu", dropout=True, pad="longest"))
    assert difference(fast, plain) > 1e-4
    monkeypatch.setattr(session, "Accelerated", lambda model, precision, **how: Session(precision.device))
    by_hand = both_ways("bert", "a bank of one", "cpu", dropout=True, pad="longest")[0][0]
    assert difference(by_hand, plain) == 0.0


def test_plain_training_touches_nothing_that_makes_it_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("something makes it faster")

    monkeypatch.setattr(session.Accelerated, "__init__", refuse)
    for bank in BANKS:
        fit("bert", *(config(**{"lr": 1e-3, **own, "epochs": 1, "plain": True}) for own in BANKS[bank]))
    with pytest.raises(AssertionError, match="faster"):
        fit("bert", config(epochs=1))


def test_the_session_of_a_fine_tune_and_the_null_session() -> None:
    model = tiny("bert", attn="sdpa", dtype=torch.float32)
    precision = Precision("float32", CPU)
    fast, plain = (session_for(model, precision, plain=plain) for plain in (False, True))
    assert isinstance(fast, Accelerated) and isinstance(fast.reader, LastLayerReader)
    assert type(plain) is Session and not plain.reader.by_example
    before = {name: id(one) for name, one in model.backbone.named_modules()}
    model.backbone.train()
    with plain.training():
        assert plain.shaping == Shaping()
        assert not any("forward" in vars(one) for one in model.backbone.modules())
    with fast.training():
        assert sum("forward" in vars(one) for one in model.backbone.modules()) > 3  # dropout of the CPU
    assert not any("forward" in vars(one) for one in model.backbone.modules())
    assert {name: id(one) for name, one in model.backbone.named_modules()} == before
    assert fast.shaping == Shaping()


@pytest.mark.parametrize(
    ("name", "device", "weights", "expected"),
    [
        ("opt", "cuda", False, ReadTokensReader),
        ("gemma3_text-bias", "cuda", False, ReadTokensReader),
        ("opt", "cuda", True, Reader),
        ("opt", "cpu", False, Reader),
        ("bert", "cuda", False, LastLayerReader),
        ("modernbert", "cuda", False, Reader),
    ],
)
def test_which_tokens_of_the_last_layer_are_computed(
    name: str, device: str, weights: bool, expected: type[Reader]
) -> None:
    precision = Precision("float32", torch.device(device))
    assert type(session_for(tiny(name), precision, trains_weights=weights).reader) is expected


def test_over_several_devices_nothing_is_made_faster() -> None:
    model = tiny("opt")
    precision = Precision("float32", torch.device("cuda"))
    model.backbone.hf_device_map = {"decoder": 0}  # type: ignore[assignment]
    assert isinstance(session_for(model, precision), Accelerated)
    model.backbone.hf_device_map = {"decoder.layers.0": 0, "decoder.layers.1": 1}  # type: ignore[assignment]
    assert type(session_for(model, precision)) is Session


def test_plain_is_recorded_only_where_it_was_chosen() -> None:
    fast, plain = (runs[0] for runs in both_ways("bert", "a bank of one", "cpu"))
    assert "plain" not in fast.meta.hyperparameters and plain.meta.hyperparameters["plain"] is True


def test_plain_and_compiled_is_refused() -> None:
    with pytest.raises(UserError, match="--plain with --compile"):
        RunConfig(plain=True, compile=True)


def test_the_session_is_the_only_door() -> None:
    """Outside of the folder nothing of it is imported but the session, and not by the loop itself."""
    root = Path(beft_core.__file__).parent
    door = "beft_core.training.acceleration"
    found: dict[str, set[str]] = {}
    for path in root.rglob("*.py"):
        if "acceleration" in path.relative_to(root).parts:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [one.name for one in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith(door):
                    found.setdefault(name, set()).add(path.relative_to(root).as_posix())
    assert set(found) == {f"{door}.session"}
    assert "training/trainer.py" not in found[f"{door}.session"]
