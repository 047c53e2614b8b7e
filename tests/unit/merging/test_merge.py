"""Merge methods against naive loops written from the papers, and what a merge must refuse or keep."""

from __future__ import annotations

import dataclasses
import math
import random

import numpy as np
import pytest
from example_snapshots import LAYERS, WIDTH, base, example
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from beft_core.errors import UserError
from beft_core.merging.merge import METHODS, Parameter, compare, merge
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot

V = ("encoder", "v")
Rows = list[list[float]]

DELTAS = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=7),
    elements=st.floats(-10, 10, allow_subnormal=False),
)
TWO = arrays(np.float64, st.tuples(st.just(2), st.integers(1, 7)), elements=st.floats(-10, 10, width=16))


def naive_ties(deltas: Rows, density: float, scale: float) -> list[float]:
    """Section 3.2 of TIES-Merging, one number at a time."""
    width = len(deltas[0])
    count = max(1, round(density * width))
    trimmed = []
    for delta in deltas:
        order = sorted(range(width), key=lambda i: (-abs(delta[i]), i))
        trimmed.append([delta[i] if i in order[:count] else 0.0 for i in range(width)])
    merged = []
    for i in range(width):
        column = [delta[i] for delta in trimmed]
        total = sum(column)
        agree = [x for x in column if x * total > 0 or (x > 0 < total) or (x < 0 > total)]
        merged.append(scale * sum(agree) / len(agree) if agree else 0.0)
    return merged


def naive_slerp(a: list[float], b: list[float], t: float) -> list[float]:
    """Rotate the unit vector of a towards b in their plane, found by Gram-Schmidt; then undo the units."""
    norm_a, norm_b = math.hypot(*a), math.hypot(*b)
    u = [x / norm_a for x in a]
    along = sum(x * y for x, y in zip(u, b, strict=True))
    rest = [y - along * x for x, y in zip(u, b, strict=True)]
    angle = math.atan2(math.hypot(*rest), along)
    w = [x / math.hypot(*rest) for x in rest]
    # sin((1-t)W)/sin W a + sin(tW)/sin W b, with a = |a| u and b = |b| (cos W u + sin W w)
    from_a, from_b = norm_a * math.sin((1 - t) * angle), norm_b * math.sin(t * angle)
    on_u = (from_a + from_b * math.cos(angle)) / math.sin(angle)
    return [on_u * x + from_b * y for x, y in zip(u, w, strict=True)]


@given(DELTAS, st.floats(0.01, 1), st.floats(0, 2))
def test_ties_equals_the_naive_loop(deltas: np.ndarray, density: float, scale: float) -> None:
    expected = naive_ties(deltas.tolist(), density, scale)
    np.testing.assert_allclose(METHODS["ties"].function(deltas, density=density, scale=scale), expected, atol=1e-12)


@given(TWO, st.floats(0, 1))
def test_slerp_equals_a_rotation_in_the_plane(deltas: np.ndarray, t: float) -> None:
    merged = METHODS["slerp"].function(deltas, t=t)
    first, second = deltas
    lengths = np.linalg.norm(deltas, axis=1)
    sine = 0.0
    if lengths.min() > 0:
        units = deltas / lengths[:, None]
        sine = math.sin(2 * math.atan2(np.linalg.norm(units[0] - units[1]), np.linalg.norm(units[0] + units[1])))
    if sine > 1e-3:
        np.testing.assert_allclose(merged, naive_slerp(first.tolist(), second.tolist(), t), rtol=1e-7, atol=1e-9)
    elif sine < 1e-9:
        np.testing.assert_allclose(merged, (1 - t) * first + t * second, atol=1e-9)


def test_slerp_keeps_the_length_of_equally_long_vectors() -> None:
    merged = METHODS["slerp"].function(np.array([[3.0, 0.0], [0.0, 3.0]]), t=0.5)
    np.testing.assert_allclose(merged, [3 / math.sqrt(2)] * 2)


@given(DELTAS, st.floats(0.01, 1), st.integers(0, 2**32))
def test_dare_equals_the_naive_loop(deltas: np.ndarray, density: float, seed: int) -> None:
    draws = np.random.default_rng(seed).random(deltas.size).tolist()  # task after task, element after element
    expected = [0.0] * deltas.shape[1]
    for task, delta in enumerate(deltas.tolist()):
        for i, x in enumerate(delta):
            if draws[task * len(delta) + i] < density:
                expected[i] += x / density / len(deltas)
    np.testing.assert_allclose(METHODS["dare"].function(deltas, density=density, seed=seed), expected, atol=1e-12)


