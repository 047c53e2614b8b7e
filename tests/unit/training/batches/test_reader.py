"""What the plain reader takes out of the hidden states of a pass."""

from __future__ import annotations

from types import SimpleNamespace

import torch

from beft_core.training.batches.arrange import DevicePass
from beft_core.training.batches.reader import Reader


def backbone(input_ids: torch.Tensor) -> tuple[torch.Tensor]:
    """Hidden states that say where they are: [rows, width, 2]."""
    rows, width = input_ids.shape
    return (torch.arange(rows * width * 2, dtype=torch.float32).view(rows, width, 2),)


def test_one_vector_of_each_example_is_read_where_the_pass_says() -> None:
    one = DevicePass({"input_ids": torch.zeros(2, 3)}, torch.tensor([[4], [0]]), torch.ones(2, 1))
    assert Reader().vectors(backbone, one).tolist() == [[8.0, 9.0], [0.0, 1.0]]


def test_several_vectors_are_averaged_without_the_padding() -> None:
    beyond = 6  # one past the last of 2 * 3 vectors
    at = torch.tensor([[0, 1, 2], [3, 4, beyond]])
    one = DevicePass({"input_ids": torch.zeros(2, 3)}, at, torch.tensor([[3.0], [2.0]]))
    assert Reader().vectors(backbone, one).tolist() == [[2.0, 3.0], [7.0, 8.0]]


def test_the_plain_reader_leaves_the_model_and_the_passes_as_they_are() -> None:
    reader = Reader()
    with reader.installed():
        assert not reader.by_example
        assert not reader.sees_examples(SimpleNamespace(layer=1, term="o"))  # type: ignore[arg-type]
