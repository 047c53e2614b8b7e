"""Why a run failed, in words."""

from __future__ import annotations

import pytest

from beft_core.config import RunConfig
from beft_core.runs.failure import explain


def test_gpu_memory_is_recognised_without_importing_torch() -> None:
    class OutOfMemoryError(RuntimeError):
        """As torch.cuda's."""

    assert explain(OutOfMemoryError("CUDA"))[0] == explain(MemoryError())[0] == "Memory ran out."
    assert explain(OSError(28, "no space"))[0] == "The disk is full."
    assert "--lr" in str(explain(FloatingPointError("the loss was not finite"))[1])
    assert "such as 0.01." in str(explain(FloatingPointError(), {"lr": 0.1})[1])


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, "Take a smaller --batch-size or --max-length, or a smaller model;"),
        (RunConfig().to_dict(), "Take --batch-size 8 (it was 16), or --max-length 64 (it was 128), or a smaller model"),
        ({"batch_size": 1, "max_length": 300}, "Take --max-length 150 (it was 300), or a smaller model"),
        ({"batch_size": 3, "max_length": 20}, "Take --batch-size 1 (it was 3), or a smaller model"),
        ({"batch_size": 1, "max_length": "?"}, "Take a smaller model;"),
    ],
)
def test_too_little_memory_names_a_smaller_setting(config: dict[str, object], expected: str) -> None:
    assert str(explain(MemoryError(), config)[1]).startswith(expected)