def test_dare_is_the_mean_in_expectation() -> None:
    deltas = np.random.default_rng(0).standard_normal((3, 50))
    merged = np.mean([METHODS["dare"].function(deltas, density=0.3, seed=s) for s in range(4000)], axis=0)
    np.testing.assert_allclose(merged, deltas.mean(axis=0), atol=0.15)


@given(DELTAS, st.randoms(use_true_random=False))
def test_fisher_equals_the_naive_loop(deltas: np.ndarray, chance: random.Random) -> None:
    scales = [10 ** chance.uniform(-9, 9) for _ in deltas]  # as losses of different kinds have them
    weights = [[chance.choice([0.0, scale * chance.random()]) for _ in deltas[0]] for scale in scales]
    lengths = [math.sqrt(sum(x * x for x in row)) or 1 for row in weights]
    expected = []
    for i in range(deltas.shape[1]):
        of_one_length = [row[i] / length for row, length in zip(weights, lengths, strict=True)]
        total = sum(of_one_length)
        column = deltas[:, i].tolist()
        shares = [x / total if total else 1 / len(column) for x in of_one_length]
        expected.append(sum(share * x for share, x in zip(shares, column, strict=True)))
    np.testing.assert_allclose(METHODS["fisher"].function(deltas, np.array(weights)), expected, atol=1e-9)


def test_a_task_does_not_outweigh_another_by_the_scale_of_its_loss() -> None:
    deltas, fisher = np.random.default_rng(0).random((2, 2, 50))
    fisher[1] *= 400  # a squared error on labels from 0 to 5 beside a cross-entropy
    shares = METHODS["fisher"].function(np.array([np.zeros(50), np.ones(50)]), fisher)
    assert 0.4 < shares.mean() < 0.6
    for factor in (1e-6, 1e6):
        scaled = METHODS["fisher"].function(deltas, fisher * [[factor], [1]])
        np.testing.assert_allclose(scaled, METHODS["fisher"].function(deltas, fisher), rtol=1e-12)


def test_the_fisher_information_from_before_the_fine_tune_is_not_merged_by() -> None:
    sources = [example(1, full=True), example(2, full=True)]
    for source in sources:
        for stack, term in source.keys():  # noqa: SIM118
            del source._shapes[f"{stack}.{term}.fisher_tuned"]
    with pytest.raises(UserError, match="only the one from before its fine-tune, under a random head; expected"):
        merge(sources, "fisher")


@given(DELTAS, st.floats(0, 4), st.data())
def test_linear_methods(deltas: np.ndarray, scale: float, data: st.DataObject) -> None:
    weights = data.draw(st.lists(st.floats(0.1, 5), min_size=len(deltas), max_size=len(deltas)))
    columns = deltas.T.tolist()
    for name, options, expected in (
        ("mean", {}, [sum(column) / len(column) for column in columns]),
        ("task_arithmetic", {"scale": scale}, [scale * sum(column) for column in columns]),
        (
            "weighted",
            {"weights": weights},
            [sum(w * x for w, x in zip(weights, c, strict=True)) / sum(weights) for c in columns],
        ),
    ):
        np.testing.assert_allclose(METHODS[name].function(deltas, **options), expected, atol=1e-12)


def _deltas(snapshot: Snapshot) -> np.ndarray:
    return np.concatenate(
        [(snapshot.post(*key).astype(float) - snapshot.pre(*key)).ravel() for key in snapshot.keys()]  # noqa: SIM118
    )


