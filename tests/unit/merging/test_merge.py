"""What a merge keeps of its sources, and what it refuses."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from example_snapshots import base, example
from hypothesis import given, settings
from hypothesis import strategies as st

from beft_core.errors import UserError
from beft_core.merging.config import recorded
from beft_core.merging.merge import merge
from beft_core.merging.methods import METHODS
from beft_core.merging.similarity import compare
from beft_core.snapshots.snapshot import Snapshot, read_snapshot, write_snapshot

V = ("encoder", "v")


def test_the_fisher_information_from_before_the_fine_tune_is_not_merged_by() -> None:
    sources = [example(1, full=True), example(2, full=True)]
    for source in sources:
        for stack, term in source.keys():  # noqa: SIM118
            del source._shapes[f"{stack}.{term}.fisher_tuned"]
    with pytest.raises(UserError, match="only the one from before its fine-tune, under a random head; expected"):
        merge(sources, "fisher")


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


def test_two_heads_of_one_name_answer_the_same_question() -> None:
    """The name of a table is that of its file, whatever of its columns was learned."""
    one = example(1, full=True)
    (name,) = one.meta.heads

    def other(**fields: object) -> Snapshot:
        return example(3, full=True, task=name, heads={name: {**one.meta.heads[name], **fields}})

    assert merge([one, other()]).meta.heads == one.meta.heads
    columns = {"text": "review", "text_pair": None, "label": "stars"}
    assert merge([one, other(columns=columns)]).meta.heads == one.meta.heads  # what the first learned is not recorded
    for fields in ({"kind": "regression"}, {"labels": ["other", "names"]}, {"prompt": "{review} It was"}):
        with pytest.raises(UserError, match=f"two heads called {name} that answer different questions"):
            merge([one, other(**fields)])
    with pytest.raises(UserError, match="try beft train --name NAME"):
        merge([other(columns={**columns, "label": "verdict"}), other(columns=columns)])


def test_only_trained_terms_are_merged() -> None:
    sources = [example(seed, trained_terms=("v",)) for seed in (1, 2)]
    assert merge(sources).keys() == [V]
    both = [example(seed) for seed in (1, 2)]
    assert merge(both, terms=["v"]).keys() == [V]
    assert merge(both, terms=["v"]).meta.trained_terms == ("v",)


def test_what_an_evaluation_must_repeat_is_kept_where_all_agree() -> None:
    recorded = [
        {"max_length": 64, "add_bias": ["v"], "lr": 0.1, "rewrite_scale": 10.0},
        {"max_length": 64, "add_bias": [], "lr": 0.1, "rewrite_scale": 10.0},
    ]
    merged = merge([example(n, hyperparameters=table) for n, table in enumerate(recorded, 1)], "ties", scale=2)
    assert merged.meta.hyperparameters == {
        "method": "ties",
        "density": 0.2,
        "scale": 2.0,
        "scope": "global",
        "max_length": 64,
        "rewrite_scale": 10.0,
    }


def test_every_head_keeps_the_token_limit_that_it_was_trained_with() -> None:
    sources = [example(n, full=True, hyperparameters={"max_length": n * 100}) for n in (1, 2)]
    merged = merge(sources)
    assert merged.meta.hyperparameters["max_length"] == recorded([merged])["max_length"] == 200, "of no text less"
    assert [recorded([merged], task)["max_length"] for task in ("task1", "task2")] == [100, 200]
    again = merge([merged, merged.with_meta(dataclasses.replace(merged.meta, hyperparameters={"max_length": 300}))])
    assert [recorded([again], task)["max_length"] for task in ("task1", "task2")] == [100, 200]
    alike = merge([example(n, full=True, hyperparameters={"max_length": 64}) for n in (1, 2)])
    assert all("max_length" not in head for head in alike.meta.heads.values())
    some = merge([example(1, full=True), sources[1]])  # the first does not say: as alone, the default counts
    assert "max_length" not in recorded([some], "task1") and recorded([some], "task2")["max_length"] == 200


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
        (example(2, trained_terms=("q",)), {}, "expected the same; try --terms q"),
        (example(2, layers=(1,)), {}, "different trained layers"),
        (example(2), {"terms": ["o"]}, "no trained o"),
        (example(2, mode="full"), {}, "got a snapshot of mode full, whose weights changed too"),
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


def test_fine_tunes_of_the_head_alone_have_nothing_to_merge() -> None:
    heads = [example(seed, mode="head", trained_terms=()) for seed in (1, 2)]
    for terms in (None, ["v"]):
        with pytest.raises(UserError, match="which trained no bias term; expected fine-tunes of one or more; try beft"):
            merge(heads, terms=terms)
    for pair in ([example(3), heads[0]], [heads[0], example(3)]):  # not that it trained other terms than the other
        with pytest.raises(UserError, match="which trained no bias term"):
            merge(pair)


def test_how_many_snapshots() -> None:
    with pytest.raises(UserError, match="at least 2"):
        merge([example()])
    with pytest.raises(UserError, match="exactly 2 for slerp"):
        merge([example(seed) for seed in (1, 2, 3)], "slerp")
    with pytest.raises(UserError, match="at least 2"):
        compare([example()])
