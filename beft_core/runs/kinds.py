"""Kinds of runs, one row each: what it is called, which configuration and workflow it has, what comes of it, how lists
sum it up, and where it is shown.

Nothing else asks for the name of a kind, so a new one is a row here and a file with its workflow. What a row only names
(``module:attribute``) is imported when it is needed: reading a list of runs needs no PyTorch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from beft_core import methods
from beft_core.config import PROBE, RunConfig
from beft_core.counted import counted
from beft_core.errors import UserError
from beft_core.imports import imported
from beft_core.presets import completed, completed_sweep
from beft_core.scores.verdict import Verdict
from beft_core.snapshots.adapter_folder import CONFIG, WEIGHTS
from beft_core.snapshots.snapshot import SUFFIX, adapter_beside
from beft_core.terms import CANDIDATES, TERMS

Fields = Mapping[str, Any]
"""Fields of a configuration as ``config.json`` has them, maybe of a later version or damaged."""

SNAPSHOT, RESULT, CHECKPOINT = f"snapshot{SUFFIX}", "result.json", "checkpoint.safetensors"
PREDICTIONS = "predictions.parquet"
"""Names of files in a run folder."""
ADAPTER = tuple(f"{adapter_beside(SNAPSHOT).name}/{name}" for name in (CONFIG, WEIGHTS))
"""Names of the files of an adapter, of a run of another method than biases."""
PROBE_COPY = f"probe{SUFFIX}"
"""Name of the copy of a probe's snapshot in the folder of the run that checks it."""


def own_task(fields: Fields) -> tuple[str, ...]:
    """Name the tasks of a fine-tune: the one that ``task`` names, or the name, else the file, of a user's own table."""
    table, name = fields.get("train_file"), fields.get("name")
    if isinstance(table, str) and isinstance(name, str):
        return (name,)
    return (Path(table).name if isinstance(table, str) else str(fields.get("task", "?")),)


@dataclass(frozen=True)
class Kind:
    """Kind of runs. Functions of :data:`Fields` answer for any JSON that passed the checks of a run folder."""

    name: str
    """Name of the kind in ``config.json`` and on the command line."""
    label: str
    """Words for one run of the kind."""
    does: str
    """Description of what a run of the kind does."""
    config: str
    """Name ``module:class`` of its configuration, which has ``to_dict`` and ``from_dict``."""
    workflow: str
    """Name ``module:function`` of what does the run, a :data:`beft_core.execution.workflows.Workflow`."""
    trains: Callable[[Fields], str]
    """Function that says what a run trains or makes, for labels, which stay the same forever."""
    command: str | None = None
    """Name ``module:function`` of what writes the command line which does the same (configuration, name of the output
    or None); None where there is no such command.
    """
    artifacts: tuple[str, ...] = (SNAPSHOT, RESULT, PREDICTIONS)
    """Names of the files in a run's folder that are its result."""
    checkpoints: tuple[str, ...] = (CHECKPOINT,)
    """Patterns of the files in a run's folder from which it goes on when it was interrupted."""
    finished: str = ""
    """Pattern, below the run's folder, of files that are parts which are finished and are not done again when it is
    resumed; empty: there are no parts."""
    brief: Callable[[Fields], str] | None = None
    """Function that says what a run trains in the few words that a row of a table has room for; None: as ``trains``."""
    tasks: Callable[[Fields], tuple[str, ...]] = own_task
    """Function that lists all tasks of a run."""
    terms: Callable[[Fields], tuple[str, ...]] = lambda fields: ()
    """Function that lists the bias terms that a run was told to train, where it names them."""
    settings: Callable[[Fields], dict[str, Any]] = dict
    """Function that lists the settings of a run, to be compared with other runs: presets filled in, without what it
    ignores.
    """
    resources: Callable[[Fields], Fields] = lambda fields: fields
    """Function that finds the fields which hold ``device``, ``batch_size`` and ``max_length``."""
    completed: Callable[[Fields], dict[str, Any]] = dict
    """Function that completes the configuration of a folder of version 1, as it was meant then."""
    summary: Callable[[Fields], str] = lambda result: ""
    """Function that sums up the content of ``result.json`` in words, where neither a metric nor a selected term says
    it.
    """
    sets: Fields = field(default_factory=dict)
    """Fields that a single fine-tune of the kind sets itself, whatever its configuration says."""
    check: str = ""
    """Name of the kind that checks what a run of this one selects; empty: it selects nothing."""
    single: bool = False
    """Whether a run is a single fine-tune, with a :class:`beft_core.config.RunConfig`."""
    is_shared: bool = False
    """Whether several workers can do a run together, by what stands in its sweep's folder."""
    has_curves: bool = True
    """Whether a run's own measurements are curves over steps."""
    page: str = "fine_tune"
    """Name, in the URL, of the dashboard's page that shows a run."""
    link: str = "run"
    """Name of the query parameter that holds the run's id on that page."""

    def read_config(self, fields: dict[str, Any]) -> Any:
        """Make the configuration of these fields. Raises UserError for fields that it does not have."""
        return imported(self.config).from_dict(fields)

    def device(self, fields: Fields) -> str:
        """Name the device that a configuration asks for."""
        return str(self.resources(fields).get("device", "auto"))


