"""Tokens of packed rows, brought to a row for each example and back."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from beft_core.training.batches.by_example import ByExample


@given(st.lists(st.lists(st.integers(1, 6), min_size=1, max_size=4), min_size=1, max_size=5), st.integers(0, 2))
def test_tokens_by_example_and_back(lengths: list[list[int]], more: int) -> None:
    width = max(map(sum, lengths))
    x = torch.randn(len(lengths) + more, width, 3, dtype=torch.float64, requires_grad=True)
    expected, start, place = [], [], torch.full((len(x) * width,), -1)
    for row, own in enumerate(lengths):
        for at, n in zip(np.cumsum([0, *own]), own, strict=False):
            place[row * width + at : row * width + at + n] = len(start) * width + torch.arange(n)
            start.append(row * width + at)
            expected.append(torch.nn.functional.pad(x[row, at : at + n], (0, 0, 0, width - n)))
    length = torch.tensor([n for own in lengths for n in own])
    got = ByExample(torch.tensor(start), length, place)(x)
    assert torch.equal(got, torch.stack(expected))
    weight = torch.randn_like(got)
    ours, theirs = (torch.autograd.grad((one * weight).sum(), x)[0] for one in (got, torch.stack(expected)))
    assert torch.equal(ours, theirs)
