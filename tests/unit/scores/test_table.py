"""Scores against independent computations, their edge cases, and the tables made of them."""

from __future__ import annotations

import dataclasses
import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from example_snapshots import LAYERS, base, example
from hypothesis import given
from hypothesis import strategies as st

from beft_core.errors import UserError
from beft_core.scores.approaches import of_probes
from beft_core.scores.table import (
    FROM_ZERO,
    aggregate_seeds,
    rank_terms,
    reason_without_score,
    score_snapshot,
    select_term,
)
from beft_core.snapshots.snapshot import Snapshot, write_snapshot
from beft_core.terms import TERM_KEYS


def by_angle(pre: np.ndarray, post: np.ndarray) -> list[float]:
    """The projection ratio another way: 1 - cos(angle) * min(r, 1/r), in pure Python."""
    scores = []
    for a, b in zip(pre.astype(float).tolist(), post.astype(float).tolist(), strict=True):
        norm_a, norm_b = math.hypot(*a), math.hypot(*b)
        if norm_a == 0 or norm_b == 0:
            scores.append(0.0 if norm_a == norm_b else 1.0)
            continue
        cosine = math.fsum((x / norm_a) * (y / norm_b) for x, y in zip(a, b, strict=True))
        ratio = norm_b / norm_a
        scores.append(1 - cosine * min(ratio, 1 / ratio))
    return scores


def test_ranks_and_selection_break_ties_in_the_order_of_terms() -> None:
    scores = {"ln2": 0.5, "v": 0.2, "k": 0.2, "q": 0.1, "o": 0.5}
    assert rank_terms(scores) == {"o": 1, "ln2": 2, "k": 3, "v": 4, "q": 5}
    assert select_term(scores) == "k"
    assert select_term({"o": 1.0}) is None
    assert select_term({"q": 0.0, "k": 0.0, "v": 0.0, "o": 1.0}) is None
    assert select_term(scores, ("o", "ln2", "v")) == "o"
    assert select_term(scores, ("o", "ln2")) is None and select_term({"q": 1.0, "k": 1.0, "v": 1.0}) is None


@given(st.dictionaries(st.sampled_from(TERM_KEYS), st.floats(0, 2), min_size=1))
def test_ranks_are_a_permutation_that_follows_the_scores(scores: dict[str, float]) -> None:
    ranks = rank_terms(scores)
    assert sorted(ranks.values()) == list(range(1, len(scores) + 1))
    assert all(scores[a] >= scores[b] for a in ranks for b in ranks if ranks[a] < ranks[b])


def test_a_table_agrees_with_the_formulas_of_each_tensor() -> None:
    pre = base(terms=("q", "k", "v", "mlp_in"))
    snapshot = example(full=True, pre=pre, null_terms=("k",), trained_terms=("q", "v"))
    table = score_snapshot(snapshot)
    assert table.approaches == tuple(of_probes())
    assert len(table.per_layer) == 4 * LAYERS * 5 and len(table.means) == 4 * 5
    for row in table.per_layer.itertuples():
        pre, post = snapshot.pre(row.stack, row.term), snapshot.post(row.stack, row.term)
        exact, batch = (snapshot.fisher(row.stack, row.term, variant) for variant in ("exact", "batch"))
        expected = {
            "projection_ratio": by_angle(pre, post)[row.layer],
            "magnitude": np.abs(post.astype(float) - pre)[row.layer].sum(),
            "magnitude_mean_abs": np.abs(post.astype(float) - pre)[row.layer].mean(),
            "fisher": exact[row.layer].astype(float).sum() * (row.term != "k"),  # null
            "fisher_batch": batch[row.layer].astype(float).mean() * (row.term != "k"),
        }[row.approach]
        assert row.score == pytest.approx(expected, rel=1e-12, abs=1e-12)
        assert row.null == (row.term == "k")
    for (_, approach), group in table.means.groupby(["stack", "approach"]):
        assert group.sort_values("score", ascending=False)["rank"].tolist() == [1, 2, 3, 4]
        best = group[group.term.isin(["q", "v"])].sort_values("score").iloc[-1]
        assert table.selected()[approach] == best.term
    assert table.means[table.means.trained].term.unique().tolist() == ["q", "v"]
    assert table.per_layer.columns.tolist() == [
        "stack",
        "term",
        "layer",
        "approach",
        "score",
        "cosine",
        "angle_degrees",
        "length_ratio",
        "reversed",
        "null",
    ]


