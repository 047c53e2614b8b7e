"""Form of a fine-tune, and the configuration that it stands for. Every control is in the URL."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streamlit as st

from beft_core.architectures.layout import Layout
from beft_core.config import SCHEDULES, RunConfig, table_fields
from beft_core.errors import ModelNotHere, NotConverted, UserError
from beft_core.files.hub import hub_answers
from beft_core.methods import method_of
from beft_core.models.source import BUNDLED
from beft_core.runs.kinds import KINDS, single_fine_tunes
from beft_core.settings.added_biases import addable, to_be_added
from beft_core.settings.arguments import layers as layer_numbers
from beft_core.settings.arguments import limited
from beft_core.tasks.metrics import metric_in_words
from beft_core.tasks.registry import HEAD_TASKS, get_task
from beft_core.tasks.sources import official
from beft_core.tasks.sources.demo import load_demo
from beft_core.tasks.sources.presence import presence
from beft_core.tasks.spec import TaskSpec
from beft_core.terms import TERM_KEYS
from beft_core.training.estimate.count import (
    CHECKPOINTS,
    count_examples,
    count_steps,
    layout_of,
    steps_between_checkpoints,
)
from beft_core.training.preconditions import require_language_model, require_something_to_train
from dashboard.app_pages.fine_tune import methods, prompts
from dashboard.figures.parts.style import latex
from dashboard.own_tables.form import Table, TableForm, table_of
from dashboard.shared import hyperparameters, marked, page
from dashboard.shared.hyperparameters import BY_PRESET
from dashboard.shared.marked import PROMPT_NAMES
from dashboard.shared.text import plain

OWN_TABLE, NUMBER = "own-table", "number"
OWN = TableForm("ft", prompts=True)
"""Form of a table of the user's own."""
HALVES = "ft-halves"
"""Key of the container of the form's two halves; the page lets them wrap."""
UNKNOWN_EVERY = 100
"""Number of steps between two checkpoints where nobody knows yet how many steps there will be."""

DEFAULTS: dict[str, Any] = {
    "ft_model": BUNDLED,
    "ft_task": "demo-sentiment",
    "ft_regime": None,
    "ft_n": 300,
    "ft_do": "select",
    **methods.DEFAULTS,
    "ft_layers": "",
    "ft_preset": "quick",
    "ft_lr": None,
    "ft_epochs": None,
    "ft_n_eval": None,
    "ft_schedule": BY_PRESET,
    "ft_batch": None,
    "ft_length": None,
    "ft_seed": 0,
    "ft_precision": "float32",
    "ft_device": "auto",
    "ft_eps": None,
    "ft_eps_at": BY_PRESET,
    "ft_dropout": True,
    "ft_null": False,
    "ft_plain": False,
    "ft_play": True,
    "ft_fisher": False,
    "ft_fisher_tuned": False,
    "ft_recompute": False,
    prompts.DEMONSTRATIONS: 0,
}
"""First values of the controls, by their names in the URL."""


@dataclass(frozen=True)
class Setup:
    """State of the form: what is to be run, or why it cannot be."""

    kind: str
    config: RunConfig | None
    """Configuration, checked as far as that needs neither model nor data; None: see ``problem``."""
    problem: UserError | None
    table: Table | None
    examples: int | None
    """Number of training examples, where it is known."""

    @property
    def trained(self) -> RunConfig:
        """Configuration of the fine-tune that the run does, with the preset filled in."""
        assert self.config is not None
        return _fine_tune_of(self.kind, self.config).resolved()

    @property
    def steps(self) -> int | None:
        """Number of optimizer steps, where it is known."""
        return count_steps(self.trained, self.examples)


def _fine_tune_of(kind: str, config: RunConfig) -> RunConfig:
    """Put into a configuration what a kind of runs sets itself."""
    return dataclasses.replace(config, **KINDS[kind].sets)


def current() -> Setup:
    """Read the form as its controls are now; also right in a callback, which runs before they are drawn again."""
    kind = str(_get("ft_do"))
    table = OWN.current() if _get("ft_task") == OWN_TABLE else None
    try:
        config, examples = _config(kind, table)
    except UserError as error:
        return Setup(kind, None, error, table, None)
    return Setup(kind, config, None, table, examples)


def _get(key: str) -> Any:
    return st.session_state.get(key, DEFAULTS[key])


def _model_name() -> str:
    return str(_get("ft_model")).strip() or BUNDLED


