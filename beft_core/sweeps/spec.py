"""Specification of a sweep: a grid of fine-tunes, from flags or a YAML file, and the single runs that it stands for."""

from __future__ import annotations

import dataclasses
import difflib
import hashlib
import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beft_core.config import SETTINGS_OF_METHODS, RunConfig, table_fields
from beft_core.errors import UserError
from beft_core.files.safe_yaml import read_yaml
from beft_core.methods import METHODS, WITHOUT_TERMS
from beft_core.models.source import BUNDLED
from beft_core.presets import chosen, layout_here, limited
from beft_core.tasks.registry import get_task
from beft_core.tasks.sources.user_files import OwnTable
from beft_core.terms import TERM_KEYS

MAX_RUNS = 100_000
"""Most fine-tunes of a grid; more are a slip of the hand."""
MAX_SEEDS = 10_000
LARGEST = 2**53
"""Largest whole number that a grid may hold: what every reader of JSON holds exactly."""
MODES_OF_SWEEPS = WITHOUT_TERMS
"""Names of the methods that ``terms`` of a sweep may hold besides bias terms."""

OF_METHODS = ("targets", "demonstrations", *SETTINGS_OF_METHODS)
"""Fields of RunConfig that an entry of ``methods`` may say."""
GRID_OF_METHODS = ("lrs", "seeds")
"""Parts of the grid that an entry of ``methods`` may have of its own."""

COMMON: tuple[str, ...] = (
    "model",
    "data_dir",
    "layers",
    "train_null",
    "add_bias",
    "rewrite_scale",
    "preset",
    "epochs",
    "schedule",
    "batch_size",
    "sampler",
    "inputs",
    "n_eval",
    "hold_out",
    "max_length",
    "dropout",
    "weight_decay",
    "adam_epsilon",
    "adam_epsilon_at",
    "clip",
    "precision",
    "device",
    "pad",
    "compile",
    "gradient_checkpointing",
    "plain",
    "fisher_examples",
    "evaluate",
)
"""Fields of RunConfig that all runs of a sweep share."""
NOT_OF_THE_RESULT: tuple[str, ...] = (
    "device",
    "pad",
    "compile",
    "gradient_checkpointing",
    "record_wall_seconds",
    "trajectory_every",
    "data_dir",
    "preset",
    "regime",
)
"""Fields that do not change what a fine-tune is: two runs that differ only here are the same run."""


