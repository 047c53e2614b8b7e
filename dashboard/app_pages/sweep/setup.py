"""Form of a sweep, and the grid that it stands for. Every control is in the URL."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import streamlit as st

from beft_core.architectures.layout import Layout
from beft_core.errors import ModelNotHere, UserError
from beft_core.extras import require_methods
from beft_core.methods import METHODS
from beft_core.models.source import BUNDLED
from beft_core.settings.added_biases import to_be_added, usual
from beft_core.sweeps.forecast import Forecast, forecast, most_at_once
from beft_core.sweeps.spec import MODES_OF_SWEEPS, SweepSpec
from beft_core.tasks.registry import HEAD_TASKS, REGIMES, TASKS, get_task
from beft_core.tasks.sources.presence import presence
from beft_core.tasks.sources.table_preview import Checked
from beft_core.tasks.sources.user_files import OwnTable
from beft_core.terms import TERM_KEYS
from beft_core.training.estimate.count import layout_of
from beft_core.training.preconditions import (
    answers_prompts,
    require_language_model,
    require_something_to_train,
    require_targets,
)
from dashboard.figures.parts.labels import METHOD_ORDER, method_name, trained_in_words
from dashboard.figures.parts.style import latex
from dashboard.own_tables.form import Table, TableForm
from dashboard.shared import hyperparameters, marked, page
from dashboard.shared.hyperparameters import BY_PRESET
from dashboard.shared.text import plain

OWN_TABLE = "own-table"
MAX_TABLES = 8
"""Most tables of the user's own in a sweep that is set up here."""
_OF_BIASES = tuple(mode for mode in MODES_OF_SWEEPS if METHODS[mode].trains and not METHODS[mode].beyond_biases)
_OTHERS = tuple(mode for mode in METHOD_ORDER if mode in MODES_OF_SWEEPS and mode not in _OF_BIASES)
"""Methods that need no bias terms, of biases and of other things."""
HALVES = "sw-halves"
"""Key of the container of the form's two halves; the page lets them wrap."""
MAX_RUNS = 5_000
"""Largest number of fine-tunes of a sweep that is started here: the command takes more."""

DEFAULTS: dict[str, Any] = {
    "sw_tasks": ["demo-sentiment"],
    "sw_tables": 1,
    "sw_regimes": [],
    "sw_n": "200",
    "sw_terms": ["v", "q", "k", "head", "all"],
    "sw_methods": [],
    "sw_lrs": "",
    "sw_probe_lrs": "",
    "sw_seeds": 2,
    "sw_epochs": None,
    "sw_n_eval": None,
    "sw_preset": "quick",
    "sw_model": BUNDLED,
    "sw_device": "auto",
    "sw_precision": "float32",
    "sw_eps": None,
    "sw_eps_at": BY_PRESET,
    "sw_plain": False,
}
"""First values of the controls, by their names in the URL."""
_SETTINGS = {
    "sw_epochs": "epochs",
    "sw_n_eval": "n_eval",
    "sw_preset": "preset",
    "sw_device": "device",
    "sw_precision": "precision",
    "sw_eps": "adam_epsilon",
    "sw_eps_at": "adam_epsilon_at",
    "sw_plain": "plain",
}
"""Fields of the fine-tunes' configuration, by the control that sets each."""


@dataclass(frozen=True)
class Setup:
    """State of the form: what is to be run, or why it cannot be."""

    spec: SweepSpec | None
    """Grid of the sweep; None: see ``problem``."""
    counted: Forecast | None
    problem: UserError | None
    layout: Layout | None
    """Layout of the model, where that is on this machine."""
    tables: tuple[tuple[TableForm, Table], ...] = ()
    """Tables of the user's own that are tasks of the sweep, each with its form."""


def current() -> Setup:
    """Read the form as its controls are now; also right in a callback, which runs before they are drawn again."""
    layout = None
    try:
        layout = _layout(_model())
        forms = _forms()
        own = [_chosen(form, number) for number, form in enumerate(forms, 1)]
        spec = _spec([task for task, _, _ in own])
        rows = tuple((task.task, checked.train) for task, _, checked in own)
        counted = _counted(json.dumps(spec.to_dict()), most_at_once(spec, layout), rows)
        _require_methods(counted, layout)
    except UserError as error:
        return Setup(None, None, error, layout)
    return Setup(spec, counted, None, layout, tuple(zip(forms, [table for _, table, _ in own], strict=True)))