def _config(kind: str, table: Table | None) -> tuple[RunConfig, int | None]:
    fields: dict[str, Any] = {
        "model": page.model_of_page(_model_name()),
        "preset": _get("ft_preset"),
        "lr": _get("ft_lr"),
        "epochs": _get("ft_epochs"),
        "n_eval": _get("ft_n_eval"),
        "gradient_checkpointing": _get("ft_recompute"),
        "seed": _get("ft_seed"),
        "precision": _get("ft_precision"),
        "device": _get("ft_device"),
        "dropout": _get("ft_dropout"),
        "train_null": _get("ft_null"),
        "plain": _get("ft_plain"),
        "schedule": None if _get("ft_schedule") == BY_PRESET else _get("ft_schedule"),
        "adam_epsilon": _get("ft_eps"),
        "adam_epsilon_at": None if _get("ft_eps_at") == BY_PRESET else _get("ft_eps_at"),
    }
    fields |= {name: value for name, key in _BY_TASK.items() if (value := _get(key)) is not None}
    words = str(_get("ft_layers")).strip()
    fields["layers"] = layer_numbers([words]) if words else None
    if not KINDS[kind].sets:
        fields |= {**methods.fields(_get), "fisher": _get("ft_fisher")}
        if method_of(fields["mode"]).before_text:  # whose vectors are in all of them
            fields["layers"] = None
    fields["fisher_tuned"] = _trains_biases() and _get("ft_fisher_tuned")
    fields["add_bias"] = to_be_added(fields["model"], _wanted_terms(fields))
    rows = None
    if _get("ft_task") == OWN_TABLE:
        own, _, checked = OWN.chosen()
        rows = checked.train
        fields |= table_fields(own)
        spec = None if own.own_prompt is None else own.own_prompt.task(own.task, own.task, own.task)
    else:
        spec = get_task(str(_get("ft_task")))
        fields["task"] = spec.name
    if spec is not None and spec.prompt is not None:
        fields["demonstrations"] = _get(prompts.DEMONSTRATIONS)
    regime = _get("ft_regime")
    if regime == NUMBER:
        fields["n_train"] = _get("ft_n")
    elif regime is not None and not (table is not None and regime == "all"):
        fields["regime"] = regime
    config = RunConfig(**limited(fields))
    if spec is not None:
        _require_match(_fine_tune_of(kind, config), spec)
    examples = count_examples(config.resolved(), rows)
    if rows is not None and examples is not None and examples > rows:
        raise UserError(
            f"got {examples} training examples", f"at most {rows}, the rows that the table has for training"
        )
    if _get("ft_play") and config.method.trains and config.method.adapter is None:
        steps = count_steps(_fine_tune_of(kind, config).resolved(), examples)
        every = UNKNOWN_EVERY if steps is None else steps_between_checkpoints(steps)
        config = dataclasses.replace(config, trajectory_every=every)
    return config, examples


_BY_TASK: dict[str, str] = {"batch_size": "ft_batch", "max_length": "ft_length"}
"""Field of a configuration -> control which, where it is empty, leaves it to the task."""


def _wanted_terms(fields: Mapping[str, Any]) -> Sequence[str]:
    """List the terms that the model must have: those that are trained by name, else those that are to be added."""
    if "terms" in fields:
        return tuple(fields["terms"])
    chosen = st.session_state.get(prompts.ADDED)
    return prompts.wanted_by_default(str(fields["model"])) if chosen is None else chosen


def _layout_of(model: str) -> Layout | None:
    try:
        return layout_of(model)
    except UserError:
        return None


def _require_match(config: RunConfig, spec: TaskSpec) -> None:
    """Check that the model can do the task, and that there is something to train. Raises UserError."""
    require_something_to_train(config, spec)
    layout = _layout_of(config.model)
    if spec.prompt is not None and layout is not None:
        require_language_model(layout)


# --- drawing -------------------------------------------------------------------------------------------------------


def draw() -> None:
    """Draw the form."""
    with st.container(key=HALVES):
        left, right = st.columns(2, gap="medium")
    with left, st.container(border=True, height="stretch"):
        st.markdown("##### 1 · Model and task")
        layout = _model()
        _task(layout)
    with right, st.container(border=True, height="stretch"):
        st.markdown("##### 2 · What to train")
        _what(layout)
        consequences = st.container()  # filled last: it depends on controls that a link sets and that are drawn below
    with page.control("settings", "ft-advanced"), st.expander("Advanced", icon=":material/tune:"):
        _advanced()
        _switches(layout)
    with consequences:
        _consequences(layout)