@pytest.mark.parametrize("name", METHODS)
def test_every_method_merges_snapshots_with_its_defaults(name: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    sources = [example(1, full=True), example(2, full=True)]
    merged = merge(sources, name)
    method = METHODS[name]
    defaults = {p.name: p.parse(p.default, 2) for p in method.parameters if p.name != "scope"}
    if all(p.default != "layer" for p in method.parameters):  # one vector of everything
        inputs = [np.stack([_deltas(s) for s in sources])]
        if method.needs_fisher:
            keys = sources[0].keys()
            inputs.append(
                np.stack([np.concatenate([s.fisher(*key, "tuned").ravel() for key in keys]) for s in sources])
            )  # type: ignore[union-attr]
        np.testing.assert_allclose(_deltas(merged), method.function(*inputs, **defaults), atol=1e-6)
    write_snapshot(tmp_path / "merged.beft.safetensors", merged)
    assert read_snapshot(tmp_path / "merged.beft.safetensors").meta == merged.meta


def test_scope_decides_what_is_trimmed_together() -> None:
    sources = [example(seed) for seed in (1, 2)]
    for scope, size in (("layer", WIDTH), ("global", 3 * LAYERS * WIDTH)):
        merged = _deltas(merge(sources, "ties", density=0.25, scope=scope)).reshape(-1, size)
        rows = [_deltas(s).reshape(-1, size) for s in sources]
        for n, row in enumerate(merged):
            np.testing.assert_allclose(row, naive_ties([r[n].tolist() for r in rows], 0.25, 1.0), atol=1e-6)


@settings(max_examples=20)
@given(st.permutations(range(3)))
def test_symmetric_methods_do_not_depend_on_the_order(order: list[int]) -> None:
    sources = [example(seed, full=True) for seed in (1, 2, 3)]
    for name in ("mean", "task_arithmetic", "ties", "fisher"):
        merged, shuffled = merge(sources, name), merge([sources[i] for i in order], name)
        np.testing.assert_allclose(merged.post(*V), shuffled.post(*V), atol=1e-6)


def test_heads_are_kept_per_task_and_never_averaged() -> None:
    sources = [example(1, full=True), example(2, full=True), example(3, full=True, task="task1")]
    merged = merge(sources)
    assert merged.meta.heads.keys() == {"task1", "task2"}
    for name in merged.extra:
        owner = sources[0] if name.startswith("extra.task1.") else sources[1]
        np.testing.assert_array_equal(merged.extra[name], owner.extra[name])
    assert len(merged.extra) == 6
    assert merged.meta.task == "task1 + task2" and merged.meta.mode == "merged"
    assert [source["task"] for source in merged.meta.provenance["sources"]] == ["task1", "task2", "task1"]


def test_only_trained_terms_are_merged() -> None:
    sources = [example(seed, trained_terms=("v",)) for seed in (1, 2)]
    assert merge(sources).keys() == [V]
    both = [example(seed) for seed in (1, 2)]
    assert merge(both, terms=["v"]).keys() == [V]
    assert merge(both, terms=["v"]).meta.trained_terms == ("v",)


def test_what_an_evaluation_must_repeat_is_kept_where_all_agree() -> None:
    recorded = [
        {"max_length": 64, "add_bias": ["v"], "lr": 0.1},
        {"max_length": 64, "add_bias": [], "lr": 0.1},
    ]
    merged = merge([example(n, hyperparameters=table) for n, table in enumerate(recorded, 1)], "ties", scale=2)
    assert merged.meta.hyperparameters == {
        "method": "ties",
        "density": 0.2,
        "scale": 2.0,
        "scope": "global",
        "max_length": 64,
    }


def test_sources_are_named_without_their_folders(tmp_path) -> None:  # type: ignore[no-untyped-def]
    folder = tmp_path / "secret"
    folder.mkdir()
    paths = [folder / f"{seed}.beft.safetensors" for seed in (1, 2)]
    for seed, path in enumerate(paths, 1):
        write_snapshot(path, example(seed))
    text = merge([read_snapshot(path) for path in paths]).meta.to_json()
    assert "1.beft.safetensors" in text and "secret" not in text


def _other_base() -> Snapshot:
    return example(2, pre=base(seed=99))


def _forged() -> Snapshot:
    other = _other_base()
    model = dataclasses.replace(other.meta.model, fingerprint=example().meta.model.fingerprint)
    meta = dataclasses.replace(other.meta, model=model)
    return Snapshot.build(meta, {V: other.pre(*V)}, {V: other.post(*V)})


@pytest.mark.parametrize(
    ("other", "options", "reason"),
    [
        (_other_base(), {}, "different base models"),
        (_forged(), {"terms": ["v"]}, "different encoder.v before the fine-tune"),
        (example(2, trained_terms=("q",)), {}, "different trained terms"),
        (example(2, layers=(1,)), {}, "different trained layers"),
        (example(2), {"terms": ["o"]}, "no trained o"),
        (example(2), {"method": "sum"}, "merge method 'sum'; expected one of mean"),
        (example(2), {"method": "fisher"}, "no Fisher information"),
        (example(2), {"method": "mean", "scale": 1}, "mean has no parameter scale; expected none"),
        (example(2), {"method": "ties", "density": 0}, "density = 0; expected a number from 1e-06 to 1"),
        (example(2), {"method": "ties", "density": "much"}, "density = 'much'"),
        (example(2), {"method": "ties", "density": math.nan}, "density = nan"),
        (example(2), {"method": "ties", "scope": "model"}, "expected one of layer, global"),
        (example(2), {"method": "dare", "seed": 0.5}, "seed = 0.5; expected a whole number"),
        (example(2), {"method": "weighted", "weights": [1, 2, 3]}, "expected 2 numbers"),
        (example(2), {"method": "weighted", "weights": [0, 0]}, "not all zero"),
        (example(2), {"method": "weighted", "weights": [2, -1]}, "weights = "),
    ],
)
def test_what_cannot_be_merged_is_refused(other: Snapshot, options: dict, reason: str) -> None:
    with pytest.raises(UserError, match=reason.replace("(", r"\(")):
        merge([example(1), other], **options)


def test_how_many_snapshots() -> None:
    with pytest.raises(UserError, match="at least 2"):
        merge([example()])
    with pytest.raises(UserError, match="exactly 2 for slerp"):
        merge([example(seed) for seed in (1, 2, 3)], "slerp")
    with pytest.raises(UserError, match="at least 2"):
        compare([example()])


def test_parameters_take_texts_from_a_command_line() -> None:
    sources = [example(1), example(2)]
    np.testing.assert_array_equal(
        merge(sources, "weighted", weights="1,3").post(*V),
        merge(sources, "weighted", weights=[1, 3]).post(*V),
    )
    assert Parameter("seed", 0, "").parse("7", 2) == 7
    for method in METHODS.values():
        assert method.label and method.formula and method.reference.startswith("https://")
        assert all(parameter.help and parameter.expected for parameter in method.parameters)


def test_comparison_of_known_angles() -> None:
    pre = base(terms=("v",))
    flat = np.zeros((LAYERS, WIDTH))
    moves = [flat.copy(), flat.copy(), flat.copy()]
    moves[0][:, 0] = 1.0
    moves[1][:, :2] = 1.0
    moves[2][:, :2] = [[-1.0, 1.0]] * LAYERS
    sources = [
        Snapshot.build(example(seed, pre=pre).meta, pre, {V: pre[V] + move}) for seed, move in enumerate(moves, 1)
    ]
    result = compare(sources)
    assert result.labels == ("task1", "task2", "task3")
    expected = np.array([[0, 45, 135], [45, 0, 90], [135, 90, 0]])
    np.testing.assert_allclose(result.differences.angle_degrees, expected, atol=1e-4)
    for layer in range(LAYERS):
        np.testing.assert_allclose(result.differences.angle_degrees_per_layer[V][layer], expected, atol=1e-4)
    conflicts = np.array([[0, 0, 1], [0, 0, 0.5], [1, 0.5, 0]])
    np.testing.assert_array_equal(result.sign_conflicts, conflicts)
    np.testing.assert_array_equal(result.sign_conflicts_per_layer[V], [conflicts] * LAYERS)


def test_values_and_differences_are_compared_apart() -> None:
    sources = [example(seed, size=0.01) for seed in (1, 2)]
    result = compare(sources, terms=["v", "q"])
    flat = [np.concatenate([s.post("encoder", t).ravel() for t in "qv"]).astype(float) for s in sources]
    expected = flat[0] @ flat[1] / np.linalg.norm(flat[0]) / np.linalg.norm(flat[1])
    assert result.values.cosine[0, 1] == pytest.approx(expected, abs=1e-12)
    assert result.values.cosine[0, 1] > 0.99 and abs(result.differences.cosine[0, 1]) < 0.5
    assert set(result.values.cosine_per_layer) == {("encoder", "q"), V}
    one = [s.post(*V)[1].astype(float) for s in sources]
    assert result.values.cosine_per_layer[V][1, 0, 1] == pytest.approx(
        one[0] @ one[1] / np.linalg.norm(one[0]) / np.linalg.norm(one[1]), abs=1e-12
    )
    np.testing.assert_allclose(result.differences.cosine, result.differences.cosine.T, atol=1e-15)


def test_labels_tell_seeds_and_numbers_apart() -> None:
    assert compare([example(1), example(2)]).labels == ("task1", "task2")
    same = [example(1, task="a"), example(2, task="a")]
    seeds = [dataclasses.replace(s.meta, seed=number) for number, s in enumerate(same, 3)]
    named = [
        Snapshot.build(dataclasses.replace(meta, trained_terms=("v",)), {V: s.pre(*V)}, {V: s.post(*V)})
        for meta, s in zip(seeds, same, strict=True)
    ]
    assert compare(named).labels == ("a, seed 3", "a, seed 4")
    assert compare([example(1), example(1)]).labels == ("1: task1, seed None", "2: task1, seed None")
