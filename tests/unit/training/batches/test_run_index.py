"""Routing rows to runs: plain indexing is the independent computation."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from beft_core.training.batches.run_index import RunIndex, run_index_arrays

ASSIGNMENTS = st.integers(1, 5).flatmap(
    lambda runs: st.tuples(st.just(runs), st.lists(st.integers(0, runs - 1), min_size=1, max_size=12))
)


@given(ASSIGNMENTS)
def test_spread_is_indexing_and_its_gradient_the_sum_per_run(case: tuple[int, list[int]]) -> None:
    runs, run_of = case
    route = RunIndex.to("cpu", run_of, runs)
    bank = torch.randn(runs, 3, dtype=torch.float64, requires_grad=True)
    out = route.spread(bank)
    assert torch.equal(out, bank[run_of])
    weight = torch.randn_like(out)
    (out * weight).sum().backward()
    expected = np.zeros((runs, 3))
    np.add.at(expected, run_of, weight.numpy())
    np.testing.assert_allclose(bank.grad.numpy(), expected, atol=1e-12)


@given(ASSIGNMENTS)
def test_ungroup_inverts_group_and_padding_is_zero(case: tuple[int, list[int]]) -> None:
    runs, run_of = case
    route = RunIndex.to("cpu", run_of, runs)
    items = torch.randn(len(run_of), 2)
    grouped = route.group(items)
    assert torch.equal(route.ungroup(grouped), items)
    for run in range(runs):
        mine = [i for i, owner in enumerate(run_of) if owner == run]
        assert torch.equal(grouped[run, : len(mine)], items[mine])
        assert not grouped[run, len(mine) :].any()


def test_a_nan_of_one_run_stays_there() -> None:
    route = RunIndex.to("cpu", [0, 1, 1], 2)
    bank = torch.ones(2, 1, requires_grad=True)
    (route.spread(bank) * torch.tensor([[float("nan")], [1.0], [2.0]])).sum().backward()
    assert bank.grad[0].isnan().all() and bank.grad[1].item() == 3.0


@given(ASSIGNMENTS)
def test_rounded_routes_are_the_least_power_of_two_wide_and_lead_to_the_same_items(case: tuple[int, list[int]]) -> None:
    runs, run_of = case
    exact, rounded = run_index_arrays(run_of, runs), run_index_arrays(run_of, runs, rounded=True)
    width = exact["items_of"].shape[1]
    assert rounded["items_of"].shape[1] == next(2**n for n in range(5) if 2**n >= width)
    np.testing.assert_array_equal(rounded["items_of"][:, :width], exact["items_of"])
    assert (rounded["items_of"][:, width:] == len(run_of)).all()
    np.testing.assert_array_equal(rounded["items_of"].ravel()[rounded["place"]], np.arange(len(run_of)))


def test_a_run_has_as_many_places_as_are_wanted_at_least() -> None:
    for least, wide in ((1, 2), (2, 2), (3, 4), (8, 8)):
        arrays = run_index_arrays([0, 1, 1], 2, rounded=True, least=least)
        assert arrays["items_of"].shape == (2, wide)
        assert arrays["items_of"].ravel()[arrays["place"]].tolist() == [0, 1, 2]
    assert run_index_arrays([0, 1, 1], 2, least=5)["items_of"].shape == (2, 5)


@given(ASSIGNMENTS)
def test_only_runs_that_are_present_are_grouped(case: tuple[int, list[int]]) -> None:
    runs, run_of = case
    arrays = run_index_arrays([1000 * run for run in run_of], 1000 * runs, only_present=True)
    route = RunIndex(**{name: torch.from_numpy(array) for name, array in arrays.items()})
    assert route.present is not None and route.present.tolist() == [1000 * run for run in sorted(set(run_of))]
    assert route.run_of.tolist() == [1000 * run for run in run_of]
    items = torch.randn(len(run_of), 2)
    grouped = route.group(items)
    assert len(grouped) == len(route.present) and torch.equal(route.ungroup(grouped), items)
    for place, run in enumerate(sorted(set(run_of))):
        assert torch.equal(grouped[place, : run_of.count(run)], items[torch.tensor(run_of) == run])
