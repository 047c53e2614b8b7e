"""Configuration of one fine-tune: a frozen record that is written into run directories and snapshots."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from dataclasses import dataclass
from typing import Any, get_args, get_type_hints

from beft_core.architectures.config_values import MAX_LAYERS
from beft_core.architectures.layout import Layout
from beft_core.errors import UserError
from beft_core.methods import EVERY_BIAS, METHODS, MethodRow
from beft_core.presets import EPSILON_PLACES, INPUTS, MAX_SCALE, PRESETS, SAMPLERS, layout_here, paper_epochs
from beft_core.tasks.own_table import PROBLEMS, checked_name
from beft_core.tasks.prompts.demonstrations import MAX_DEMONSTRATIONS
from beft_core.tasks.prompts.tasks import QUICK_LR
from beft_core.tasks.registry import REGIMES, get_task
from beft_core.tasks.sources.user_files import OwnTable
from beft_core.tasks.spec import Quick
from beft_core.terms import NORMS, TERM_KEYS

SCHEDULES = ("constant", "linear")
PRECISIONS = ("float32", "bfloat16")
DEVICES = ("auto", "cpu", "cuda", "mps")
PADDINGS: dict[str, str] = {
    "auto": "what was measured to be fastest: packed (buckets where the architecture forbids it), or longest on a GPU",
    "packed": "several examples in one row, each attending only to itself",
    "buckets": "two micro-batches by length, each padded to its longest example",
    "longest": "one batch, padded to its longest example",
    "max": "one batch, padded to --max-length, as the authors do",
}
"""Names of the ways to lay a batch out, each with its description. The update is the same; only the time differs."""
EVALUATIONS = ("epoch", "last", "never")

PER_RUN = frozenset(
    {
        "mode",
        "terms",
        "alpha",
        "layers",
        "train_null",
        "lr",
        "seed",
        "epochs",
        "n_train",
        "regime",
        "schedule",
        "weight_decay",
        "clip",
        "adam_epsilon",
        "adam_epsilon_at",
        "sampler",
        "fisher",
        "fisher_tuned",
        "fisher_examples",
        "trajectory_every",
    }
)
"""Fields of RunConfig in which runs of one bank may differ, but for those that their method wants alike."""


TABLE_FIELDS: dict[str, str] = {
    field.name: "table_sha256" if field.name == "sha256" else field.name for field in dataclasses.fields(OwnTable)
}
"""Field of a table of the user's own -> the field of a configuration that says it."""


def table_fields(table: OwnTable) -> dict[str, Any]:
    """Give the fields of a configuration that say a table of the user's own."""
    return {field: getattr(table, name) for name, field in TABLE_FIELDS.items()}


PROBE: dict[str, Any] = {"mode": EVERY_BIAS, "fisher": True}
"""Fields that a probe sets itself: it trains every bias, with the Fisher information measured before."""
PROBE_EVALUATES = "last"
"""Time at which ``beft select`` and ``select`` score the validation set where they are not told: the scores need no
curve, and it would take time. Other probes, such as those of the dashboard, are scored as their configuration says.
"""