def test_a_null_term_is_never_selected_however_high_it_scores() -> None:
    pre = base()
    post = {key: array * (-9 if key[1] == "k" else 1.1 if key[1] == "q" else 1.01) for key, array in pre.items()}
    for meta in (example(null_terms=("k",)).meta, example(null_elements=None).meta):  # recorded; by the architecture
        table = score_snapshot(Snapshot.build(meta, pre, post))
        assert set(table.selected().values()) == {"q"}
        assert table.means[table.means.term == "k"]["rank"].tolist() == [1, 1, 1] and table.terms[1].null
        first = aggregate_seeds([table]).set_index("term")
        assert first["first"]["k"].tolist() == [1, 1, 1] and first["first_of_candidates"]["q"].tolist() == [1, 1, 1]
        assert not first["first_of_candidates"]["k"].any()


@pytest.mark.parametrize("trained", [("v",), ("k", "v"), (), ("o",)])
def test_without_a_contest_nothing_is_selected(trained: tuple[str, ...]) -> None:
    pre = base(terms=("q", "k", "v", "o"))
    table = score_snapshot(example(pre=pre, null_terms=("k",), trained_terms=trained))
    assert table.selected() == dict.fromkeys(("projection_ratio", "magnitude", "magnitude_mean_abs"))
    assert not aggregate_seeds([table])["first_of_candidates"].any()


def test_terms_that_all_score_the_same_are_no_selection() -> None:
    pre = base()
    for key in pre:
        pre[key] = pre["encoder", "q"]
    post = {key: 2 * array for key, array in pre.items()}
    table = score_snapshot(Snapshot.build(example(pre=pre, null_terms=("k",)).meta, pre, post))
    assert set(table.selected().values()) == {None}
    assert str(table.no_selection()["magnitude"]) == "all equal (q and v)"
    assert not table.means["selected"].any() and not aggregate_seeds([table])["first_of_candidates"].any()


def test_what_started_at_zero_cannot_be_selected_by_how_far_it_turned() -> None:
    """Random initialisation leaves biases at zero, and a bias that was added starts there: each scores 1."""
    pre = {key: 0 * array for key, array in base().items()}
    post = {key: array + number for number, (key, array) in enumerate(pre.items(), 1)}
    table = score_snapshot(Snapshot.build(example(pre=pre, null_terms=("k",)).meta, pre, post))
    assert table.mean_scores("projection_ratio") == {"q": 1, "k": 1, "v": 1}
    assert table.selected() == {"projection_ratio": None, "magnitude": "v", "magnitude_mean_abs": "v"}
    assert "undefined from zero (q and v started at zero" in str(table.no_selection()["projection_ratio"])
    assert set(table.no_selection()) == {"projection_ratio"}

    one = base() | {("encoder", "v"): pre["encoder", "v"]}  # only b_v was added: it would win every time
    table = score_snapshot(Snapshot.build(example(pre=one).meta, one, {key: array + 1 for key, array in one.items()}))
    scores = table.mean_scores("projection_ratio")
    assert scores["v"] == 1 and table.selected()["projection_ratio"] == max("qk", key=scores.__getitem__)
    assert table.contestants("magnitude") == ("q", "k", "v")
    means = table.means.set_index(["approach", "term"])
    assert means.loc[("projection_ratio", "v"), "rank"] == 3, "a number without a meaning is nobody's first place"
    assert means.loc[("projection_ratio", table.selected()["projection_ratio"]), "rank"] == 1
    (note,) = table.notes
    assert note.startswith("Projection ratio of v: undefined from zero")
    row = table.rows("encoder")["v"]
    assert reason_without_score(row, "projection_ratio") == FROM_ZERO and reason_without_score(row, "magnitude") is None