def _forms() -> list[TableForm]:
    """List the forms of the user's own tables, as many as the page is asked for; none where they are no task."""
    if OWN_TABLE not in _get("sw_tasks"):
        return []
    return [TableForm("sw" if number == 1 else f"sw{number}") for number in range(1, int(_get("sw_tables")) + 1)]


def _chosen(form: TableForm, number: int) -> tuple[OwnTable, Table, Checked]:
    """Read the task that a form says. Raises UserError, with the number of the table where there are several."""
    try:
        return form.chosen()
    except UserError as error:
        if _get("sw_tables") == 1:
            raise
        raise UserError(f"table {number}: {error.got}", error.expected, error.try_) from None


def _get(key: str) -> Any:
    return st.session_state.get(key, DEFAULTS[key])


def _model() -> str:
    return str(_get("sw_model")).strip() or BUNDLED


def _layout(model: str) -> Layout | None:
    """Find the layout of a model; None where the sweep has to download or convert it first."""
    try:
        return layout_of(page.model_of_page(model))
    except ModelNotHere:
        return None


def _require_methods(counted: Forecast, layout: Layout | None) -> None:
    """Check that the methods of a sweep can train here, and find their modules in the model. Raises UserError."""
    for run in {(run.mode, run.targets, run.task): run for run in counted.runs}.values():
        if run.train_file is None:
            require_something_to_train(run, get_task(run.task))
        elif run.method.adapter is not None:
            require_methods(run.mode)
        if layout is not None:
            require_targets(run, layout)
            if answers_prompts(run):
                require_language_model(layout)


def _spec(own: Sequence[OwnTable]) -> SweepSpec:
    for keys, what in ((("sw_tasks",), "task"), (("sw_terms", "sw_methods"), "kind of fine-tune")):
        if not any(_get(key) for key in keys):
            raise UserError(f"got no {what}", "at least one")
    settings = {field: _get(key) for key, field in _SETTINGS.items() if _get(key) != DEFAULTS[key]}
    if _model() != BUNDLED:
        settings["model"] = _model()
    named = [term for what in _get("sw_terms") for term in re.split(r"[+ ]", what) if term in TERM_KEYS]
    model = page.model_of_page(_model())
    if added := to_be_added(model, dict.fromkeys(named) or usual(model)):
        settings["add_bias"] = list(added)
    counts = _numbers("sw_n", "number of examples")
    if strange := [count for count in counts if count != int(count) or count < 2]:
        raise UserError(f"got the number of examples {strange[0]:g}", "whole numbers from 2", "300, 1000")
    names = [table.task for table in own]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f"got two tables named {twice[0]}", "another name for each", "the field “Name of the task”")
    tasks: list[Any] = []
    for task in _get("sw_tasks"):
        tasks += own if task == OWN_TABLE else [task]
    spec = SweepSpec(
        tasks=tuple(tasks),
        regimes=tuple(name for name in REGIMES if name in (_get("sw_regimes") or ())),
        n_train=tuple(map(int, counts)),
        terms=tuple(term.replace(" ", "+") for term in _get("sw_terms")),  # what + is in an address typed by hand
        methods=tuple(_get("sw_methods")),
        lrs=_numbers("sw_lrs", "learning rate"),
        probe_lrs=_numbers("sw_probe_lrs", "learning rate"),
        seeds=tuple(range(int(_get("sw_seeds")))),
        settings=settings,
    )
    if _usual_terms():
        spec = spec.without_heads_of_prompts()
    count = len(spec.tasks) * max(1, len(spec.regimes) + len(spec.n_train)) * len(spec.seeds)
    kinds = sum(len(spec.probe_lrs or spec.lrs if what == "all" else spec.lrs) or 1 for what in spec.terms)
    count *= kinds + sum(len(entry.get("lrs", spec.lrs)) or 1 for entry in spec.methods)
    if count > MAX_RUNS:
        raise UserError(f"got {count:,} fine-tunes", f"at most {MAX_RUNS:,} on this page", "the command beft sweep")
    return spec