@dataclass(frozen=True)
class RunConfig:
    """Configuration of one fine-tune. Fields that are ``None`` are filled in from the preset by :meth:`resolved`."""

    model: str = "bundled"
    """Name of the base model: ``bundled``, a Hub id with optional ``@revision``, or a folder."""
    task: str = "demo-sentiment"
    """Name of a task in the registry; ignored where ``train_file`` is given."""
    name: str | None = None
    """Name of the task of ``train_file``, and of its head in snapshots; ``None``: made from the file's name."""
    train_file: str | None = None
    """Training table of the user's own: CSV, TSV, JSONL or Parquet."""
    eval_file: str | None = None
    """Validation table; without it a fifth of the training table is held out."""
    text: str | None = None
    """Column of the text in ``train_file``."""
    text_pair: str | None = None
    """Column of the second text, for tasks on pairs."""
    label: str | None = None
    """Column of the label."""
    problem: str | None = None
    """Kind of labels, a key of :data:`beft_core.tasks.own_table.PROBLEMS`: what the labels of ``train_file`` are;
    ``None``: fractions make a regression, text and whole numbers make classes.
    """
    prompt: str | None = None
    """Prompt over the columns of ``train_file``, which a language model answers; ``None``: a head does."""
    candidates: tuple[str, ...] | None = None
    """Candidates that every row of ``train_file`` has, each alone or as ``label=candidate``."""
    candidates_column: str | None = None
    """Column of ``train_file`` with a list of each row's own candidates."""
    table_sha256: str | None = None
    """Content of ``train_file`` (and, after a +, of ``eval_file``) when the fine-tune was set up; a file that has
    changed since is refused. ``None``: whatever the files hold when it begins."""
    data_dir: str | None = None
    """Folder with the task's data in its official layout, before any environment folder."""

    mode: str = "terms"
    """Method of the fine-tune: a key of :data:`beft_core.methods.METHODS`."""
    terms: tuple[str, ...] = ("v",)
    """Bias terms that mode ``terms`` trains together; ``q+v`` is both of them."""
    targets: tuple[str, ...] | None = None
    """Bias terms whose modules an adapter wraps: ``q`` stands for the projection to queries. Only methods that wrap
    modules have them; ``None``: the method's own (:data:`beft_core.adapter_methods.ADAPTERS`).
    """
    rank: int | None = None
    """Rank of LoRA, DoRA or VeRA; ``None``: the method's own."""
    alpha: float | None = None
    """Scale of LoRA and DoRA: the low-rank product counts ``alpha / rank`` times; ``None``: the method's own."""
    virtual_tokens: int | None = None
    """Number of vectors that prefix or prompt tuning puts before the text; ``None``: the method's own."""
    layers: tuple[int, ...] | None = None
    """Layers whose terms, or modules, are trained (0-based); ``None``: all."""
    train_null: bool = False
    """Train terms that are certified null too, instead of freezing them in an all-bias run."""
    add_bias: tuple[str, ...] = ()
    """Terms that are given a zero bias where the architecture has none."""

    rewrite_scale: float | None = None
    """Factor by which the model is written down differently first: W_v, b_v and W_k, b_k times it, W_o and W_q, b_q
    divided by it, so that its outputs stay; ``None``: the model as it is. See :mod:`beft_core.scores.rewriting`.
    """

    regime: str | None = None
    """Regime, ``low``, ``medium``, ``high`` or ``all``: the number of training examples, as the paper has it for the
    task.
    """
    n_train: int | None = None
    """Number of training examples; wins over ``regime``. Both ``None``: the low regime under the ``quick`` preset,
    where the task has one, else all."""
    n_eval: int | None = None
    """Most validation examples: the first of a permutation that is always the same; ``None``: all."""
    hold_out: int | None = None
    """Training examples that are set aside and scored instead of the validation set, always the same ones, whatever the
    seed: what settings may be chosen by; ``None``: the validation set is scored.
    """
    demonstrations: int = 0
    """Number of answered training examples before every validation prompt (in-context learning), drawn afresh for each;
    see :mod:`beft_core.tasks.prompts.demonstrations`.
    """
    preset: str = "quick"
    """Preset, a key of :data:`PRESETS`: ``paper`` (the authors' settings) or ``quick`` (learning rates that suit a
    small model, few epochs).
    """
    epochs: int | None = None
    """Passes over the training examples."""
    sampler: str | None = None
    """Sampler, a key of :data:`SAMPLERS`: how the seed draws the training examples."""
    inputs: str | None = None
    """Choice of inputs, a key of :data:`INPUTS`: which columns of a task the model reads."""
    lr: float | None = None
    """Peak learning rate of AdamW."""
    schedule: str | None = None
    """Schedule of the learning rate, ``constant`` or ``linear`` (decay to zero over the run)."""
    batch_size: int = 16
    """Examples per optimizer step."""
    seed: int = 0
    """Seed that draws the examples, their order, the head's initial values and dropout."""
    max_length: int = 128
    """Tokens per example; longer examples are cut."""
    dropout: bool = True
    """Whether the model's own dropout is on during training."""
    weight_decay: float = 0.0
    """Decoupled weight decay of AdamW."""
    adam_epsilon: float | None = None
    """Epsilon of AdamW, in the units of a gradient: elements whose gradients stay below it hardly move."""
    adam_epsilon_at: str | None = None
    """Place of AdamW's epsilon, a key of :data:`EPSILON_PLACES`: ``before`` or ``after`` the bias correction."""
    clip: float = 1.0
    """Largest L2 norm of the gradient over all trained parameters of the run; 0: no clipping."""

    precision: str = "float32"
    """Precision of the model, ``float32``, or ``bfloat16`` for the frozen matrix products; trained biases are float32
    always.
    """
    device: str = "auto"
    """Device to train on; ``auto`` takes CUDA, then MPS, then the CPU."""
    pad: str = "auto"
    """Layout of a batch, a key of :data:`PADDINGS`."""
    compile: bool = False
    """Compile the layers before the first step: about half a minute that long runs and banks on a GPU win back."""
    gradient_checkpointing: bool = False
    """Compute each layer again in the backward pass instead of keeping its states: less memory for more time."""
    plain: bool = False
    """Train without anything that merely makes it faster."""
    evaluate: str = "epoch"
    """Time to score the validation set: after each ``epoch``, after the ``last``, or ``never``."""
    trajectory_every: int | None = None
    """Keep the trained biases every so many steps; ``None``: no trajectory."""
    fisher: bool = False
    """Measure the Fisher information of every bias term before the fine-tune."""
    fisher_tuned: bool = False
    """Measure the Fisher information of the trained bias terms at the fine-tuned model too, by which merging weighs."""
    fisher_examples: int | None = None
    """Training examples that the Fisher information averages over; ``None``: all that the run trains on."""
    record_wall_seconds: bool = False
    """Write the duration into the snapshot; off, so that two equal runs write equal bytes."""

    def __post_init__(self) -> None:
        # JSON has lists where this record has tuples.
        for name in ("terms", "layers", "add_bias", "candidates", "targets"):
            value = getattr(self, name)
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))
        if any("+" in term for term in self.terms):
            object.__setattr__(self, "terms", tuple(one for term in self.terms for one in term.split("+")))
        _one_of("--mode", self.mode, METHODS)
        _one_of("--precision", self.precision, PRECISIONS)
        _one_of("--device", self.device, DEVICES)
        _one_of("--pad", self.pad, PADDINGS)
        _one_of("--evaluate", self.evaluate, EVALUATIONS)
        _one_of("--preset", self.preset, PRESETS)
        for flag, value, known in (
            ("--schedule", self.schedule, SCHEDULES),
            ("--regime", self.regime, REGIMES),
            ("--problem", self.problem, PROBLEMS),
            ("--sampler", self.sampler, SAMPLERS),
            ("--inputs", self.inputs, INPUTS),
            ("--adam-epsilon-at", self.adam_epsilon_at, EPSILON_PLACES),
        ):
            if value is not None:
                _one_of(flag, value, known)
        if self.name is not None:
            checked_name(self.name)
        if self.plain and self.compile:
            raise UserError("got --plain with --compile", "one of them: compiled layers only make training faster")
        if self.gradient_checkpointing and self.compile:
            raise UserError("got --gradient-checkpointing with --compile", "one of them")
        for term in (*self.terms, *self.add_bias):
            _one_of("--terms", term, TERM_KEYS)
        if self.fisher_tuned and not self.method.trains_terms:
            raise UserError(f"got --fisher-tuned with --terms {self.mode}", "a fine-tune of bias terms", "--terms v")
        if self.method.names_terms and not self.terms:
            raise UserError("got no bias terms", f"some of {', '.join(TERM_KEYS)}", "--terms v, or --terms all")
        if len(set(self.terms)) != len(self.terms):
            raise UserError(f"got --terms {' '.join(self.terms)}", "each term once")
        if self.layers is not None and not (self.layers and 0 <= min(self.layers) <= max(self.layers) < MAX_LAYERS):
            raise UserError(f"got --layers {self.layers}", "layer numbers from 0 on", "--layers 3-5")
        for name, (least, most) in BOUNDS.items():
            value = getattr(self, name)
            if value is not None and not least <= value <= most:
                expected = f"at least {least}" if not value > most else f"at most {most}"
                raise UserError(f"got --{name.replace('_', '-')} {value}", expected)
        self._check_settings_of_method()
        if self.lr is not None and not 0 < self.lr <= LARGEST_RATE:
            expected = f"at most {LARGEST_RATE:g}" if self.lr > 0 else "a positive number"
            raise UserError(f"got --lr {self.lr}", expected, "--lr 4e-4")
        if self.adam_epsilon is not None and not MIN_EPSILON <= self.adam_epsilon <= 1:
            raise UserError(f"got --adam-epsilon {self.adam_epsilon}", f"{MIN_EPSILON:g} to 1", "--adam-epsilon 1e-8")
        if self.rewrite_scale is not None and not 1 / MAX_SCALE <= self.rewrite_scale <= MAX_SCALE:
            expected = f"{1 / MAX_SCALE:g} to {MAX_SCALE:g}"
            raise UserError(f"got --rewrite-scale {self.rewrite_scale:g}", expected, "--rewrite-scale 10")
        if self.train_file is None and self.prompt is not None:
            raise UserError("got --prompt without --train-file", "the table that it belongs to")
        if self.train_file is not None and self.prompt is not None and self.label is None:
            raise UserError("got --prompt without --label", "the column of the right candidate or answer")
        if self.train_file is not None and self.prompt is None and (self.text is None or self.label is None):
            raise UserError(
                "got --train-file without --text and --label",
                "the names of its columns",
                "--text sentence --label label",
            )
        if self.train_file is None and self.eval_file is not None:
            raise UserError("got --eval-file without --train-file", "both, or a --task")

    def _check_settings_of_method(self) -> None:
        """Refuse settings that the method does not have, or that are out of its bounds."""
        settings = {one.field: one for one in self.method.settings}
        for name in SETTINGS_OF_METHODS:
            value, flag = getattr(self, name), f"--{name.replace('_', '-')}"
            if value is None:
                continue
            if name not in settings:
                own = ", ".join(key for key, row in METHODS.items() if name in {one.field for one in row.settings})
                raise UserError(f"got {flag} with --method {self.mode}, which has none", f"one of {own}")
            one = settings[name]
            if not one.least <= value <= one.most:
                raise UserError(
                    f"got {flag} {value:g}", f"{one.least:g} to {one.most:g}", f"{flag} {one.default:g}, {one.source}"
                )
        adapter = self.method.adapter
        if self.layers is not None and self.method.before_text:
            raise UserError(
                f"got --layers with --method {self.mode}, whose vectors stand before the text in all of them",
                "a method that wraps modules",
                "--method lora",
            )
        if self.targets is None:
            return
        if adapter is None or not adapter.wraps:
            own = ", ".join(key for key, row in METHODS.items() if row.adapter is not None and row.adapter.wraps)
            raise UserError(f"got --targets with --method {self.mode}, which wraps no modules", f"one of {own}")
        known = [term for term in TERM_KEYS if (term in NORMS) == adapter.norms]
        for target in self.targets:
            if target not in known:
                raise UserError(
                    f"got --targets {target} with --method {self.mode}",
                    f"some of {', '.join(known)}",
                    f"--targets {' '.join(adapter.targets)}",
                )
        if not self.targets or len(set(self.targets)) != len(self.targets):
            raise UserError(f"got --targets {' '.join(self.targets)}", "each target once, and at least one")

    @property
    def method(self) -> MethodRow:
        """Row of the table of methods that says what is trained."""
        return METHODS[self.mode]

    @property
    def table(self) -> OwnTable | None:
        """Table of the user's own; None for a task of the registry. Raises UserError for two columns of one name."""
        if self.train_file is None or self.label is None:
            return None
        return OwnTable(**{name: getattr(self, field) for name, field in TABLE_FIELDS.items()})

    def shared(self) -> dict[str, Any]:
        """Give what all runs of a bank with this one have in common: JSON values by field."""
        shared = _shared_fields(self.method.alike)
        return {name: value for name, value in self.to_dict().items() if name in shared}

    def shared_key(self) -> tuple[object, ...]:
        """Give what :meth:`shared` says as a key: a hundred thousand runs are grouped by it."""
        alike, values = self.method.alike, vars(self)
        return alike, *map(values.__getitem__, _shared_fields(alike))

    def doubts(self) -> tuple[str, ...]:
        """Say, in a line each, which settings are likely a slip of the hand although a run may have them."""
        least, most = self.method.usual_rates
        if self.lr is None or least <= self.lr <= most:
            return ()
        presets = ", ".join(f"{_preset_lr(dataclasses.replace(self, preset=name)):g} {name}" for name in PRESETS)
        what = self.method.short or "single bias terms"
        if self.lr < least:
            why = f"is one for full fine-tuning; for {what} at least {least:g} is usual"
        else:
            why = f"is one for bias terms; for {what} at most {most:g} is usual"
        return (f"a learning rate of {self.lr:g} {why} (presets: {presets})",)

    def rate_source(self) -> str | None:
        """Say what stands behind the learning rate of a resolved configuration: that it was given, or why the preset
        has one of its own for the method; None for the task's rate of the preset, and where nothing is trained. One
        that was given and is the preset's is not told from one that the preset filled in.
        """
        rates = self.method.rates
        if rates is None:
            return None
        if self.lr != (of_preset := _preset_lr(self)):
            return f"given; preset {self.preset} has {of_preset:g}"
        has = rates.reason and self.preset in (*rates.usual, *rates.shares)
        return f"as preset {self.preset} has it: {rates.reason}" if has else None

    def probe(self) -> RunConfig:
        """Give the probe of the paper's method with these settings, a run of kind "select"; see :data:`PROBE`."""
        return dataclasses.replace(self, **PROBE)

    def resolved(self, layout: Layout | None = None) -> RunConfig:
        """Copy of the configuration with every hyper-parameter filled in from its preset and task.

        The ``paper`` preset is the authors' own: constant learning rate, per-task values, epochs by task and size of
        the model; ``full`` fine-tunes at 1e-5 there, prompted tasks decay linearly. ``quick`` always decays linearly.

        ``layout``: of the model; without it, that of the model's files on this machine. Where those are not here
        either, ``epochs`` stays open if it depends on the model: see :func:`presets.paper_epochs`.
        """
        unsized = self.regime is None and self.n_train is None and self.train_file is None
        if unsized and self.preset == "quick" and get_task(self.task).regimes.get("low") is not None:
            return dataclasses.replace(self, regime="low").resolved(layout)
        of_task = {"lr": _preset_lr(self), "epochs": self.epochs or self._preset_epochs(layout)}
        own = get_task(self.task).paper_preset if self.preset == "paper" and self.train_file is None else {}
        of_preset = dataclasses.asdict(PRESETS[self.preset]) | own | of_task
        of_method: dict[str, Any] = {one.field: one.default for one in self.method.settings}
        if self.method.adapter is not None and self.method.adapter.wraps:
            of_method["targets"] = self.method.adapter.targets
        filled = {name: value for name, value in (of_preset | of_method).items() if getattr(self, name) is None}
        if self.train_file is not None or get_task(self.task).paper_text is None:
            filled["inputs"] = "lab"  # there is only one way to read the others
        n_train = self.n_train if self.n_train is not None else self._regime_examples()
        if n_train is not None and "randomstate" in (self.sampler, filled.get("sampler")) and self.seed >= 2**32:
            raise UserError(f"got --seed {self.seed}", "below 2**32 with --sampler randomstate", "--sampler generator")
        return dataclasses.replace(self, **filled, n_train=n_train)

    def _preset_epochs(self, layout: Layout | None) -> int | None:
        if self.train_file is not None:
            return OWN_TABLE_EPOCHS if self.prompt is None else OWN_PROMPT.epochs
        task = get_task(self.task)
        if self.preset == "quick":
            return task.quick.epochs
        if task.epochs_larger is not None and layout is None:
            layout = layout_here(self.model)
        return paper_epochs(task, layout)

    def _regime_examples(self) -> int | None:
        if self.regime is None or self.regime == "all":
            return None
        if self.train_file is not None:
            raise UserError(
                f"got --regime {self.regime} with --train-file",
                "a number of examples, because regimes belong to the paper's tasks",
                "--n-train 1000",
            )
        regimes = get_task(self.task).regimes
        if regimes.get(self.regime) is None:
            known = ", ".join(name for name, n in regimes.items() if n is not None) or "none"
            raise UserError(
                f"got --regime {self.regime}, which the paper does not define for {self.task}",
                f"one of: {known}",
                "--n-train N",
            )
        return regimes[self.regime]

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name."""
        values = vars(self)  # all are flat: copying them deeply would take most of the time that a large grid takes
        return {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RunConfig:
        """Configuration from the JSON values of :meth:`to_dict`. Raises UserError for unknown fields and values of the
        wrong type.
        """
        hints = _hints()
        for key, value in values.items():
            if key not in hints:
                close = difflib.get_close_matches(key, hints, n=1)
                raise UserError(f"got the unknown field {key!r}", "a field of a run", close[0] if close else "")
            if not _fits(value, hints[key]):
                raise UserError(f"got {key} = {value!r}", type_in_words(hints[key]))
        return cls(**values)


def differing(one: RunConfig, other: RunConfig) -> list[str]:
    """List the fields in which two runs differ although runs of one bank must not; empty: they may share one."""
    ours, theirs = one.shared(), other.shared()
    return sorted(n for n in ours.keys() | theirs.keys() if (n in ours, ours.get(n)) != (n in theirs, theirs.get(n)))


SETTINGS_OF_METHODS: tuple[str, ...] = tuple(
    dict.fromkeys(one.field for row in METHODS.values() for one in row.settings)
)
"""Fields that only some methods have."""
LARGEST_RATE = 1000.0
BOUNDS: dict[str, tuple[int, int]] = {
    "n_train": (2, 10**9),
    "n_eval": (2, 10**9),
    "hold_out": (2, 10**9),
    "demonstrations": (0, MAX_DEMONSTRATIONS),
    "epochs": (1, 10_000),
    "batch_size": (1, 2**16),
    "seed": (0, 2**53 - 1),  # what every reader of JSON holds exactly, and so a snapshot records
    "max_length": (4, 2**17),
    "weight_decay": (0, 1000),
    "clip": (0, 10**9),
    "trajectory_every": (1, 10**9),
    "fisher_examples": (1, 10**9),
}
"""Name of a field -> its least and its largest value: beyond these is a slip of the hand, and no work is begun for it.
"""

MIN_EPSILON = 1e-30
"""Least ``adam_epsilon``: far below any gradient, far above the smallest number of float32: a quotient 0 / 0 is not
finite.
"""
OWN_TABLE_LR, OWN_TABLE_EPOCHS = 5e-3, 6
"""Learning rate and epochs for tables of the user's own, in either preset."""
OWN_PROMPT = Quick(QUICK_LR, 3)
"""Those for prompts over tables of the user's own."""


