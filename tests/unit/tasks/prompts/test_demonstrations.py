"""Demonstrations are those that the authors' two functions would draw, each with its right answer."""

from __future__ import annotations

import numpy as np
import pytest

from beft_core.errors import UserError
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.prompts.demonstrations import demonstrated, demonstrations
from beft_core.tasks.registry import TASKS


def prompts(count: int, name: str = "train") -> Examples:
    numbers = list(range(count))
    return Examples(
        [f"{name} {i} It was" for i in numbers],
        None,
        np.array([i % 2 for i in numbers]),
        [(" bad", " good")] * count,
        [(i % 2,) for i in numbers],
    )


def drawn_as_mezo_does(train: int, evals: int, k: int) -> list[list[int]]:
    """Their sample_train_sets and sample_subset, with numpy's global state."""
    np.random.seed(0)  # noqa: NPY002
    seeds = np.random.randint(0, 10000, evals)  # noqa: NPY002
    drawn = []
    for seed in seeds:
        np.random.seed(seed)  # noqa: NPY002
        drawn.append(np.random.permutation(train).tolist()[:k])  # noqa: NPY002
    return drawn


def test_they_are_drawn_as_the_authors_draw_them_and_answered() -> None:
    train, evals = prompts(20), prompts(3, "eval")
    asked = demonstrations(train, evals, 4)
    for text, chosen, prompt in zip(asked.text, drawn_as_mezo_does(20, 3, 4), evals.text, strict=True):
        parts = text.split("\n\n")
        assert parts == [*(f"train {i} It was {('bad', 'good')[i % 2]}" for i in chosen), prompt]
    assert (asked.candidates, asked.golds) == (evals.candidates, evals.golds)
    assert demonstrations(train, evals, 2).text[0].split("\n\n")[:2] == asked.text[0].split("\n\n")[:2]
    assert demonstrations(train, evals, 4, seed=1).text != asked.text
    assert demonstrations(train, evals, 0) is evals


def test_free_text_and_several_right_ones() -> None:
    asked = Examples(["Q: what?\nA:"], None, np.array([0]), [(" that\n",)], [(0,)], [("that", "those")])
    assert demonstrations(asked, asked, 1).text == ["Q: what?\nA: that\n\nQ: what?\nA:"]
    named = Examples(["who?\n-"], None, np.array([1]), [(" A left", " B left")], [(1, 0)])
    assert demonstrations(named, named, 1).text == ["who?\n- B left\n\nwho?\n-"]


def test_every_validation_set_of_a_task_gets_them() -> None:
    data = TaskData(TASKS["prompt-sst2"], prompts(5), {"validation": prompts(2, "eval")}, "made up")
    asked = demonstrated(data, 3).evals["validation"]
    assert asked.text == demonstrations(data.train, data.evals["validation"], 3).text
    assert demonstrated(data, 0) is data and data.evals["validation"].text[0] == "eval 0 It was"


def test_what_cannot_be_demonstrated() -> None:
    plain = Examples(["a"], None, np.array([0]))
    with pytest.raises(UserError, match="got 1 demonstrations for a task without prompts"):
        demonstrations(plain, plain, 1)
    for k in (21, -1):
        with pytest.raises(UserError, match=f"got {k} demonstrations; expected 0 to 20"):
            demonstrations(prompts(20), prompts(1), k)
    with pytest.raises(UserError, match="got the seed -1"):
        demonstrations(prompts(20), prompts(1), 1, seed=-1)