def _usual_terms() -> bool:
    return list(_get("sw_terms")) == DEFAULTS["sw_terms"]


def _numbers(key: str, what: str) -> tuple[float, ...]:
    """Read the positive numbers of a text, each once. Raises UserError for anything else."""
    found = []
    for word in re.split(r"[,;\s]+", str(_get(key)).strip()):
        try:
            number = float(word) if word else None
        except ValueError:
            number = -1.0
        if number is not None and not 0 < number < float("inf"):
            example = "200, 1000" if key == "sw_n" else "2e-3, 1e-2"
            raise UserError(f"got the {what} {word[:40]}", "positive numbers", example)
        found += [number] if number is not None else []
    return tuple(dict.fromkeys(found))


@lru_cache(maxsize=32)
def _counted(grid: str, most: int, rows: tuple[tuple[str, int], ...]) -> Forecast:
    """Count the work of a sweep. ``grid``: its spec as JSON; ``most``: fine-tunes that fit into one pass; ``rows``:
    task and training examples of each table of the user's own.
    """
    spec = SweepSpec.from_dict(json.loads(grid))
    layout = _layout(str(spec.settings.get("model", BUNDLED)))
    return forecast(spec, layout, most, dict(rows))


# --- drawing -------------------------------------------------------------------------------------------------------


def draw() -> None:
    """Draw the form."""
    with st.container(key=HALVES):
        left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        st.markdown("##### 1 · Tasks and sizes")
        _tasks()
    with right, st.container(border=True, height="stretch"):
        st.markdown("##### 2 · What to train, how often")
        _what()
        consequences = st.container()  # filled last: it depends on controls that a link sets and that are drawn below
    with page.control("settings", "sw-advanced"), st.expander("Advanced", icon=":material/tune:"):
        _advanced()
    with consequences:
        _consequences()


def _tasks() -> None:
    missing = marked.lacking()
    chosen = marked.choose_some(
        "Tasks",
        [*HEAD_TASKS, *marked.PROMPT_NAMES, OWN_TABLE],
        DEFAULTS["sw_tasks"],
        "sw_tasks",
        marked.marks(missing),
        help="; ".join(f"{task}: {spec.title}" for task, spec in HEAD_TASKS.items())
        + "; prompt-…: a question in words to a language model, such as gemma-3-270m (Advanced), without a head; "
        "own-table: CSV, TSV, JSONL or Parquet files of yours",
    )
    if OWN_TABLE in chosen:
        _own_tables()
    if absent := [task for task in chosen if task in missing]:
        advice = dict.fromkeys(plain(presence(TASKS[task]).advice, 200) for task in absent)
        st.caption(
            f":yellow[:material/cloud_download: Not on this machine:] {', '.join(absent)}. To have them, "
            f"{'; '.join(advice)}."
        )
    st.pills(
        "Training examples, by regime",
        list(REGIMES),
        selection_mode="multi",
        default=DEFAULTS["sw_regimes"],
        key="sw_regimes",
        bind="query-params",
        help="The paper's sizes; they differ by task.",
    )
    st.text_input(
        "and by number",
        DEFAULTS["sw_n"],
        key="sw_n",
        bind="query-params",
        placeholder="none",
        help="One or several, such as 200, 1000. With neither a regime nor a number the preset decides.",
    )
    if sizes := _sizes():
        st.caption(sizes)


def _own_tables() -> None:
    """Draw how many tables of the user's own are tasks, and the form of each."""
    st.number_input(
        "Tables of your own",
        1,
        MAX_TABLES,
        DEFAULTS["sw_tables"],
        key="sw_tables",
        bind="query-params",
        help="Each is a task of its own, by its own name.",
    )
    forms = _forms()
    for number, form in enumerate(forms, 1):
        with st.container(border=len(forms) > 1):
            st.markdown(f"**Table {number}**" if len(forms) > 1 else "**Your table**")
            form.draw()