def _preset_lr(config: RunConfig) -> float:
    task = None if config.train_file is not None else get_task(config.task)
    own = OWN_TABLE_LR if config.prompt is None else OWN_PROMPT.lr
    lr = own if task is None else task.lr if config.preset == "paper" else task.quick.lr
    rates = config.method.rates
    return lr if rates is None else rates.of_preset(config.preset, lr)


def _one_of(flag: str, value: str, known: Any) -> None:
    if value not in known:
        close = difflib.get_close_matches(str(value), list(known), n=1)
        raise UserError(f"got {flag} {value}", f"one of {', '.join(known)}", close[0] if close else "")


@functools.cache
def _shared_fields(alike: tuple[str, ...]) -> tuple[str, ...]:
    """Names of the fields in which runs of a bank agree. ``alike``: of the method."""
    return tuple(name for name in _hints() if name not in PER_RUN or name in alike)


@functools.cache
def _hints() -> dict[str, Any]:
    """Types of the fields by name; worked out once, because a sweep makes a hundred thousand configurations."""
    return get_type_hints(RunConfig)


_TYPE_WORDS: dict[type, tuple[str, str]] = {
    str: ("a text", "texts"),
    int: ("a whole number", "whole numbers"),
    float: ("a number", "numbers"),
    bool: ("true or false", "true and false"),
}
"""Words for one value of a type, and for several."""


def type_in_words(hint: Any) -> str:
    """Write the type of a field in words, such as "a list of whole numbers, or none"; only hints of RunConfig."""
    options = get_args(hint) if type(None) in get_args(hint) else (hint,)
    words = []
    for option in options:
        if option in _TYPE_WORDS:
            words.append(_TYPE_WORDS[option][0])
        elif option is not type(None):  # tuple[X, ...]
            words.append(f"a list of {_TYPE_WORDS[get_args(option)[0]][1]}")
    return ", or ".join([*words, *(["none"] if type(None) in options else [])])


def _fits(value: Any, hint: Any) -> bool:
    """Whether a JSON value has the type of a field; only the hints that RunConfig uses."""
    options = get_args(hint) if type(None) in get_args(hint) else (hint,)
    for option in options:
        if option is type(None):
            if value is None:
                return True
        elif option is float:
            if isinstance(value, int | float) and not isinstance(value, bool):
                return True
        elif option in (int, str, bool):
            if type(value) is option:
                return True
        else:  # tuple[X, ...]
            item = get_args(option)[0]
            if isinstance(value, list | tuple) and all(type(v) is item for v in value):
                return True
    return False
