"""The grid of a sweep, and what is the same run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from beft_core.architectures.layout import Layout
from beft_core.architectures.resolve import layout_for
from beft_core.config import PER_RUN, RunConfig
from beft_core.errors import UserError
from beft_core.sweeps.grouping import bytes_per_run, group, most_runs
from beft_core.sweeps.sharing.plan import halves
from beft_core.sweeps.spec import COMMON, SweepSpec, identity, read_spec, trains
from beft_core.tasks.sources.user_files import OwnTable
from beft_core.training.estimate.count import layout_of


def spec(**values: Any) -> SweepSpec:
    return SweepSpec.from_dict(values)


def test_a_grid_has_every_combination_once_and_probes_measure_fisher() -> None:
    runs = spec(
        tasks=["sst2", "RTE"],
        regimes=["low", "medium"],
        terms=["v", "q+v", "all"],
        lrs=[1e-3, 1e-2],
        probe_lrs=[1e-4],
        seeds=3,
    ).runs()
    assert len(runs) == 2 * 2 * 3 * (2 + 2 + 1)
    assert {run.task for run in runs} == {"sst2", "rte"}
    assert {(trains(run), run.lr) for run in runs} == {
        ("v", 1e-3),
        ("v", 1e-2),
        ("q+v", 1e-3),
        ("q+v", 1e-2),
        ("all", 1e-4),
    }
    assert all(run.fisher == (run.mode == "all") for run in runs)
    assert {run.n_train for run in runs if run.task == "rte"} == {300, 900}
    assert len({identity(run) for run in runs}) == len(runs)


def test_without_rates_and_sizes_the_preset_decides() -> None:
    (run,) = spec(tasks="sst2", terms="v").runs()
    assert run == RunConfig(task="sst2").resolved()


def test_seeds_are_a_number_or_a_list() -> None:
    assert spec(seeds=3).seeds == (0, 1, 2) and spec(seeds=[4, 9]).seeds == (4, 9)
    assert SweepSpec(seeds=3).seeds == (0, 1, 2) and SweepSpec(seeds=(3,)).seeds == (3,)  # as in a file
    with pytest.raises(UserError, match="how many seeds"):
        SweepSpec(seeds=0)


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_a_run_of_a_grid_is_what_it_is_alone(preset: str) -> None:
    runs = spec(tasks=["sst2", "rte"], terms=["v", "full"], lrs=[1e-3, 1e-2], seeds=[7, 0, 3], preset=preset).runs()
    alone = [
        RunConfig(task=task, mode=mode, terms=terms, lr=lr, seed=seed, preset=preset).resolved()
        for task in ("sst2", "rte")
        for mode, terms in (("terms", ("v",)), ("full", ()))
        for lr in (1e-3, 1e-2)
        for seed in (7, 0, 3)
    ]
    differ = [one for one, other in zip(runs, alone, strict=True) if one != other]
    assert not differ


def test_a_seed_that_the_sampler_does_not_take_is_refused_wherever_it_stands() -> None:
    assert len(spec(terms="v", sampler="randomstate", seeds=[5, 2**32 - 1]).runs()) == 2
    for seeds in ([2**32, 0], [0, 2**32]):
        with pytest.raises(UserError, match="got --seed 4294967296"):
            spec(terms="v", sampler="randomstate", seeds=seeds).runs()


def test_a_size_by_regime_and_by_number_is_one_run() -> None:
    runs = spec(tasks="sst2", terms="v", regimes="low", n_train=1000).runs()
    assert len(runs) == 1


def test_prompts_have_no_head_unless_one_is_asked_for() -> None:
    """Which a run then refuses: by default a sweep of prompts could not begin."""
    assert spec(tasks="sst2").terms == ("v", "q", "k", "all", "head")
    table = {"prompt": "{text} It was", "label": "y", "candidates": ["good", "bad"], "train_file": "a.csv"}
    for tasks in ("prompt-sst2", ["sst2", "prompt-copa"], [{**table, "name": "own"}]):
        assert spec(tasks=tasks).terms == ("v", "q", "k", "all")
    assert spec(tasks="prompt-sst2", terms=["v", "head"]).terms == ("v", "head")


def test_a_spec_is_the_same_after_a_round_trip() -> None:
    one = spec(tasks=["sst2"], lrs=[1e-3], seeds=2, epochs=3, settings={"layers": [1, 2]}, terms=["v", "k"])
    assert SweepSpec.from_dict(one.to_dict()) == one
    assert one.runs()[0].epochs == 3 and one.runs()[0].layers == (1, 2)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tasks": "sst9"}, "sst2"),
        ({"terms": ["w"]}, "some of q, k, v"),
        ({"terms": "v", "lrs": -1.0}, "positive"),
        ({"lrs": "fast"}, "numbers"),
        ({"seeds": []}, "at least one"),
        ({"tasks": ["sst2", "SST-2"], "seeds": [1, 1]}, "each once"),
        ({"sedes": 3}, "seeds"),
        ({"settings": {"epochz": 3}}, "epochs"),
        ({"settings": 3}, "table"),
        ({"seeds": list(range(60)), "lrs": [i / 1e4 for i in range(1, 500)]}, "100,000"),
        ({"merges": "sst2+rte"}, "tasks of the sweep"),
        ({"tasks": ["sst2", "rte"], "merges": "sst2+rte", "terms": "q"}, "without v"),
    ],
)
def test_what_is_no_sweep_is_told(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as error:
        SweepSpec.from_dict(values)
    assert words in str(error.value)


def test_settings_that_no_run_can_have_are_told_by_the_run() -> None:
    with pytest.raises(UserError, match="at least 1"):
        spec(epochs=0).runs()
    with pytest.raises(UserError, match="does not define"):
        spec(tasks="cb", regimes="high").runs()


def test_yaml_as_people_write_it(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text("tasks: [sst2, rte]\nlrs: [1e-3, 0.01]\nseeds: 2\nterms: v\nepochs: 3\n")
    found = SweepSpec.from_dict(read_spec(file))
    assert found.lrs == (1e-3, 1e-2) and found.seeds == (0, 1) and found.settings == {"epochs": 3}


@pytest.mark.parametrize("text", ["- a\n- b\n", "tasks: [", "!!python/object/apply:os.system ['true']", "\x00", "3"])
def test_yaml_that_is_none(text: str, tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(text)
    with pytest.raises(UserError):
        read_spec(file)
    with pytest.raises(UserError, match="cannot read"):
        read_spec(tmp_path / "none.yaml")


def test_what_changes_no_result_changes_no_identity() -> None:
    run = RunConfig(task="sst2").resolved()
    for name, value in {"device": "cpu", "pad": "max", "trajectory_every": 3, "compile": True, "data_dir": "x"}.items():
        assert identity(dataclasses.replace(run, **{name: value})) == identity(run)
    for name, value in {"seed": 1, "lr": 1e-5, "precision": "bfloat16", "dropout": False, "terms": ("q",)}.items():
        assert identity(dataclasses.replace(run, **{name: value})) != identity(run)


@given(most=st.integers(1, 20), seeds=st.integers(1, 6), tasks=st.sampled_from([["sst2"], ["sst2", "rte"]]))
def test_banks_hold_every_run_once_and_only_what_can_share(most: int, seeds: int, tasks: list[str]) -> None:
    runs = spec(tasks=tasks, n_train=[50, 100], terms=["v", "all", "full"], seeds=seeds).runs()
    found = group(runs, most)
    assert sorted(identity(run) for bank in found for run in bank) == sorted(identity(run) for run in runs)
    for bank in found:
        assert 1 <= len(bank) <= most
        assert len(bank) == 1 or all(run.mode != "full" for run in bank)
        shared = [{k: v for k, v in run.to_dict().items() if k not in PER_RUN} for run in bank]
        assert all(one == shared[0] for one in shared)
    assert len(found) <= len(tasks) * (-(-4 * seeds // most) + 2 * seeds)


def test_halves_of_a_bank_are_all_of_it() -> None:
    runs = spec(seeds=5, terms="v").runs()
    assert [run for half in halves(runs) for run in half] == runs and all(halves(runs))


def test_runs_whose_bias_rows_share_stand_alone() -> None:
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 20}
    shared = {"model_type": "deberta-v2", **sizes, "relative_attention": True, "share_att_key": True}
    layout = layout_for(shared)
    assert layout.reads_positions == ("q", "k")
    run = RunConfig().resolved()
    for terms, alone in ((("q",), True), (("k", "v"), True), (("v", "o"), False)):
        assert (most_runs(layout, dataclasses.replace(run, terms=terms), "cpu", 10**15) == 1) is alone
    assert most_runs(layout, dataclasses.replace(run, mode="all", terms=()), "cpu", 10**15) == 1
    assert most_runs(layout, dataclasses.replace(run, mode="head", terms=()), "cpu", 10**15) == 16
    for targets, alone in ((("q", "v"), True), (("v", "o"), False)):
        of_lora = RunConfig(mode="lora", terms=(), targets=targets).resolved()
        assert (most_runs(layout, of_lora, "cpu", 10**15) == 1) is alone
    own = layout_for({**shared, "share_att_key": False})
    assert own.reads_positions == () and most_runs(own, dataclasses.replace(run, terms=("q",)), "cpu", 10**15) == 16


def test_less_memory_means_smaller_banks_but_never_none() -> None:
    layout, run = layout_of("bundled"), RunConfig().resolved()
    need = bytes_per_run(layout, run, "cpu")
    assert most_runs(layout, run, "cpu", 0) == 1
    assert most_runs(layout, run, "cpu", int(need * 5 / 0.7) + 10) == 5
    assert most_runs(layout, run, "cpu", 10**15) == 16
    # 16 examples of 128 tokens in a small BERT take hundreds of megabytes, and no gigabytes.
    assert 1e8 < need < 2e9


def test_short_examples_leave_room_for_more_runs() -> None:
    layout, run = layout_of("bundled"), RunConfig(max_length=128).resolved()
    whole, half = (bytes_per_run(layout, run, "cuda", longest) for longest in (None, 64))
    assert bytes_per_run(layout, run, "cuda", 500) == whole  # the bound
    assert whole - half == run.batch_size * 64 * layout.layers * 4 * (12 * 384 + 3 * 1536)
    assert most_runs(layout, run, "cuda", 40 * whole, 64) > 1.5 * most_runs(layout, run, "cuda", 40 * whole)


def test_bfloat16_takes_half_and_a_gated_mlp_more() -> None:
    """Without the bank's own values, which are float32 always."""
    layout, run = layout_of("bundled"), RunConfig().resolved()

    def activations(layout: Layout, run: RunConfig) -> int:
        longer = dataclasses.replace(run, batch_size=2 * run.batch_size)
        return bytes_per_run(layout, longer, "cuda") - bytes_per_run(layout, run, "cuda")

    assert activations(layout, dataclasses.replace(run, precision="bfloat16")) * 2 == activations(layout, run)
    gated = dataclasses.replace(
        layout,
        slots=tuple(
            dataclasses.replace(s, module=s.module.replace("intermediate.dense", "gate")) for s in layout.slots
        ),
    )
    assert activations(gated, run) == run.batch_size * run.max_length * layout.layers * 4 * (16 * 384 + 5 * 1536)