def _model() -> Layout | None:
    """Draw the name of the model and what it is; return its layout, or None where that cannot be known yet."""
    st.text_input(
        "Model",
        DEFAULTS["ft_model"],
        key="ft_model",
        bind="query-params",
        placeholder=BUNDLED,
        help="bundled: all-MiniLM-L6-v2, which comes with the lab. Or the id of a model of the Hugging Face Hub, such "
        "as google-bert/bert-base-cased (with @revision, if you like), or the path of a folder with config.json, "
        "model.safetensors and the tokenizer, or of a GGUF file. gemma-3-270m: a language model for prompted tasks, "
        "which installs as an extra.",
    )
    name = _model_name()
    try:
        layout = layout_of(page.model_of_page(name))
    except UserError as error:
        _model_problem(name, error)
        return None
    what = "all-MiniLM-L6-v2: " if name == BUNDLED else ""
    st.caption(f"{what}{plain(layout.model_type)}, {layout.layers} layers, {layout.hidden_size} wide")
    return layout


def _model_problem(name: str, error: UserError) -> None:
    if isinstance(error, NotConverted):
        st.info(
            f"{plain(name)} was not opened yet: it is converted, once, when the run is checked or starts, which takes "
            "about a minute.",
            icon=":material/swap_horiz:",
        )
    elif not isinstance(error, ModelNotHere):
        page.report(error, "This model cannot be used")
    elif _hub_answers():
        st.info(
            f"{plain(name)} is not on this machine yet: it is downloaded when the run is checked or starts.",
            icon=":material/download:",
        )
    else:
        st.error(
            f"{plain(name)} is not on this machine, and the Hub cannot be reached. Take *bundled*, or the path of a "
            "folder with a model.",
            title="This model cannot be used",
            icon=":material/cloud_off:",
        )


@st.cache_data(ttl=60, max_entries=1, show_spinner="Asking whether the Hub can be reached")
def _hub_answers() -> bool:
    return hub_answers()


def _task(layout: Layout | None) -> None:
    marked.choose_one(
        "Task",
        [*HEAD_TASKS, *PROMPT_NAMES, OWN_TABLE],
        DEFAULTS["ft_task"],
        "ft_task",
        marked.marks(marked.lacking()),
        help="demo-…: generated by the lab, always there. prompt-…: a question in words to a language model, such as "
        "gemma-3-270m, without a head. The others are those of GLUE and SuperGLUE. own-table: a CSV, TSV, JSONL, JSON "
        "or Parquet file of yours, for a head or a prompt.",
    )
    if _get("ft_task") == OWN_TABLE:
        OWN.draw()
        if OWN.prompted:
            prompts.choose_demonstrations()
        _how_many({"all": None})
        return
    spec = get_task(str(_get("ft_task")))
    if said := prompts.about_head(spec, layout):
        st.caption(f":material/info: {said}")
    note = f" {spec.note[0].upper()}{spec.note[1:]}." if spec.note else ""
    st.caption(f"{spec.title}. Judged by {', '.join(map(metric_in_words, spec.metrics))}.{note} {_where(spec)}")
    _how_many(spec.regimes)
    if spec.prompt is not None:
        prompts.choose_demonstrations()
    with st.expander("Some of its examples"):
        _examples(spec)


def _where(spec: TaskSpec) -> str:
    if spec.source == "demo":
        return "Generated here."
    place = presence(spec)
    if place.here:
        return f"Read from {'the Hub’s cache' if place.where == 'Hub cache' else place.where}."
    return f":yellow[:material/cloud_download: Not on this machine:] {plain(place.advice)}."


def _how_many(regimes: dict[str, int | None]) -> None:
    known = [name for name, count in regimes.items() if count is not None or name == "all"]
    options = [*known, NUMBER]
    default = "low" if "low" in known else "all"
    _keep_to("ft_regime", options)
    st.segmented_control(
        "Training examples",
        options,
        default=default,
        key="ft_regime",
        required=True,
        bind="query-params",
        help="low, medium and high are the paper's sizes for the task.",
    )
    counts = ", ".join(f"{name} {count:,}" for name, count in regimes.items() if count is not None)
    if _get("ft_regime") == NUMBER:
        st.number_input(
            "Number", 2, 10_000_000, DEFAULTS["ft_n"], key="ft_n", bind="query-params", label_visibility="collapsed"
        )
    elif counts:
        st.caption(f"As in the paper: {counts} examples." if "demo" not in str(_get("ft_task")) else f"{counts}.")


