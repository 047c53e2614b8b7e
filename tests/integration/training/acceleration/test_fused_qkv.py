"""One product for queries, keys and values: the same fine-tunes as with three, in every way that biases are trained.

Without a GPU, Triton's interpreter runs the kernels (see conftest.py).
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from tiny_models import tiny
from training_tools import attend_by_segments, config, difference, examples, few_heads, fit, short

from beft_core.models.biases import LoadedModel
from beft_core.snapshots.snapshot import Snapshot
from beft_core.training.acceleration import fused_qkv as module
from beft_core.training.acceleration import session
from beft_core.training.acceleration.fused_qkv import OneProductLayer, one_product

pytest.importorskip("triton", reason="comes with PyTorch's builds for GPUs, and with this project's dev extra on Linux")
pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="the kernels are interpreted, and this is on a CPU")


@pytest.fixture(autouse=True)
def by_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    attend_by_segments(monkeypatch)


@pytest.fixture
def entered(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many layers multiply so, for each fine-tune that does."""
    counts: list[int] = []

    def counted(model: LoadedModel) -> Any:
        context = one_product(model)
        with context:
            counts.append(sum(isinstance(one, OneProductLayer) for one in model.backbone.modules()))
        return one_product(model)

    monkeypatch.setattr(session, "one_product", counted)
    return counts


def with_three(name: str, **changes: Any) -> list[Snapshot]:
    """By segments too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "one_product", lambda model: nullcontext())
        return short(name, **changes)


def with_masks(model: Any, *runs: Any, **more: Any) -> list[Snapshot]:
    """With three products and no kernel at all: the same where nothing is dropped, and much quicker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "is_supported", lambda *_: False)
        return fit(model, *runs, **more) if runs else short(model, **more)


def largest_difference(some: list[Snapshot], others: list[Snapshot]) -> float:
    return max(difference(a, b) for a, b in zip(some, others, strict=True))


@pytest.mark.parametrize("terms", [("v",), ("q",), ("q", "v", "o")])
@pytest.mark.parametrize("name", ["bert", "roberta", "electra", "distilbert"])
def test_the_same_whichever_biases_are_trained(name: str, terms: tuple[str, ...], entered: list[int]) -> None:
    assert largest_difference(short(name, terms=terms), with_masks(name, terms=terms)) < 2e-5
    assert entered == [1]  # the last of two layers computes only what is read


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_it_drops_the_same_elements(name: str) -> None:
    one = short(name, dropout=True)
    assert largest_difference(one, with_three(name, dropout=True)) < 1e-5
    assert largest_difference(one, short(name)) > 1e-4


def test_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beft_core.training.precision.cpu_has_bfloat16", lambda: True)
    one, three = short("bert", precision="bfloat16"), with_three("bert", precision="bfloat16")
    assert largest_difference(one, three) < 1e-3 < largest_difference(one, short("bert", lr=1e-1))


def test_the_same_for_runs_of_different_terms_and_for_one_alone() -> None:
    quick = {"epochs": 1, "batch_size": 2}
    runs = [config(terms=("v",), evaluate="last", **quick), config(mode="all", seed=1, pad="longest", **quick)]
    trains = [examples(3, seed, longest=6) for seed in (0, 1)]
    for chosen in (slice(0, 2), slice(1, 2)):
        one, three = (
            train(few_heads("bert"), *runs[chosen], trains=trains[chosen], validation=examples(4, 7, longest=6))
            for train in (fit, with_masks)
        )
        assert largest_difference(one, three) < 1e-5


@pytest.mark.parametrize("pad", ["packed", "longest"])
def test_rows_that_are_too_wide_for_the_kernels(pad: str, entered: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("beft_core.training.acceleration.session.MAX_TOKENS", 0)
    monkeypatch.setattr(module, "fits", lambda *_: False)
    monkeypatch.setattr("beft_core.training.acceleration.segment_attention.fits", lambda *_: False)
    for dropout in (False, True):
        one, three = (fit_as("bert", pad=pad, dropout=dropout) for fit_as in (short, with_three))
        assert largest_difference(one, three) < 1e-5
    assert entered == [1, 1]


def test_with_weights_that_are_trained_there_are_three(entered: list[int]) -> None:
    fit(few_heads("bert"), config(mode="full", epochs=1, batch_size=2), trains=[examples(3, 0, longest=6)])
    assert entered == []


@pytest.mark.parametrize(("name", "layers"), [("gpt2", 0), ("opt", 0), ("bert", 2)])
def test_which_layers(name: str, layers: int) -> None:
    model = tiny(name, attn="sdpa", dtype=torch.float32)
    before = list(model.backbone.modules())
    with one_product(model):
        assert sum(isinstance(one, OneProductLayer) for one in model.backbone.modules()) == layers
    assert list(model.backbone.modules()) == before