def test_only_a_cpu_stores_attention_weights() -> None:
    """Scores, softmax and dropout of each layer and head, [batch, length, length] of 4 bytes each."""
    layout, run = layout_of("bundled"), RunConfig().resolved()
    more = bytes_per_run(layout, run, "cpu") - bytes_per_run(layout, run, "cuda")
    assert more == 3 * 4 * layout.layers * layout.heads * run.batch_size * run.max_length**2


def test_no_setting_is_shared_twice() -> None:
    assert len(set(COMMON)) == len(COMMON)


def test_when_to_evaluate_has_one_name_and_its_older_one_is_read(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    for text in ("evaluate: last", "evaluate_when: last", "settings: {evaluate_when: last}"):
        file.write_text(text)
        assert SweepSpec.from_dict(read_spec(file)).settings == {"evaluate": "last"}


# --- tables of the user's own --------------------------------------------------------------------------------------


def films(folder: Path, name: str = "films.csv", rows: int = 12) -> dict[str, Any]:
    """A table of two classes, as YAML has it."""
    file = folder / name
    file.write_text("review,stars\n" + "".join(f"film {i},{'good' if i % 2 else 'bad'}\n" for i in range(rows)))
    return {"name": file.stem, "train_file": str(file), "text": "review", "label": "stars"}


def test_a_table_is_one_more_task(tmp_path: Path) -> None:
    one = spec(tasks=["sst2", films(tmp_path)], terms=["v", "q"], seeds=2, n_train=4)
    assert one.tasks == ("sst2", "films") and one.tables == {"films": OwnTable(**films(tmp_path))}
    assert SweepSpec.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert "tables" not in spec(tasks=["sst2"]).to_dict()
    runs = one.runs()
    assert len(runs) == 8 and [run.task for run in runs] == ["sst2"] * 4 + ["films"] * 4
    own = runs[-1]
    assert (own.name, own.train_file, own.text, own.label) == ("films", str(tmp_path / "films.csv"), "review", "stars")
    assert own.table_sha256 == hashlib.sha256((tmp_path / "films.csv").read_bytes()).hexdigest()
    assert {len(bank) for bank in group(runs, 16)} == {4}  # never one bank for two tasks
    assert SweepSpec(tasks=("sst2", OwnTable(**films(tmp_path)))).tasks == one.tasks  # type: ignore[arg-type]
    assert spec(tasks=films(tmp_path), merges=[]).tasks == ("films",)


def test_what_a_table_holds_names_its_runs_and_not_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    first = [identity(run) for run in spec(tasks=[films(tmp_path)]).runs()]
    assert [identity(run) for run in spec(tasks=[films(tmp_path / "b")]).runs()] == first
    assert not set(first) & {identity(run) for run in spec(tasks=[films(tmp_path, rows=14)]).runs()}
    for other in ({"problem": "classification"}, {"name": "more"}, {"eval_file": str(tmp_path / "b" / "films.csv")}):
        assert not set(first) & {identity(run) for run in spec(tasks=[films(tmp_path) | other]).runs()}


def test_settings_that_came_later_leave_old_names_as_they_were() -> None:
    """Of a sweep folder of the release before there were tables."""
    assert identity(spec(tasks="sst2", terms="v").runs()[0]) == "1392b19747be039b"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"tasks": [{"train_file": "a.csv"}]}, "a table without text and label"),
        ({"tasks": [{"train_file": "a.csv", "text": "t", "label": "l", "seperator": ","}]}, "'seperator'"),
        ({"tasks": [{"train_file": "a.csv", "text": "t", "label": "l", "problem": "ranking"}]}, "regression"),
        ({"tasks": [{"train_file": "a.csv", "text": "t", "label": "l", "name": "sst2"}]}, "a task of the lab"),
        ({"tasks": [{"train_file": 3, "text": "t", "label": "l"}]}, "train_file = '3'"),
        (
            {"tasks": [{"train_file": f, "text": "t", "label": "l", "name": "x"} for f in ("a.csv", "b.csv")]},
            "two tables",
        ),
        ({"tables": {"y": {"train_file": "a.csv", "text": "t", "label": "l", "name": "x"}}}, "under another name"),
        ({"tables": 3}, "a mapping"),
        ({"tasks": ["films"]}, "got the task 'films'"),
    ],
)
def test_mistakes_in_tables(values: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        spec(**values)


def test_a_table_that_is_not_there_is_told(tmp_path: Path) -> None:
    one = spec(tasks=[{"train_file": str(tmp_path / "a.csv"), "text": "t", "label": "l"}])
    with pytest.raises(UserError, match="does not exist"):
        one.runs()


def test_prompts_are_as_long_in_a_sweep_as_alone() -> None:
    lengths = {
        run.task: run.max_length for run in SweepSpec(tasks=("prompt-cb", "cb"), terms=("v",), seeds=(0,)).runs()
    }
    assert lengths == {"prompt-cb": 2048, "cb": 128}
    (short,) = SweepSpec(tasks=("prompt-cb",), terms=("v",), seeds=(0,), settings={"max_length": 64}).runs()
    assert short.max_length == 64


def test_methods_stand_beside_terms_with_settings_and_rates_of_their_own(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(
        "tasks: sst2\nterms: [v]\nlrs: 1e-2\nseeds: 2\nmethods:\n  - ia3\n"
        "  - {method: lora, rank: 4, targets: q+k, lrs: [1e-3, 5e-4]}\n  - {method: lora, targets: [q, v]}\n"
    )
    made = SweepSpec.from_dict(read_spec(file))
    runs = made.runs()
    assert [(trains(run), run.lr) for run in runs if run.seed == 0] == [
        ("v", 1e-2),
        ("ia3", 1e-2),
        ("lora targets=q,k rank=4", 1e-3),
        ("lora targets=q,k rank=4", 5e-4),
        ("lora", 1e-2),
    ]
    assert sorted(map(len, group(runs, 16))) == [1, 1, 2, 2, 4], "of adapters only LoRA shares passes, by its shape"
    assert SweepSpec.from_dict(json.loads(json.dumps(made.to_dict()))) == made
    words = ("ia3", "lora rank=4 targets=q,k lrs=1e-3,5e-4", "lora targets=q,v")
    assert spec(tasks="sst2", terms="v", lrs=1e-2, seeds=2, methods=words) == made
    again = [trains(run) for run in spec(terms=(), methods=tuple(trains(run) for run in runs[2::4])).runs()]
    assert again == [trains(run) for run in runs[2::4]], "what a table says of a run can be said of a sweep"
    assert "methods" not in spec(terms="v").to_dict()
    assert [trains(run) for run in spec(terms=[], methods="lora").runs()] == ["lora"]


def test_bias_terms_may_have_rates_and_seeds_of_their_own_too() -> None:
    made = spec(terms=[], methods=[{"method": "q+v", "lrs": 3e-3}, {"method": "none", "seeds": 4}], seeds=2)
    assert made.at_most() == len(made.runs()) == 3
    runs = made.runs()
    assert [(trains(run), run.lr, run.seed) for run in runs[:2]] == [("q+v", 3e-3, 0), ("q+v", 3e-3, 1)]
    assert [(trains(run), run.seed) for run in runs[2:]] == [("none", 4)]
    assert identity(runs[0]) == identity(spec(terms=["q+v"], lrs=3e-3, seeds=2).runs()[0])
    assert spec(methods=["v"], terms=["v"], lrs=1e-3, seeds=1).runs() == spec(terms=["v"], lrs=1e-3, seeds=1).runs()


def test_a_term_that_is_scored_with_demonstrations_has_a_name_of_its_own() -> None:
    words = ("v", "v demonstrations=4")
    runs = spec(tasks="prompt-sst2", terms=[], methods=words, lrs=1e-3, seeds=1).runs()
    assert [run.demonstrations for run in runs] == [0, 4]
    assert tuple(map(trains, runs)) == words, "a table's mean over seeds would be one over both"


def test_without_probes_all_biases_are_a_fine_tune_like_others() -> None:
    assert "probes" not in spec(terms="all").to_dict()
    made = spec(terms="all", probes=False)
    assert not any(run.fisher for run in made.runs()) and SweepSpec.from_dict(made.to_dict()) == made


@pytest.mark.parametrize(
    ("methods", "words"),
    [
        ("lorra", "got the method lorra; expected one of .*; try lora"),
        ([{"rank": 3}], "a name, or a table with the name as its method"),
        ([{"method": "lora", "rank": 0}], "got --rank 0; expected 1 to 4096"),
        ([{"method": "ia3", "rank": 2}], "got --rank with --method ia3"),
        ([{"method": "lora", "epochs": 2}], "got epochs of the method lora"),
        ([{"method": "lora", "lrs": [0]}], "positive numbers"),
        ([{"method": "terms"}], "got the method terms"),
        ("", "got the method; expected one of"),
        ("lora rank", "got 'rank' after the method lora"),
        ("lora rank=3 rank=4", "got 'rank=4' after the method lora; expected settings, each once"),
        ("lora rank=many", "got rank = 'many'; expected a whole number"),
        ("lora rank=3,4", r"got rank = \[3, 4\]; expected a whole number"),
        ("lora lrs=fast", "positive numbers"),
        ("lora targets=head", "got --targets head"),
    ],
)
def test_methods_that_are_none_are_told(methods: Any, words: str) -> None:
    with pytest.raises(UserError, match=words):
        spec(methods=methods)
