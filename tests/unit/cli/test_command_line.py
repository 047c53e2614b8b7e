"""The command of a run, parsed by the real command line, gives its configuration back."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from beft_core.cli import app, fine_tune, flags, sweep
from beft_core.cli.command_line import command_line, sweep_command, sweep_file
from beft_core.config import DEVICES, EVALUATIONS, PADDINGS, PRECISIONS, SCHEDULES, RunConfig
from beft_core.errors import UserError
from beft_core.methods import METHODS
from beft_core.presets import EPSILON_PLACES, INPUTS, SAMPLERS
from beft_core.sweeps.spec import COMMON, MODES_OF_SWEEPS, SweepSpec, read_spec
from beft_core.tasks.own_table import PROBLEMS
from beft_core.tasks.registry import REGIMES
from beft_core.tasks.sources.user_files import OwnTable
from beft_core.terms import TERM_KEYS


class Parsed(Exception):
    """Carries what the command line understood, before it does it."""


@cache
def parser(command: str) -> Any:
    """The command's parser as the application makes it for every line; that takes longer than to read one."""
    return app.parser([command])


def stopped(words: list[str], stops: dict[tuple[Any, str], Callable[..., Any]]) -> tuple[Any, ...]:
    """What the real parser understood of a line, some functions behind it replaced by ones that raise it."""
    assert words[0] == "beft"
    made = parser(words[1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "parser", lambda _: made)
        for (module, name), stop in stops.items():
            patch.setattr(module, name, stop)
        with pytest.raises(Parsed) as caught:
            assert app.run(words[1:]) == 0  # a refusal ends here, with its status
    return caught.value.args


def parsed(line: str) -> tuple[str, RunConfig]:
    """(command, configuration) of a line, through the real parser."""

    def stop(fields: dict[str, Any]) -> RunConfig:
        raise Parsed(flags.config_of(fields))

    words = shlex.split(line)
    (config,) = stopped(words, {(fine_tune, "config_of"): stop})
    return words[1], config


def some(values: Any) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(values, unique=True, min_size=1, max_size=5).map(tuple)


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12)
ANY = {
    "model": st.sampled_from(["bundled", "bert-base-cased@main", "/a folder/with 'quotes' and $signs", "~"]),
    "layers": st.none() | st.sets(st.integers(0, 40), min_size=1).map(lambda s: tuple(sorted(s))),
    "train_null": st.booleans(),
    "rewrite_scale": st.none() | st.floats(1e-3, 1e3),
    "add_bias": st.just(()) | some(st.sampled_from(TERM_KEYS)),
    "n_train": st.none() | st.integers(2, 10**7),
    "preset": st.sampled_from(["paper", "quick"]),
    "epochs": st.none() | st.integers(1, 100),
    "lr": st.none() | st.floats(1e-12, 10),
    "schedule": st.none() | st.sampled_from(SCHEDULES),
    "batch_size": st.integers(1, 512),
    "seed": st.integers(0, 2**31),
    "max_length": st.integers(4, 512),
    "dropout": st.booleans(),
    "weight_decay": st.floats(0, 1),
    "clip": st.floats(0, 100),
    "adam_epsilon": st.none() | st.floats(1e-12, 1),
    "adam_epsilon_at": st.none() | st.sampled_from(list(EPSILON_PLACES)),
    "sampler": st.none() | st.sampled_from(list(SAMPLERS)),
    "inputs": st.none() | st.sampled_from(list(INPUTS)),
    "precision": st.sampled_from(PRECISIONS),
    "device": st.sampled_from(DEVICES),
    "pad": st.sampled_from(list(PADDINGS)),
    "plain": st.booleans(),
    "trajectory_every": st.none() | st.integers(1, 1000),
    "fisher_examples": st.none() | st.integers(1, 1000),
    "n_eval": st.none() | st.integers(2, 1000),
}
TRAINED = {
    "hold_out": st.none() | st.integers(2, 1000),
    "mode": st.sampled_from(list(METHODS)),
    "terms": some(st.sampled_from(TERM_KEYS)),
    "evaluate": st.sampled_from(EVALUATIONS),
    "fisher": st.booleans(),
}
OF_TASK = {
    "task": st.sampled_from(["demo-sentiment", "sst2", "rte"]),
    "regime": st.none() | st.sampled_from(REGIMES),
    "data_dir": st.none() | TEXT,
}
OF_TABLE = {
    "train_file": TEXT,
    "eval_file": st.none() | TEXT,
    "text": TEXT,
    "text_pair": st.none() | TEXT,
    "label": TEXT,
    "name": st.none() | st.sampled_from(["reviews", "Films_2", "0"]),
    "problem": st.none() | st.sampled_from(list(PROBLEMS)),
}