@dataclass(frozen=True)
class SweepSpec:
    """Grid of a sweep: every task x size x term x learning rate x seed is one fine-tune."""

    tasks: tuple[str, ...] = ("demo-sentiment",)
    """Names of tasks in the registry, or of ``tables``. May be given a table of the user's own too, as an
    :class:`~beft_core.tasks.sources.user_files.OwnTable` or a mapping of its fields, which is then kept there."""
    regimes: tuple[str, ...] = ()
    """Regimes, ``low``, ``medium``, ``high`` or ``all``; without them and ``n_train``, the preset's."""
    n_train: tuple[int, ...] = ()
    """Numbers of training examples, besides or instead of regimes."""
    terms: tuple[str, ...] = ("v", "q", "k", "all", "head")
    """Terms that each run trains: a bias term, several joined by ``+``, or the name of a method that needs none, such
    as ``all`` (the probe) or ``head``.
    """
    methods: tuple[dict[str, Any], ...] = ()
    """Methods besides ``terms``, each alone: ``{"method": "lora", "rank": 8, "targets": ["q", "v"], "lrs": [1e-3]}``,
    of which only the first is needed, or as words, ``lora rank=8 targets=q,v lrs=1e-3``; the name may be of bias terms
    too, ``v`` or ``q+v``. ``lrs`` and ``seeds`` are a method's own learning rates and seeds.
    """
    lrs: tuple[float, ...] = ()
    """Peak learning rates; without them, the preset's."""
    probe_lrs: tuple[float, ...] = ()
    """Peak learning rates of ``all``, which wants smaller ones; without them, the same as the others."""
    seeds: tuple[int, ...] = (0,)
    """Seeds of the fine-tunes; a number alone is how many, as in a file and after ``--seeds``: 3 means 0, 1 and 2."""
    merges: tuple[str, ...] = ()
    """Pairs of tasks, joined by ``+``, whose b_v fine-tunes are merged and scored at the end (paper, Table 3)."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Values of other fields of RunConfig for all runs: some of :data:`COMMON`."""
    task_epochs: dict[str, int] = field(default_factory=dict)
    """Epochs of tasks, where the settings leave them open: of a sweep that began when its preset had other ones."""
    tables: dict[str, OwnTable] = field(default_factory=dict)
    """Tables of the user's own, by task."""
    probes: bool = True
    """Whether runs of ``all`` are probes: followed over their steps, with the Fisher information measured before."""

    def __post_init__(self) -> None:
        if type(self.seeds) is int:
            if not 1 <= self.seeds <= MAX_SEEDS:
                raise UserError(
                    f"got seeds = {str(self.seeds)[:40]}", f"how many seeds, from 1 to {MAX_SEEDS:,}", "seeds: 5"
                )
            object.__setattr__(self, "seeds", tuple(range(self.seeds)))
        self._keep_tables()
        entries = self.methods if isinstance(self.methods, list | tuple) else (self.methods,)
        object.__setattr__(self, "methods", tuple(map(_method_entry, entries)))
        for name, kind in _LISTS.items():
            value = getattr(self, name)
            values = tuple(value) if isinstance(value, list | tuple) else (value,)
            if len(values) > MAX_RUNS:
                raise UserError(f"got {len(values):,} {name}", f"at most {MAX_RUNS:,}")
            if any(type(v) is int and abs(v) > LARGEST for v in values):
                raise UserError(f"got a huge number in {name}", f"{_WORDS[kind]} of at most {LARGEST}")
            if kind is float:
                values = tuple(float(v) if type(v) is int else v for v in values)
            if not all(type(v) is kind for v in values):
                raise UserError(f"got {name} = {str(value)[:80]}", f"a list of {_WORDS[kind]}")
            if len(set(values)) != len(values):
                raise UserError(f"got {name} = {', '.join(map(str, values))}", "each once")
            object.__setattr__(self, name, values)
        for name in ("tasks", "terms", "seeds"):
            if not getattr(self, name) and not (name == "terms" and self.methods):
                raise UserError(f"got a sweep without {name}", "at least one", f"--{name}")
        object.__setattr__(self, "tasks", tuple(map(self._name_of, self.tasks)))
        for value in self.terms:
            mode_and_terms(value)
        for lr in (*self.lrs, *self.probe_lrs):
            if not 0 < lr < float("inf"):
                raise UserError(f"got the learning rate {lr}", "positive numbers", "--lrs 2e-3 1e-2")
        for pair in self.merges:
            tasks = [self._name_of(task) for task in pair.split("+")]
            if len(set(tasks)) != len(tasks) or len(tasks) < 2 or not set(tasks) <= set(self.tasks):
                raise UserError(
                    f"got --merges {pair}", "two or more tasks of the sweep joined by +", "--merges sst2+rte"
                )
            if "v" not in self.terms:
                raise UserError("got --merges in a sweep without v", "the value bias among the terms", "--terms v")
        for name in self.settings:
            if name not in COMMON:
                close = difflib.get_close_matches(name, COMMON, n=1)
                raise UserError(f"got the setting {name!r}", f"some of {', '.join(COMMON)}", close[0] if close else "")
        epochs = self.task_epochs
        if not isinstance(epochs, dict) or not all(type(n) is int and self._name_of(str(t)) for t, n in epochs.items()):
            raise UserError(f"got task_epochs = {str(epochs)[:80]}", "a table of tasks and whole numbers")
        if (count := self.at_most()) > MAX_RUNS:
            raise UserError(f"got a sweep of {count:,} runs", f"at most {MAX_RUNS:,}", "fewer seeds or learning rates")

    def at_most(self) -> int:
        """Count the fine-tunes without listing them; a few fewer where some turn out to be the same."""
        count = len(self.tasks) * (len(self.regimes) + len(self.n_train) or 1)
        rates, seeds = max(1, len(self.lrs), len(self.probe_lrs)), len(self.seeds)
        own = sum((len(e.get("lrs", ())) or rates) * (len(e.get("seeds", ())) or seeds) for e in self.methods)
        return count * (len(self.terms) * rates * seeds + own)

    def _keep_tables(self) -> None:
        """Put the tables among ``tasks`` and ``tables`` into ``tables``, and their names into ``tasks``."""
        if not isinstance(self.tables, dict):
            raise UserError(f"got tables = {str(self.tables)[:80]}", "a mapping of names to tables")
        tables = {
            name: _table({"name": name, **one} if isinstance(one, Mapping) else one)
            for name, one in self.tables.items()
        }
        if strange := [name for name, table in tables.items() if table.task != name]:
            raise UserError(f"got the table {str(strange[0])[:80]} under another name", "the same name twice")
        tasks = list(self.tasks) if isinstance(self.tasks, list | tuple) else [self.tasks]
        for place, entry in enumerate(tasks):
            if isinstance(entry, OwnTable | Mapping):
                table = _table(entry)
                if table.task in tables:
                    raise UserError(f"got two tables named {table.task}", "different names", "name: reviews")
                tables[table.task] = table
                tasks[place] = table.task
        object.__setattr__(self, "tables", tables)
        object.__setattr__(self, "tasks", tuple(tasks))

    def _name_of(self, task: str) -> str:
        return task if task in self.tables else get_task(task).name

    def pinned(self) -> SweepSpec:
        """Give the same grid, its tables by full paths and bound to what they hold. Raises UserError without them."""
        return dataclasses.replace(self, tables={name: table.pinned() for name, table in self.tables.items()})

    def runs(self) -> list[RunConfig]:
        """List every fine-tune of the grid, resolved, each once.

        Raises UserError for settings that no run can have.
        """
        tables = {task: table_fields(table.pinned()) for task, table in self.tables.items()}
        found: dict[str, RunConfig] = {}
        layout = layout_here(str(self.settings.get("model", BUNDLED))) if self._looks_at_model() else None
        trained = [{"method": name} for name in self.terms] + list(self.methods)
        for task, size, what in itertools.product(self.tasks, self._sizes(), trained):
            own = dict(what)
            mode, terms = mode_and_terms(own.pop("method"))
            of_method = self.probe_lrs or self.lrs if METHODS[mode].every_bias else self.lrs
            rates: Sequence[float | None] = own.pop("lrs", None) or of_method or (None,)
            seeds: Sequence[int] = own.pop("seeds", None) or self.seeds
            for lr in rates:
                values = {
                    **self.settings,
                    **size,
                    "task": task,
                    **tables.get(task, {}),
                    "mode": mode,
                    "terms": terms,
                    **own,
                    "lr": lr,
                    "seed": max(seeds),  # not every sampler takes the largest
                    "fisher": METHODS[mode].every_bias and self.probes,
                }
                if values.get("epochs") is None and task in self.task_epochs:
                    values["epochs"] = self.task_epochs[task]
                of_all_seeds = RunConfig.from_dict(limited(values)).resolved(layout)
                for seed in seeds:  # filling all fields in again would take half of the time of a large grid
                    config = dataclasses.replace(of_all_seeds, seed=seed)
                    found.setdefault(identity(config), config)
        return list(found.values())

    def kinds(self) -> list[RunConfig]:
        """List one fine-tune, resolved, of each task and each thing that is trained; the others differ from it in size,
        learning rate or seed alone.

        Raises UserError as :meth:`runs`.
        """
        first = {name: getattr(self, name)[:1] for name in ("regimes", "lrs", "probe_lrs", "seeds")}
        methods = tuple(
            {name: value[:1] if name in GRID_OF_METHODS else value for name, value in entry.items()}
            for entry in self.methods
        )
        n_train = () if self.regimes else self.n_train[:1]
        return dataclasses.replace(self, **first, n_train=n_train, methods=methods).runs()

    def asks_prompts(self) -> bool:
        """Say whether any task is one of prompts."""
        own = self.tables
        return any((own[name].prompt if name in own else get_task(name).prompt) is not None for name in self.tasks)

    def without_heads_of_prompts(self) -> SweepSpec:
        """Leave fine-tunes of a head alone out where prompts are asked, which are answered without one."""
        if not self.asks_prompts():
            return self
        return dataclasses.replace(self, terms=tuple(what for what in self.terms if what != "head"))

    def _looks_at_model(self) -> bool:
        """Whether what a preset fills in depends on the model."""
        authors = self.settings.get("preset") == "paper" and self.settings.get("epochs") is None
        open_tasks = (task for task in self.tasks if task not in self.task_epochs)
        return authors and any(
            get_task(task).epochs_larger is not None for task in open_tasks if task not in self.tables
        )

    def _sizes(self) -> Iterator[dict[str, Any]]:
        if not self.regimes and not self.n_train:
            yield {}
        for regime in self.regimes:
            yield {"regime": regime}
        for count in self.n_train:
            yield {"n_train": count}

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name."""
        table = {
            key: list(value) if isinstance(value, tuple) else value for key, value in dataclasses.asdict(self).items()
        }
        if not self.tables:
            del table["tables"]  # as before there were any
        if not self.methods:
            del table["methods"]
        if self.probes:
            del table["probes"]
        return table

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SweepSpec:
        """Read the fields of :meth:`to_dict`, or what a YAML file may say: single values for lists.

        Fields of RunConfig may stand beside the grid or under ``settings``. Without ``terms`` a sweep of prompts has
        the default ones but ``head``, for prompts are answered without one. Raises UserError for unknown fields.
        """
        names = [f.name for f in dataclasses.fields(cls)]
        grid: dict[str, Any] = {}
        settings: dict[str, Any] = {}
        for name, value in values.items():
            if name == "settings":
                if not isinstance(value, dict):
                    raise UserError(f"got settings = {str(value)[:80]}", "a table of settings")
                settings |= value
            elif name in names:
                grid[name] = value
            elif name in COMMON:
                settings[name] = value
            else:
                close = difflib.get_close_matches(str(name), [*names, *COMMON], n=1)
                raise UserError(
                    f"got the unknown field {str(name)[:80]!r}",
                    f"one of {', '.join([*names, *COMMON])}",
                    close[0] if close else "",
                )
        made = cls(**grid, settings=settings)
        return made if "terms" in grid else made.without_heads_of_prompts()


_LISTS: dict[str, type] = {
    "tasks": str,
    "regimes": str,
    "n_train": int,
    "terms": str,
    "lrs": float,
    "probe_lrs": float,
    "seeds": int,
    "merges": str,
}
_WORDS = {str: "words", int: "whole numbers", float: "numbers"}


def read_spec(path: Path) -> dict[str, Any]:
    """Read the fields of a sweep from a YAML file, for :meth:`SweepSpec.from_dict`.

    Raises UserError: no such file, not plain YAML, or not a table.
    """
    table = {_OLDER.get(name, name): _numbers(name, value) for name, value in read_yaml(path).items()}
    if isinstance(settings := table.get("settings"), dict):
        table["settings"] = {_OLDER.get(name, name): _numbers(str(name), value) for name, value in settings.items()}
    return table


_OLDER = {"evaluate_when": "evaluate"}
"""Another name of a field, as its flag once had it -> the field."""


_NUMBERS = ("lrs", "probe_lrs", "adam_epsilon", "weight_decay", "clip")


def _numbers(name: str, value: Any) -> Any:
    """Convert texts such as 1e-3 to numbers, which YAML 1.1 does not."""
    if name not in _NUMBERS:
        return value
    try:
        if isinstance(value, list):
            return [float(item) if isinstance(item, str) else item for item in value]
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _table(entry: Any) -> OwnTable:
    if isinstance(entry, OwnTable):
        return entry
    if not isinstance(entry, Mapping):
        raise UserError(f"got the table {str(entry)[:80]}", "its fields, such as train_file, text and label")
    return OwnTable.from_dict(entry)


def mode_and_terms(what: str) -> tuple[str, tuple[str, ...]]:
    """Convert ``v``, ``q+v`` or a mode to (mode, terms). Raises UserError."""
    if what in MODES_OF_SWEEPS:
        return what, ()
    terms = tuple(what.split("+"))
    if not set(terms) <= set(TERM_KEYS):
        known = f"{', '.join(TERM_KEYS)}, several joined by +, or {', '.join(MODES_OF_SWEEPS)}"
        raise UserError(f"got --terms {what}", f"some of {known}", "--terms v q k all head")
    return "terms", terms


def _method_entry(entry: Any) -> dict[str, Any]:
    """Check an entry of ``methods``. Raises UserError for a method or a setting that there is not."""
    if isinstance(entry, str):
        entry = _in_fields(entry)
    if not isinstance(entry, Mapping) or not isinstance(entry.get("method"), str):
        raise UserError(f"got the method {str(entry)[:80]}", "a name, or a table with the name as its method")
    fields = dict(entry)
    name = fields["method"]
    if not _is_trained(name):
        close = difflib.get_close_matches(name, MODES_OF_SWEEPS, n=1)
        raise UserError(
            f"got the method {name[:80]}",
            f"one of {', '.join(MODES_OF_SWEEPS)}, or bias terms",
            close[0] if close else "",
        )
    for key in fields:
        if key not in ("method", *GRID_OF_METHODS, *OF_METHODS):
            known = ", ".join((*GRID_OF_METHODS, *OF_METHODS))
            raise UserError(f"got {str(key)[:80]} of the method {name}", f"some of {known}")
    for key in (*GRID_OF_METHODS, "targets"):
        if key in fields:
            value = fields[key].split("+") if isinstance(fields[key], str) and key == "targets" else fields[key]
            fields[key] = list(value) if isinstance(value, list | tuple) else [value]
    fields |= {"lrs": _numbers("lrs", fields["lrs"])} if "lrs" in fields else {}
    if not all(isinstance(lr, int | float) and 0 < lr < float("inf") for lr in fields.get("lrs", ())):
        raise UserError(
            f"got the learning rates {str(fields['lrs'])[:80]} of {name}", "positive numbers", "lrs: [1e-3]"
        )
    if not all(type(seed) is int and 0 <= seed <= LARGEST for seed in fields.get("seeds", ())):
        raise UserError(f"got the seeds {str(fields['seeds'])[:80]} of {name}", "whole numbers from 0", "seeds: [0, 1]")
    mode, terms = mode_and_terms(name)
    RunConfig.from_dict({"mode": mode, "terms": terms, **{key: fields[key] for key in OF_METHODS if key in fields}})
    return fields


def _is_trained(name: str) -> bool:
    """Whether a name is one that ``terms`` of a sweep may hold."""
    return name in MODES_OF_SWEEPS or set(name.split("+")) <= set(TERM_KEYS)


def _in_fields(words: str) -> dict[str, Any]:
    """Read an entry of ``methods`` that is written as :func:`trains` does, ``lora rank=4 targets=q,k``."""
    name, *settings = words.split() or [""]
    fields: dict[str, Any] = {"method": name}
    for word in settings:
        key, _, value = word.partition("=")
        parts: list[Any] = [part for part in value.split(",") if part]
        if not parts or key in fields:
            raise UserError(
                f"got {word[:40]!r} after the method {name[:40]}", "settings, each once", "lora rank=4 targets=q,k"
            )
        if key != "targets":
            parts = [_number(part) for part in parts]
        fields[key] = parts if key in (*GRID_OF_METHODS, "targets") or len(parts) > 1 else parts[0]
    return fields


def _number(word: str) -> Any:
    """Convert a word to the number that it is; another word stays one, to be refused where a number is expected."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def trains(config: RunConfig) -> str:
    """Name what a run trains in the words of a sweep, such as ``q+v`` or ``lora``; of settings that are not those of
    the method, ``lora rank=4 targets=k`` or ``v demonstrations=4``.
    """
    if config.method.names_terms:  # of the settings they have this one alone; grids are large
        return "+".join(config.terms) + (f" demonstrations={config.demonstrations}" if config.demonstrations else "")
    usual = RunConfig(mode=config.mode, terms=()).resolved()
    own = [
        f"{name}={','.join(value) if isinstance(value, tuple) else f'{value:g}'}"
        for name in OF_METHODS
        if (value := getattr(config, name)) is not None and value != getattr(usual, name)
    ]
    return " ".join([config.mode, *own])


def identity(config: RunConfig) -> str:
    """Compute 16 hexadecimal digits that say which fine-tune a resolved configuration is, on any machine."""
    table = {name: value for name, value in chosen(config.to_dict()).items() if name not in NOT_OF_THE_RESULT}
    if config.table_sha256 is not None:  # what the files hold counts, and not where they are
        table = {name: value for name, value in table.items() if name not in ("train_file", "eval_file")}
    return hashlib.sha256(json.dumps(table, sort_keys=True).encode()).hexdigest()[:16]