def _examples(spec: TaskSpec) -> None:
    try:
        rows = _rows(spec.name, "paper" if _get("ft_preset") == "paper" else "lab")
    except UserError as error:
        st.caption(plain(error))
        return
    if not rows:
        st.caption("They come from the Hub when the run is checked or starts.")
        return
    table_of(rows, f"Examples of {spec.title}")


@st.cache_data(max_entries=32, show_spinner=False)
def _rows(task: str, inputs: str) -> list[dict[str, str]]:
    """Read the first validation examples of a task; none where its data is not on this machine."""
    spec = get_task(task).reading(inputs)
    if spec.prompt is not None:
        return prompts.first_examples(spec)
    folder = official.find_folder(spec) if spec.source != "demo" else None
    if spec.source == "demo":
        found = load_demo(task)[1]
    elif folder is None:
        return []
    else:
        found = official.read_file(spec, folder / Path(next(iter(spec.evals.values()))))
    rows = []
    for i in range(min(3, len(found))):
        label = found.labels[i]
        row = {"text": found.text[i]}
        if found.text_pair is not None:
            row["second text"] = found.text_pair[i]
        rows.append(row | {"label": spec.target.show(label)})
    return rows


_DO: dict[str, tuple[str, str]] = {
    "select": ("Score the biases", "a probe: train all of them, then score every term"),
    "train": ("Train by one method", "bias terms of your choice, LoRA, every weight, …"),
}
"""Kind of a run -> what the form calls it, and what it does."""


def _what(layout: Layout | None) -> None:
    kinds = single_fine_tunes()
    marked.choose_one(
        "What to do",
        kinds,
        DEFAULTS["ft_do"],
        "ft_do",
        lambda kind: _DO[kind][0],
        help="; ".join(f"{_DO[kind][0]}: {KINDS[kind].does}" for kind in kinds),
        draw=st.radio,
        horizontal=True,
        label_visibility="collapsed",
        captions=[_DO[kind][1] for kind in kinds],
    )
    row = None if KINDS[str(_get("ft_do"))].sets else method_of(_get(methods.METHOD))
    if row is not None:
        methods.choose(layout, _is_prompted())
        row = method_of(_get(methods.METHOD))
    else:
        st.caption(
            "The probe of the paper: the Fisher information of every bias is measured, then all biases and the head "
            f"are fine-tuned, then each approach selects one of {latex('q')}, {latex('k')} and {latex('v')}."
        )
    if (row is None or not row.names_terms) and (layout is None or addable(layout)):
        prompts.choose_added(layout, _model_name())
    if row is None or not row.before_text:
        st.text_input(
            "Layers",
            "",
            key="ft_layers",
            bind="query-params",
            placeholder="all" if layout is None else f"all (0–{layout.layers - 1})",
            help="Numbers from 0 on, such as 3-5 or 0,2,5. Empty: all layers.",
        )
    hyperparameters.choose_preset("ft")


def _consequences(layout: Layout | None) -> None:
    """Draw what follows from the controls: the settings of the preset, and what a null term means."""
    setup = current()
    if setup.config is None:
        return
    filled = setup.trained
    length = f", prompts of up to {filled.max_length:,} tokens" if _is_prompted() else ""
    st.caption(
        f"Learning rate {filled.lr:g} ({filled.schedule}), {hyperparameters.epochs_in_words(filled.epochs)}, batches "
        f"of {filled.batch_size}{length}, {hyperparameters.optimizer_in_words(filled)}: to be changed under Advanced."
    )
    if said := hyperparameters.sample_in_words(filled):
        st.caption(f"Preset *paper*: {said}.")
    named = filled.method.terms(filled.terms, TERM_KEYS)
    if filled.add_bias:
        st.caption(hyperparameters.added_in_words(filled.add_bias))
    if layout is None:
        return
    layout = layout.with_added(filled.add_bias)
    if layout.key_rule.acting is not None and "k" in named and "k" in layout.terms:
        null = layout.null_elements("k")
        st.caption(
            f"{null.sum()} of {len(null)} elements of {latex('k')} in each layer are null in this model, for positions "
            f"turn only the first {layout.key_rule.acting} of each head: they "
            + ("move by rounding noise." if filled.train_null else "stay frozen.")
        )
    if not set(named) & set(layout.null_terms):
        return
    why = f"{latex('k')} is null in this model: it adds the same number to every attention logit of a row, and softmax "
    if filled.train_null:
        st.warning(
            f"{why}ignores that. You chose to train it all the same: it will move by rounding noise, which looks like "
            "importance and changes nothing.",
            icon=":material/warning:",
        )
    elif filled.method.names_terms:
        st.info(
            f"{why}ignores that. It stays frozen, so a run of it alone trains only the head. *Train null terms* under "
            "Advanced trains it all the same.",
            icon=":material/block:",
        )
    else:
        st.caption(f"{why}ignores that. It stays frozen and scores exactly 0.")