def _sizes() -> str:
    """Write what the chosen regimes mean for the chosen tasks."""
    sizes = []
    for task in _get("sw_tasks") or ():
        if task == OWN_TABLE:
            continue
        counts = [
            f"{name} {count:,}" if count is not None else name if name == "all" else f"no {name}"
            for name, count in TASKS[task].regimes.items()
            if name in (_get("sw_regimes") or ())
        ]
        sizes += [f"{task}: {', '.join(counts)}"] if counts else []
    return "; ".join(sizes)


def _what() -> None:
    st.multiselect(
        "What to train, each alone",
        [*TERM_KEYS, *_OF_BIASES],
        default=DEFAULTS["sw_terms"],
        key="sw_terms",
        bind="query-params",
        accept_new_options=True,
        placeholder="Choose bias terms",
        help="Bias terms, each a fine-tune of its own; type q+v for both together. "
        + "; ".join(f"{mode}: {METHODS[mode].words}" for mode in _OF_BIASES)
        + ".",
    )
    marked.choose_some(
        "Other methods, each alone",
        _OTHERS,
        DEFAULTS["sw_methods"],
        "sw_methods",
        trained_in_words,
        help="; ".join(f"{method_name(mode)}: {METHODS[mode].words}" for mode in _OTHERS)
        + ". Settings of one are typed: lora rank=4 targets=q,k lrs=5e-4,2e-3.",
        placeholder="None; or type lora rank=4",
        new=True,
    )
    left, right = st.columns(2)
    left.text_input(
        "Learning rates",
        DEFAULTS["sw_lrs"],
        key="sw_lrs",
        bind="query-params",
        placeholder="2e-3, 1e-2",
        help="One or several. Empty: the preset's.",
    )
    right.text_input(
        "of *all* (the probe)",
        DEFAULTS["sw_probe_lrs"],
        key="sw_probe_lrs",
        bind="query-params",
        placeholder="as the others",
        help="All biases together want smaller ones. Empty: the same as the others.",
    )
    left, right = st.columns(2)
    left.number_input(
        "Seeds",
        1,
        100,
        DEFAULTS["sw_seeds"],
        key="sw_seeds",
        bind="query-params",
        help="How many: each draws other examples, another order, head and dropout.",
    )
    right.number_input(
        "Epochs",
        1,
        10_000,
        None,
        key="sw_epochs",
        bind="query-params",
        placeholder="the preset's",
        help="Passes over the training examples.",
    )


def _consequences() -> None:
    """Draw what follows from the controls: what the preset fills in, and what a null term means."""
    setup = current()
    if setup.counted is not None:
        st.caption(_filled(setup.counted))
    if setup.spec is not None and (added := setup.spec.settings.get("add_bias")):
        st.caption(hyperparameters.added_in_words(added))
    if setup.spec is not None and _usual_terms() and setup.spec.asks_prompts():
        st.caption("*head* is left out: prompts are answered without one.")
    layout = setup.layout
    if layout is not None and (null := [term for term in _get("sw_terms") or () if term in layout.null_terms]):
        names = ", ".join(latex(term) for term in null)
        st.caption(f"{names} can change nothing in this model: its fine-tunes train only the head, as *head* does.")


def _filled(counted: Forecast) -> str:
    """Write what the preset makes of the epochs of each task, and of the optimizer of all."""
    of_task = {run.task: run for run in counted.runs}
    epochs = ", ".join(f"{task} {hyperparameters.epochs_in_words(run.epochs)}" for task, run in of_task.items())
    said = max(map(hyperparameters.sample_in_words, of_task.values()), key=len)
    return f"{epochs}; {hyperparameters.optimizer_in_words(counted.runs[0])}{'; ' * bool(said)}{said}."


def _advanced() -> None:
    bound: dict[str, Any] = {"bind": "query-params"}
    with st.grid(min_column_width=190, gap="medium"):
        st.text_input(
            "Model",
            DEFAULTS["sw_model"],
            key="sw_model",
            placeholder=BUNDLED,
            help="bundled, a model of the Hugging Face Hub, or the path of a folder.",
            **bound,
        )
        hyperparameters.choose_preset("sw")
        hyperparameters.choose_device("sw")
        hyperparameters.choose_precision("sw")
        hyperparameters.choose_epsilon("sw", None)
        hyperparameters.choose_n_eval("sw")
    hyperparameters.switch_acceleration_off("sw")