# --- fine-tunes and probes -----------------------------------------------------------------------------------------

_PROBE: dict[str, Any] = {**PROBE, "terms": []}
"""Fields that a probe sets itself, as its configuration is listed: no terms are named."""
_MAX_TERMS = 3
"""Most terms of a fine-tune that a row of a table names; of more it shows the number."""


def _terms(fields: Fields) -> tuple[str, ...]:
    named = fields.get("terms")
    if not methods.method_of(fields.get("mode", methods.DEFAULT)).names_terms or not isinstance(named, list | tuple):
        return ()
    return tuple(term for term in named if isinstance(term, str) and term in TERMS)


def _fine_tune(fields: Fields) -> str:
    if terms := _terms(fields):
        return ", ".join(TERMS[term].symbol for term in terms)
    return methods.method_of(fields.get("mode")).short or "train"


def _fine_tune_brief(fields: Fields) -> str:
    terms = _terms(fields)
    return f"{len(terms)} terms" if len(terms) > _MAX_TERMS else ", ".join([_fine_tune(fields), *_set_up(fields)])


def _set_up(fields: Fields) -> list[str]:
    """Say which modules and numbers a fine-tune has that are not those of its method."""
    adapter = methods.method_of(fields.get("mode")).adapter
    if adapter is None:
        return []
    targets = fields.get("targets")
    named = [term for term in TERMS if term in targets] if isinstance(targets, list | tuple) else []
    said = [" ".join(named)] if named and set(named) != set(adapter.targets) else []
    for one in adapter.settings:
        value = fields.get(one.field)
        if isinstance(value, int | float) and value != one.default:
            said.append(f"{one.field.replace('_', ' ')} {value:g}")
    return said


def _filled_in(fields: Fields) -> dict[str, Any]:
    """Settings of a single fine-tune. Those of a later version are left as they stand."""
    values = dict(fields)
    with suppress(UserError):
        values = RunConfig.from_dict(values).resolved().to_dict()
    if not methods.method_of(values.get("mode", methods.DEFAULT)).names_terms:
        values["terms"] = []
    if values.get("train_file") is not None:
        values.pop("task", None)
    return values


# --- merges and sweeps ---------------------------------------------------------------------------------------------

_MAX_CHARACTERS = 27
"""Most characters that a row of a table gives to the terms of a sweep; of longer ones it shows the number."""


def _merge(fields: Fields) -> str:
    return f"{fields.get('method', '?')} merge"


def _dial_summary(result: Fields) -> str:
    metric, value = result.get("metric"), result.get("trained")
    if isinstance(metric, str) and isinstance(value, float) and abs(value) <= 1:
        return f"{metric[:20]} {100 * value:.1f} at λ = 1"
    return ""


def _swept(fields: Fields) -> list[str]:
    """List what a sweep trains: terms, and the names of other methods."""
    methods_of = fields.get("methods")
    entries = methods_of if isinstance(methods_of, list | tuple) else []
    names = [str(one.get("method")) if isinstance(one, Mapping) else str(one) for one in entries]
    return [*map(str, fields.get("terms") or []), *names] or ["?"]


def _sweep(fields: Fields) -> str:
    return "sweep of " + ", ".join(_swept(fields))


def _sweep_brief(fields: Fields) -> str:
    words = _sweep(fields)
    return words if len(words) <= _MAX_CHARACTERS else f"sweep of {len(_swept(fields))} kinds"


def _sweep_tasks(fields: Fields) -> tuple[str, ...]:
    named = fields.get("tasks")
    return tuple(map(str, named)) if isinstance(named, list) and named else ("?",)


def _shared(fields: Fields) -> Fields:
    settings = fields.get("settings")
    return settings if isinstance(settings, Mapping) else {}