def test_the_fisher_information_of_what_is_null_is_zero() -> None:
    """Sums whose parts cancel leave 1e-18 in files: it would look like a number that was measured."""
    noise = {key: np.full_like(array, 1e-18) for key, array in base().items()}
    for fisher in (noise, {key: np.ones_like(array) for key, array in noise.items()}):
        pre = base()
        whole = example(pre=pre, null_terms=("k",))
        measured = Snapshot.build(whole.meta, pre, pre, fisher=fisher, fisher_batch=fisher)
        table = score_snapshot(measured)
        assert not table.rows("encoder")["k"].scores["fisher"].any() and table.mean_scores("fisher_batch")["k"] == 0
        assert table.mean_scores("fisher")["q"] == pytest.approx(float(fisher["encoder", "q"][0].sum()))
    partly = Snapshot.build(example(null_elements={"k": ((4, 8),)}).meta, pre, pre, fisher=fisher)
    assert score_snapshot(partly).mean_scores("fisher") == {"q": 8, "k": 4, "v": 8}


def test_fisher_information_has_a_contest_whatever_was_trained() -> None:
    table = score_snapshot(example(full=True, null_terms=("k",), trained_terms=("v",)))
    assert table.selected()["projection_ratio"] is None and table.selected()["fisher"] in ("q", "v")


@pytest.mark.parametrize(
    ("architecture", "details", "said"),
    [
        ("gpt_neox", {"null_elements": None}, "it depends on the configuration of the gpt_neox model"),
        ("falcon", {"null_elements": None}, "it depends on the configuration"),
        ("mamba", {"null_elements": None}, "mamba is none of the architectures"),
        ("gpt_neox", {"null_elements": None, "versions": {"beft-lab": "0.1.0"}}, "made before that was noted"),
        ("falcon", {"null_elements": None, "versions": {"beft-lab": "0.1.0"}}, None),
        ("llama", {"null_elements": None}, None),
        ("gpt_neox", {"null_elements": {}}, None),
    ],
)
def test_what_is_not_known_of_the_key_bias_is_said(architecture: str, details: dict, said: str | None) -> None:
    meta = example(**details).meta
    meta = dataclasses.replace(meta, model=dataclasses.replace(meta.model, architecture=architecture))
    table = score_snapshot(Snapshot.build(meta, base(), base(2)))
    found = [note for note in table.notes if "whether k can act is not known" in note]
    assert len(found) == (said is not None) and all(said in note for note in found if said)
    assert not table.terms[1].null


def test_null_elements_are_counted_and_their_noise_is_said() -> None:
    pre = base()
    post = {key: array + np.repeat([3.0, 1.0], 4).astype(np.float32) for key, array in pre.items()}
    meta = example(null_elements={"k": ((4, 8),)}).meta
    table = score_snapshot(Snapshot.build(meta, pre, post))
    assert [(row.null, row.null_elements, row.width) for row in table.terms] == [(0, 0, 8), (0, 4, 8), (0, 0, 8)]
    assert "4 of 8 elements of k in each layer cannot act (null) and were trained: 25% of its" in table.notes[0]
    post["encoder", "k"][:, 4:] = pre["encoder", "k"][:, 4:]
    assert "(null) and did not move" in score_snapshot(Snapshot.build(meta, pre, post)).notes[0]


def test_without_fisher_only_movement_is_scored_and_an_unmoved_term_scores_zero() -> None:
    pre = base()
    post = {key: array + (key[1] == "v") for key, array in pre.items()}
    meta = example(null_terms=("k",)).meta
    table = score_snapshot(Snapshot.build(meta, pre, post))
    assert table.approaches == ("projection_ratio", "magnitude", "magnitude_mean_abs")
    scores = table.mean_scores("projection_ratio")
    assert scores["q"] == scores["k"] == 0 and scores["v"] > 0
    assert any("k is a null term and was trained" in note for note in table.notes)
    assert not any("tie" in note for note in table.notes)
    assert table.selected() == dict.fromkeys(table.approaches, "v")