def _advanced() -> None:
    setup = current()
    filled = setup.trained if setup.config is not None else None
    bound: dict[str, Any] = {"bind": "query-params"}
    first, second, third = st.columns(3)
    with first:
        st.number_input(
            "Learning rate",
            min_value=0.0,
            value=None,
            step=1e-4,
            format="%g",
            key="ft_lr",
            placeholder=f"{filled.lr:g}" if filled else BY_PRESET,
            help="Of AdamW. Empty: the preset's.",
            **bound,
        )
        st.number_input(
            "Epochs",
            1,
            10_000,
            None,
            key="ft_epochs",
            placeholder=str(filled.epochs) if filled and filled.epochs else BY_PRESET,
            help="Passes over the training examples. Empty: the preset's.",
            **bound,
        )
        st.selectbox("Schedule of the learning rate", [BY_PRESET, *SCHEDULES], key="ft_schedule", **bound)
        hyperparameters.choose_n_eval("ft")
    with second:
        st.number_input(
            "Batch size",
            1,
            4096,
            None,
            key="ft_batch",
            placeholder=str(filled.batch_size if filled else RunConfig.batch_size),
            help="Examples per step. Empty: 16; of a prompted task under the preset paper 8, as the authors have it.",
            **bound,
        )
        st.number_input(
            "Tokens per example",
            4,
            2**17,
            None,
            key="ft_length",
            placeholder=f"{filled.max_length if filled else RunConfig.max_length:,}",
            help="Longer examples are cut, prompts at their left. Empty: 128, of prompts 2,048. *Check it first* "
            "counts the prompts that are cut.",
            **bound,
        )
        st.number_input(
            "Seed",
            0,
            2**31 - 1,
            0,
            key="ft_seed",
            help="Draws the examples, their order, the head and dropout.",
            **bound,
        )
    with third:
        hyperparameters.choose_device("ft")
        hyperparameters.choose_precision("ft")
        hyperparameters.choose_epsilon("ft", filled)


def _switches(layout: Layout | None) -> None:
    bound: dict[str, Any] = {"bind": "query-params"}
    with st.container(horizontal=True, gap="medium"):
        st.toggle("Dropout", True, key="ft_dropout", help="The model's own dropout while it trains.", **bound)
        if _get("ft_do") == "select" or method_of(_get(methods.METHOD)).adapter is None:  # which moves no bias
            st.toggle(
                "Keep checkpoints to play",
                True,
                key="ft_play",
                help=f"About {CHECKPOINTS} states of the trained biases, which the page Geometry can play.",
                **bound,
            )
        st.toggle(
            "Train null terms",
            False,
            key="ft_null",
            disabled=layout is not None and layout.key_rule.all_acts,
            help="Train terms and elements that are certified to have no effect, too, instead of freezing them.",
            **bound,
        )
        hyperparameters.switch_acceleration_off("ft")
        st.toggle(
            "Gradient checkpointing",
            False,
            key="ft_recompute",
            help="Compute each layer again in the backward pass: less memory for more time, for long prompts and large "
            "models.",
            **bound,
        )
        if not KINDS[str(_get("ft_do"))].sets:
            st.toggle(
                "Measure Fisher first",
                False,
                key="ft_fisher",
                help="The Fisher information of every bias before the fine-tune. A probe (select) always does.",
                **bound,
            )
        if _trains_biases():
            st.toggle(
                "Measure Fisher afterwards",
                False,
                key="ft_fisher_tuned",
                help="The Fisher information of the trained biases at the fine-tuned model, under its trained head: "
                "the weights of Fisher merging. It takes one more pass over the training examples; where a snapshot "
                "lacks it, the page Merge measures it.",
                **bound,
            )


def _is_prompted() -> bool:
    task = str(_get("ft_task"))
    return task in PROMPT_NAMES or (task == OWN_TABLE and OWN.prompted)


def _trains_biases() -> bool:
    return _get("ft_do") == "select" or method_of(_get(methods.METHOD)).trains_terms


def _keep_to(key: str, options: list[str]) -> None:
    """Forget a choice that is not offered any more."""
    if st.session_state.get(key) not in options:
        st.session_state.pop(key, None)