def configs(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Some of the fields, the rest at their defaults."""
    return st.fixed_dictionaries({}, optional=fields)


def meaning(config: RunConfig) -> RunConfig:
    """Named terms mean nothing to the other modes."""
    return config if config.mode == "terms" else dataclasses.replace(config, terms=())


def before_text(modes: Iterable[str]) -> bool:
    """Whether one of them puts vectors before the text, which it does in all layers or not at all."""
    return any(METHODS[mode].before_text for mode in modes if mode in METHODS)


@settings(max_examples=150, deadline=None)
@given(configs(**ANY, **TRAINED), configs(**OF_TASK) | st.fixed_dictionaries(OF_TABLE))
def test_train_comes_back(fields: dict[str, Any], data: dict[str, Any]) -> None:
    if data.get("regime") in ("medium", "high") and data.get("task") is None:
        data = {**data, "task": "sst2"}  # the demo task has no such regime
    if before_text([fields.get("mode", "terms")]):
        fields = {**fields, "layers": None}
    config = RunConfig(**fields, **data)
    kind, again = parsed(command_line("train", config))
    assert (kind, meaning(again)) == ("train", meaning(config))


@settings(max_examples=50, deadline=None)
@given(configs(**ANY), configs(**OF_TASK) | st.fixed_dictionaries(OF_TABLE))
def test_select_comes_back(fields: dict[str, Any], data: dict[str, Any]) -> None:
    if data.get("regime") in ("medium", "high"):
        data = {**data, "task": "sst2"}
    config = RunConfig(**fields, **data)
    assert parsed(command_line("select", config)) == ("select", config)


def test_only_what_differs_is_said() -> None:
    assert command_line("select", RunConfig(evaluate="last")) == "beft select"
    assert command_line("select", RunConfig()) == "beft select --evaluate epoch"  # the probe of the dashboard
    assert command_line("train", RunConfig()) == "beft train"
    config = RunConfig(task="sst2", terms=("q", "v"), layers=(0, 3, 4, 5), lr=4e-4, dropout=False)
    assert command_line("train", config, "my run.beft.safetensors") == (
        "beft train --task sst2 --terms q v --layers 0 3-5 --lr 0.0004 --no-dropout --out 'my run.beft.safetensors'"
    )
    assert command_line("train", RunConfig(mode="full")) == "beft train --terms full"


def test_what_a_run_ignores_is_not_said() -> None:
    table = RunConfig(task="sst2", train_file="-f.csv", text="a b", label="l")
    assert command_line("train", table) == "beft train --train-file=-f.csv --text 'a b' --label l"
    assert command_line("train", RunConfig(text="a", label="l")) == "beft train"
    assert command_line("select", RunConfig(mode="terms", terms=("q",), evaluate="last")) == "beft select"


def test_every_field_of_a_run_has_a_flag() -> None:
    # The wall clock in a snapshot is for benchmarks.
    # What a table holds is noted by whoever sets a run up: a command reads the file as it is.
    without = {"record_wall_seconds", "table_sha256"}
    assert {f.name for f in dataclasses.fields(RunConfig)} - set(flags.FLAGS) == without


# --- sweeps --------------------------------------------------------------------------------------------------------


class Folder(PurePosixPath):
    """A sweep's folder that is not made."""

    def prepare(self) -> None:
        pass

    def all_rows(self, runs: object) -> dict[str, object]:
        return {}

    def continued(self, spec: SweepSpec) -> SweepSpec:
        return spec


def parsed_sweep(line: str) -> tuple[SweepSpec, str]:
    """(spec, folder) of a line, through the real parser."""

    def stop(spec: SweepSpec, folder: Any, *_: Any) -> None:
        raise Parsed(spec, str(folder))

    stops = {
        (sweep, "SweepFolder"): Folder,
        (sweep, "hours"): lambda runs, at_work: None,
        (sweep, "_without_work"): stop,
    }
    spec, folder = stopped(shlex.split(line), stops)
    return spec, folder


RATES = some(st.floats(1e-12, 10))
GRID = {
    "tasks": some(st.sampled_from(["demo-sentiment", "sst2", "rte", "mrpc"])),
    "regimes": some(st.sampled_from(REGIMES)),
    "n_train": some(st.integers(2, 10**7)),
    "terms": some(st.sampled_from([*TERM_KEYS, *MODES_OF_SWEEPS, "q+v", "v+ln1+mlp_in"])),
    "lrs": RATES,
    "probe_lrs": RATES,
    "seeds": st.integers(1, 5).map(lambda count: tuple(range(count))),
}
SHARED = {name: values for name, values in {**ANY, **TRAINED}.items() if name in COMMON}


@settings(max_examples=100, deadline=None)
@given(configs(**GRID), configs(**SHARED))
def test_a_sweep_comes_back(grid: dict[str, Any], shared: dict[str, Any]) -> None:
    default = RunConfig()
    told = {name: value for name, value in shared.items() if value != getattr(default, name)}
    if before_text(grid.get("terms", ())):
        told.pop("layers", None)
    spec = SweepSpec(**grid, settings=told)
    assert parsed_sweep(sweep_command(spec, "a folder")) == (spec, "a folder")


def test_settings_that_are_the_defaults_are_not_said() -> None:
    spec = SweepSpec(("rte", "sst2"), terms=("v",), merges=("rte+sst2",), settings={"device": "auto", "layers": [3, 4]})
    assert sweep_command(spec) == "beft sweep --tasks rte sst2 --terms v --merges rte+sst2 --seeds 1 --layers 3-4"
    assert parsed_sweep(sweep_command(spec))[0].runs() == spec.runs()


def test_a_sweep_of_a_table_comes_back(tmp_path: Path) -> None:
    file = tmp_path / "my films.csv"
    file.write_text("review,stars\nfine,1\npoor,2\n")
    table = OwnTable(str(file), "review", "stars", name="films", problem="regression")
    for others in (("rte",), ()):
        spec = SweepSpec((*others, table), terms=("v",), settings={"n_eval": 9}).pinned()
        assert parsed_sweep(sweep_command(spec, "a folder")) == (spec, "a folder")


def test_a_sweep_comes_back_from_its_file(tmp_path: Path) -> None:
    tables = (
        OwnTable("a.csv", "t", "l", name="a"),
        OwnTable("b.csv", "t", "l", name="b", problem="regression", sha256="0"),
    )
    spec = SweepSpec(
        ("rte", *tables),
        terms=("v", "q+v"),
        lrs=(1e-05, 2.0),
        seeds=(3, 4),
        settings={"dropout": False, "layers": (3, 4), "model": "null"},
    )
    (tmp_path / "sweep.yaml").write_text(sweep_file(spec))
    read = SweepSpec.from_dict(read_spec(tmp_path / "sweep.yaml"))
    assert read == dataclasses.replace(spec, settings=spec.settings | {"layers": [3, 4]})
    assert "null" not in sweep_file(SweepSpec(tables)) and "settings" not in sweep_file(SweepSpec())
    plain = SweepSpec(terms=("all",), probes=False)
    assert "probes: false" in sweep_file(plain) and "probes" not in sweep_file(SweepSpec())
    with pytest.raises(UserError, match="probes: false as YAML"):
        sweep_command(plain)


def test_methods_without_terms_come_back_from_a_file_and_no_flag_says_them(tmp_path: Path) -> None:
    spec = SweepSpec(terms=(), methods=("lora", "ia3"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="got methods without terms"):
        sweep_command(spec)
    (tmp_path / "sweep.yaml").write_text(sweep_file(spec))
    assert SweepSpec.from_dict(read_spec(tmp_path / "sweep.yaml")) == spec


def test_seeds_and_tables_that_no_flag_says_are_refused() -> None:
    with pytest.raises(UserError, match="YAML"):
        sweep_command(SweepSpec(seeds=(3, 4)))
    with pytest.raises(UserError, match="YAML"):
        sweep_command(SweepSpec((OwnTable("a.csv", "t", "l"), OwnTable("b.csv", "t", "l"))))