def test_notes_tell_that_terms_tie() -> None:
    pre = base(terms=("k", "q"))
    pre["encoder", "k"] = pre["encoder", "q"]
    post = {key: 2 * array for key, array in pre.items()}
    table = score_snapshot(Snapshot.build(example(pre=pre).meta, pre, post))
    assert "q, k tie on projection_ratio at 0.5: ranked in the order of the terms" in table.notes


def test_notes_tell_that_layers_were_left_out() -> None:
    assert "only 2 of 3 layers" in score_snapshot(example(layers=(0, 1))).notes[0]
    assert score_snapshot(example()).notes == ()


def test_stacks_are_ranked_apart() -> None:
    table = score_snapshot(example(pre=base() | base(seed=9, stack="decoder")))
    assert table.stacks == ("encoder", "decoder")
    ranks = table.means[table.means.approach == "magnitude"].groupby("stack")["rank"].apply(sorted)
    assert ranks["encoder"] == ranks["decoder"] == [1, 2, 3]
    assert table.selected("decoder")["magnitude"] in "qkv"


def test_a_head_alone_cannot_be_scored() -> None:
    head = Snapshot.build(example().meta, {}, {}, extra={"extra.sst2.head.bias": np.zeros(2)})
    with pytest.raises(UserError, match="no bias term"):
        score_snapshot(head)


def test_seeds_are_averaged_and_first_places_counted() -> None:
    tables = [score_snapshot(example(seed)) for seed in range(1, 6)]
    summary = aggregate_seeds([*tables[:2], *(table.means for table in tables[2:])])
    for row in summary.itertuples():
        scores = [table.mean_scores(row.approach)[row.term] for table in tables]
        assert row.mean == pytest.approx(math.fsum(scores) / 5)
        assert row.std == pytest.approx(np.std(scores, ddof=1))
        by_seed = [table.mean_scores(row.approach) for table in tables]
        winners = [max(scores, key=scores.__getitem__) for scores in by_seed]
        assert row.first == row.first_of_candidates == winners.count(row.term)
        assert row.seeds == 5
    assert np.isnan(aggregate_seeds(tables[:1])["std"]).all()
    with pytest.raises(UserError, match="no scores"):
        aggregate_seeds([])


def test_a_term_outside_the_candidates_does_not_take_their_first_place() -> None:
    pre = base(terms=("v", "q", "o"))
    post = {key: array * {"o": 3, "v": 2, "q": 1.5}[key[1]] for key, array in pre.items()}
    summary = aggregate_seeds([score_snapshot(Snapshot.build(example(pre=pre).meta, pre, post))])
    ratio = summary[summary.approach == "projection_ratio"].set_index("term")
    assert ratio["first"].to_dict() == {"q": 0, "v": 0, "o": 1}
    assert ratio["first_of_candidates"].to_dict() == {"q": 0, "v": 1, "o": 0}


def test_scoring_imports_neither_torch_nor_pandas(tmp_path: Path) -> None:
    write_snapshot(tmp_path / "x.beft.safetensors", example(full=True))
    code = """if True:
        import sys
        from beft_core.exchange import checkpoints, peft_adapter
        from beft_core.merging import merge
        from beft_core.scores.table import score_snapshot
        from beft_core.snapshots.snapshot import read_snapshot
        print(score_snapshot(read_snapshot(sys.argv[1])).selected()["magnitude"])
        assert not {"torch", "transformers", "pandas", "safetensors", "streamlit"} & sys.modules.keys()
    """
    command = [sys.executable, "-c", code, str(tmp_path / "x.beft.safetensors")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() in "qkv"
