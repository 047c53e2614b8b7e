"""Which runs of a sweep share a pass, and how many fit into memory."""

from __future__ import annotations

import dataclasses

from beft_core.architectures.layout import LmSpec
from beft_core.config import RunConfig
from beft_core.sweeps.grouping import as_trained, beside_model, bytes_per_run, group
from beft_core.training.estimate.count import layout_of


def runs(**fields: object) -> list[RunConfig]:
    """Runs that differ in what a run owns: term, learning rate and seed."""
    return [
        RunConfig(terms=(term,), lr=lr, seed=seed, n_train=40, epochs=1, **fields)  # type: ignore[arg-type]
        for term in ("q", "v")
        for lr in (1e-3, 1e-2)
        for seed in (0, 1)
    ]


def test_runs_that_share_task_and_model_share_a_pass() -> None:
    ours, others = runs(), runs(task="demo-similarity")
    banks = group([*ours, *others], most=16)
    assert sorted(len(bank) for bank in banks) == [8, 8]
    for bank in banks:
        assert len({config.task for config in bank}) == 1
    assert {id(config) for bank in banks for config in bank} == {id(config) for config in [*ours, *others]}


def test_banks_are_of_equal_size_and_none_is_too_large() -> None:
    sizes = [len(bank) for bank in group(runs()[:7], most=3)]
    assert sum(sizes) == 7
    assert max(sizes) <= 3 and len(sizes) == 3
    assert [len(bank) for bank in group(runs()[:4], most=3)] == [2, 2]  # not 3 and 1


def test_each_task_has_banks_of_what_its_runs_allow() -> None:
    ours, others = runs(), runs(task="demo-similarity")
    banks = group([*ours, *others], most=lambda config: 8 if config.task == "demo-similarity" else 3 + config.seed)
    assert [(bank[0].task, len(bank)) for bank in banks] == [
        ("demo-similarity", 8),
        ("demo-sentiment", 3),
        ("demo-sentiment", 3),
        ("demo-sentiment", 2),
    ]


def test_the_longest_bank_comes_first_and_equal_ones_stay_in_order() -> None:
    one = runs()[0]
    short, long, unknown = (dataclasses.replace(one, n_train=n) for n in (40, 3000, None))
    seeds = [dataclasses.replace(short, seed=seed) for seed in range(3)]
    banks = group([*seeds, long, unknown], most=1)
    assert [bank[0].n_train for bank in banks] == [None, 3000, 40, 40, 40]
    assert [bank[0].seed for bank in banks[2:]] == [0, 1, 2]
    all_of_it = dataclasses.replace(short, regime="all", n_train=None, task="cb")
    assert [bank[0].task for bank in group([all_of_it, long], most=1)] == ["demo-sentiment", "cb"]


def test_runs_of_one_length_stand_together() -> None:
    mixed = [dataclasses.replace(config, n_train=40 + 400 * (at % 2)) for at, config in enumerate(runs())]
    banks = group(mixed, most=4)
    assert [{config.n_train for config in bank} for bank in banks] == [{440}, {40}]


def test_runs_that_train_weights_stand_alone() -> None:
    full = [RunConfig(mode="full", terms=(), seed=seed, n_train=40, epochs=1) for seed in (0, 1)]
    assert [len(bank) for bank in group(full, most=16)] == [1, 1]


def test_few_banks_are_split_evenly_for_several_workers_and_many_are_left_alone() -> None:
    ours, others = runs(), runs(task="demo-similarity")
    assert [len(bank) for bank in group([*ours, *others], most=8, workers=2)] == [4, 4, 4, 4]
    assert [len(bank) for bank in group(ours, most=8, workers=3)] == [4, 4]  # not smaller than that
    assert [len(bank) for bank in group(ours, most=8, workers=1)] == [8]
    assert [len(bank) for bank in group([*ours, *others], most=2, workers=2)] == [2] * 8  # enough as they are
    assert [len(bank) for bank in group(ours[:3], most=8, workers=2)] == [3]


def lora(**fields: object) -> RunConfig:
    return RunConfig(mode="lora", terms=(), n_train=40, epochs=1, **fields).resolved()  # type: ignore[arg-type]


def test_runs_of_lora_share_a_pass_with_those_of_their_shape() -> None:
    """Rank, targets and layers make the shape; rate, seed and scale are a run's own."""
    alike = [lora(lr=lr, seed=seed, alpha=alpha) for lr in (1e-3, 1e-2) for seed, alpha in ((0, 8.0), (1, 32.0))]
    others = [lora(rank=4), lora(targets=("q", "k")), lora(layers=(1,))]
    biases = [RunConfig(n_train=40, epochs=1, seed=seed).resolved() for seed in (0, 1)]
    dora = [RunConfig(mode="dora", terms=(), n_train=40, epochs=1, seed=seed).resolved() for seed in (0, 1)]
    banks = group([*alike, *others, *biases, *dora], most=16)
    expected = [alike, biases, *([one] for one in (*others, *dora))]
    assert len(banks) == len(expected) and all(bank in expected for bank in banks)


def test_a_run_of_lora_takes_memory_for_its_factors() -> None:
    """Values, gradients, moments and temporaries of each, what they are multiplied with, and a copy for each row."""
    layout = layout_of("bundled")
    bias = RunConfig(n_train=40, epochs=1).resolved()
    small, large = (bytes_per_run(layout, lora(rank=rank), "cpu") for rank in (8, 256))
    assert bytes_per_run(layout, bias, "cpu") < small < large
    values = 12 * (384 + 384)  # of rank 1: q and v in six layers
    each_row = lora(rank=8).batch_size * values * 4  # a copy of its run's factors
    assert large - small >= 248 * (values * 4 * 8 + each_row)


def test_the_model_takes_its_weights_from_what_is_free() -> None:
    layout, half = layout_of("bundled"), RunConfig(precision="bfloat16")
    assert beside_model(10_000, layout, RunConfig(), "cpu", 1_000) == 6_000
    assert beside_model(10_000, layout, half, "cuda", 1_000) == 6_000  # a model with a head stays in float32
    written = dataclasses.replace(layout, lm=LmSpec(tied=True))
    assert beside_model(10_000, written, half, "cuda", 1_000) == 8_000
    assert beside_model(10_000, written, half, "cpu", 1_000) == 6_000
    assert beside_model(1_000, layout, RunConfig(), "cpu", 1_000) == 0


def test_only_probes_are_followed() -> None:
    probe, single = RunConfig(mode="all", terms=(), fisher=True), RunConfig(terms=("v",))
    assert as_trained(single, 100, 10) is single
    measured_by_its_metric = dataclasses.replace(probe, fisher=False)
    assert as_trained(measured_by_its_metric, 100, 10) is measured_by_its_metric
    assert as_trained(probe, None, 10) is probe
    assert as_trained(probe, 100, 10).trajectory_every == 10
    assert as_trained(probe, 5, 10).trajectory_every == 1
