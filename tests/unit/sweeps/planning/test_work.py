"""Work of fine-tunes, against counts of their own."""

from __future__ import annotations

import dataclasses

import pytest

from beft_core.config import RunConfig
from beft_core.models.source import locate
from beft_core.sweeps.planning import work
from beft_core.tasks.registry import TASKS

RUN = RunConfig(task="sst2", n_train=100, epochs=3, batch_size=16, evaluate="last")


def test_weights_are_those_of_the_layers_matrices() -> None:
    layout = locate("bundled").layout
    hidden, inner = 384, 1536
    assert work.weights(layout) == 6 * (4 * hidden * hidden + 2 * hidden * inner)


def test_a_step_is_a_pass_forward_and_one_back_and_one_more_where_weights_learn() -> None:
    steps, tokens = 3 * 7, 13
    validated = 872 * tokens * 2 * 10
    assert work.work(RUN, 10, 100) == steps * 16 * tokens * 4 * 10 + validated
    full = dataclasses.replace(RUN, mode="full", terms=())
    assert work.work(full, 10, 100) == steps * 16 * tokens * 6 * 10 + validated


def test_evaluation_and_fisher_information_count() -> None:
    every = work.work(dataclasses.replace(RUN, evaluate="epoch"), 10, 100)
    last = work.work(RUN, 10, 100)
    never = work.work(dataclasses.replace(RUN, evaluate="never"), 10, 100)
    assert every is not None and last is not None and never is not None
    assert every - never == pytest.approx(3 * (last - never))
    fewer = work.work(dataclasses.replace(RUN, n_eval=87), 10, 100)
    assert fewer is not None and fewer - never == pytest.approx((last - never) * 87 / 872)
    probe = dataclasses.replace(RUN, mode="all", terms=(), fisher=True, fisher_examples=50)
    of_probe = work.work(probe, 10, 100)
    assert of_probe == last + 50 * 13 * 4 * 10


def test_a_trial_is_validated_on_what_it_sets_aside() -> None:
    trial = dataclasses.replace(RUN, hold_out=200)
    assert work.text_size(trial) == work.TextSize(13, 200, 67_349 - 200)
    assert work.text_size(dataclasses.replace(trial, n_eval=50)).validation == 50
    never = work.work(dataclasses.replace(RUN, evaluate="never"), 10, 100)
    of_trial = work.work(trial, 10, 100)
    assert of_trial is not None and never is not None and of_trial - never == 200 * 13 * 2 * 10


def test_texts_are_cut_and_prompts_longer() -> None:
    assert work.text_size(dataclasses.replace(RUN, task="rte")).tokens == 71
    assert work.text_size(dataclasses.replace(RUN, task="rte", max_length=32)).tokens == 32
    assert work.text_size(dataclasses.replace(RUN, task="prompt-sst2")).tokens == 13 + work.PROMPT_TOKENS
    own = dataclasses.replace(RUN, train_file="films.csv", text="review", label="stars")
    assert work.text_size(own) == work.UNKNOWN


def test_every_task_has_a_size() -> None:
    assert {name.removeprefix("prompt-") for name in TASKS} == set(work.SIZES)


def test_what_is_not_known_is_not_counted() -> None:
    assert work.work(dataclasses.replace(RUN, n_train=None), 10, None) is None
    assert work.order(dataclasses.replace(RUN, epochs=None)) == float("inf")
    assert work.order(dataclasses.replace(RUN, n_train=None)) == work.work(RUN, 1, 67349)
    nothing = dataclasses.replace(RUN, mode="none", terms=(), task="prompt-sst2")
    assert work.work(nothing, 10, 0) == 872 * 28 * 2 * 10


def test_the_longest_prompt_is_estimated_and_texts_are_cut() -> None:
    prompted = RunConfig(task="prompt-sst2", n_train=100, max_length=2048)
    assert work.longest(prompted) == 140
    assert work.longest(dataclasses.replace(prompted, max_length=60)) == 60
    assert work.longest(dataclasses.replace(RUN, max_length=64)) == 64
    table = {"train_file": "own.jsonl", "prompt": "{text}", "label": "answer", "name": "own", "max_length": 300}
    assert work.longest(RunConfig(**table)) == 300
