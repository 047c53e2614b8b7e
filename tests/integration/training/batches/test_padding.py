"""How rows are padded where the run leaves it open."""

from __future__ import annotations

import pytest
import torch
from tiny_models import tiny
from training_tools import config

from beft_core.errors import UserError
from beft_core.training.batches.padding import padding_for


@pytest.mark.parametrize(
    ("model", "device", "runs", "expected"),
    [
        ("bert", "cpu", 1, "packed"),
        ("bert", "cuda", 1, "longest"),
        ("bert", "cuda", 2, "packed"),
        ("vit", "cpu", 1, "buckets"),
        ("vit", "cuda", 2, "buckets"),
    ],
)
def test_auto_depends_on_model_device_and_bank(model: str, device: str, runs: int, expected: str) -> None:
    assert padding_for(config(pad="auto"), tiny(model), torch.device(device), runs) == expected


@pytest.mark.parametrize("pad", ["buckets", "longest", "max"])
def test_what_is_asked_for_is_done(pad: str) -> None:
    assert padding_for(config(pad=pad), tiny("vit"), torch.device("cpu"), 1) == pad


def test_packing_where_the_model_cannot_is_refused() -> None:
    with pytest.raises(UserError, match="got --pad packed for vit"):
        padding_for(config(pad="packed"), tiny("vit"), torch.device("cpu"), 1)