def _sweep_summary(result: Fields) -> str:
    count, failed = (result.get(name) for name in ("runs", "failed"))
    if count is None or failed is None or result.get("stopped"):
        return ""
    return counted(count, "fine-tune") + (f", {failed:,} failed" if failed else "")


def _check_summary(result: Fields) -> str:
    try:
        return Verdict.from_dict(result.get("verdict")).sentence()
    except UserError:
        return ""


# --- the rows ------------------------------------------------------------------------------------------------------

_ROWS = (
    Kind(
        "select",
        "a probe",
        "fine-tune all biases, score every term, select one",
        config="beft_core.config:RunConfig",
        workflow="beft_core.execution.workflows:probe",
        command="beft_core.cli.command_line:select_command",
        trains=lambda fields: "probe of all biases",
        brief=lambda fields: "probe",
        settings=lambda fields: _filled_in(fields) | _PROBE,
        completed=completed,
        sets=_PROBE,
        check="check",
        single=True,
    ),
    Kind(
        "train",
        "a fine-tune",
        "one fine-tune",
        config="beft_core.config:RunConfig",
        workflow="beft_core.execution.workflows:fine_tune",
        command="beft_core.cli.command_line:train_command",
        trains=_fine_tune,
        artifacts=(SNAPSHOT, *ADAPTER),
        brief=_fine_tune_brief,
        terms=_terms,
        settings=_filled_in,
        completed=completed,
        single=True,
    ),
    Kind(
        "check",
        "a check of a selection",
        "train b_q, b_k and b_v alone in one pass, and judge what a probe selected",
        config="beft_core.config:RunConfig",
        workflow="beft_core.execution.workflows:check",
        trains=lambda fields: "check of b_q, b_k, b_v",
        brief=lambda fields: "check",
        artifacts=(RESULT,),
        terms=lambda fields: CANDIDATES,
        settings=_filled_in,
        completed=completed,
        summary=_check_summary,
        has_curves=False,
    ),
    Kind(
        "merge",
        "an evaluation of a merge",
        "score a merge of several fine-tunes on all their tasks",
        config="beft_core.merging.config:MergeConfig",
        workflow="beft_core.execution.workflows:merge_evaluation",
        trains=_merge,
        page="merge",
        link="merge_run",
    ),
    Kind(
        "dial",
        "a dial",
        "turn a fine-tune up, down and off, whole and part by part, and score it each time",
        config="beft_core.dials.config:DialConfig",
        workflow="beft_core.execution.workflows:dial",
        trains=lambda fields: "dial",
        artifacts=(RESULT,),
        checkpoints=(),
        summary=_dial_summary,
        has_curves=False,
        page="dial",
        link="dial_run",
    ),
    Kind(
        "sweep",
        "a sweep",
        "a grid of fine-tunes, many in one pass, into one table",
        config="beft_core.sweeps.spec:SweepSpec",
        workflow="beft_core.execution.workflows:sweep",
        command="beft_core.cli.command_line:sweep_command",
        trains=_sweep,
        artifacts=(RESULT, "sweep/results.csv", "sweep/results.parquet", "sweep/merges.json"),
        checkpoints=(CHECKPOINT, "sweep/bank-*.safetensors"),
        finished="sweep/rows/*.json",
        brief=_sweep_brief,
        tasks=_sweep_tasks,
        settings=lambda fields: {**{k: v for k, v in fields.items() if k != "settings"}, **_shared(fields)},
        resources=_shared,
        completed=completed_sweep,
        summary=_sweep_summary,
        is_shared=True,
        has_curves=False,
        page="sweep",
        link="sweep_run",
    ),
)
KINDS: dict[str, Kind] = {row.name: row for row in _ROWS}
"""Kinds of runs by name."""

UNKNOWN = Kind(
    "?",
    "a run",
    "unknown: its configuration is damaged",
    config="",
    workflow="",
    trains=lambda fields: "?",
    artifacts=tuple(dict.fromkeys(name for row in _ROWS for name in row.artifacts)),
)
"""Kind under which a run is listed whose ``config.json`` cannot be read."""


def kind_of(name: str) -> Kind:
    """Look up a kind by its name; ``UNKNOWN`` where there is none."""
    return KINDS.get(name, UNKNOWN)


def single_fine_tunes() -> list[str]:
    """Names of the kinds that are a single fine-tune."""
    return [row.name for row in KINDS.values() if row.single]
