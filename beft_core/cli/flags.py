"""Flags of a fine-tune, declared once: each fills one field of RunConfig; commands name the ones they take."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from beft_core.cli.parser.command import DATA as DATA_PANEL
from beft_core.cli.parser.command import MODEL, OUTPUT, TRAINING
from beft_core.cli.parser.options_file import FIELD
from beft_core.config import (
    DEVICES,
    EVALUATIONS,
    PADDINGS,
    PRECISIONS,
    SCHEDULES,
    SETTINGS_OF_METHODS,
    RunConfig,
)
from beft_core.errors import UserError
from beft_core.methods import METHODS, WITHOUT_TERMS
from beft_core.presets import EPSILON_PLACES, INPUTS, PRESETS, SAMPLERS
from beft_core.settings import arguments
from beft_core.tasks.own_table import PROBLEMS
from beft_core.tasks.registry import TASKS
from beft_core.terms import TERM_KEYS


@dataclass(frozen=True)
class Flag:
    """Flag of the command line."""

    field: str
    """Name of the field of RunConfig that the flag fills."""
    kind: Any
    help: str
    name: str = ""
    """Name of the flag, where that is not the field's."""
    metavar: str | None = None
    panel: str = TRAINING
    """Group of the flag in ``--help``."""
    convert: Callable[[Any], dict[str, Any]] | None = None
    """Function from the given value to fields; by default the value is the field's."""

    @property
    def parameter(self) -> inspect.Parameter:
        """Parameter of a command that takes the flag; None means that it was not given."""
        switch = self.kind is bool
        option = typer.Option(
            self.name or f"--{self.field.replace('_', '-')}",
            help=self.help,
            metavar=None if switch else self.metavar,
            show_default=False,
            rich_help_panel=self.panel,
            autocompletion=self._complete if self.choices else None,
        )
        kind: Any = self.kind if switch else self.kind | None
        return inspect.Parameter(
            f"{FIELD}{self.field}",
            inspect.Parameter.KEYWORD_ONLY,
            annotation=Annotated[kind, option],
            default=False if switch else None,
        )

    @property
    def choices(self) -> tuple[str, ...]:
        """Values that a shell can complete to: the words of its metavar, tasks, or terms."""
        if self.metavar and self.metavar.startswith("["):
            return tuple(self.metavar.strip("[]").split("|"))
        of_terms = {"terms": (*TERM_KEYS, *WITHOUT_TERMS), "add_bias": TERM_KEYS, "targets": TERM_KEYS}
        return {"task": tuple(TASKS), "mode": tuple(METHODS), **of_terms}.get(self.field, ())

    def _complete(self, incomplete: str) -> list[str]:
        return [choice for choice in self.choices if choice.startswith(incomplete)]

    def fields(self, value: Any) -> dict[str, Any]:
        """Make the fields of RunConfig; none where the flag was not given."""
        if value is None or value is False or value == [] or value == ():
            return {}
        return self.convert(value) if self.convert else {self.field: value}


def _choice(names: Iterable[str]) -> str:
    return "[" + "|".join(names) + "]"


_MODES = ", ".join(WITHOUT_TERMS)

FLAGS: dict[str, Flag] = {
    flag.field: flag
    for flag in (
        Flag("task", str, "Task (see: beft tasks). Default: demo-sentiment.", metavar="NAME", panel=DATA_PANEL),
        Flag(
            "name",
            str,
            "Name of your own table's task. Default: file-, and the file's name.",
            metavar="NAME",
            panel=DATA_PANEL,
        ),
        Flag(
            "train_file",
            str,
            "Your own table instead: CSV, TSV, JSONL, JSON or Parquet.",
            metavar="FILE",
            panel=DATA_PANEL,
        ),
        Flag(
            "eval_file", str, "Its validation table; without it a fifth is held out.", metavar="FILE", panel=DATA_PANEL
        ),
        Flag("text", str, "Column of the text.", metavar="COLUMN", panel=DATA_PANEL),
        Flag("text_pair", str, "Column of the second text, for tasks on pairs.", metavar="COLUMN", panel=DATA_PANEL),
        Flag(
            "label", str, "Column of the label, or of the right answer to a prompt.", metavar="COLUMN", panel=DATA_PANEL
        ),
        Flag(
            "problem",
            str,
            "What its labels are. Default: fractions make a regression, text and whole numbers classes.",
            metavar=_choice(PROBLEMS),
            panel=DATA_PANEL,
        ),
        Flag(
            "prompt",
            str,
            "Prompt for a language model, over its columns: '{text} It was'; \\n is a newline.",
            metavar="TEMPLATE",
            convert=lambda value: {"prompt": value.replace("\\n", "\n")},
            panel=DATA_PANEL,
        ),
        Flag(
            "candidates",
            list[str],
            "Answers to the prompt: terrible great, or with their labels, 0=terrible 1=great. Without: free text.",
            metavar="WORDS",
            convert=lambda value: {"candidates": arguments.candidates(value)},
            panel=DATA_PANEL,
        ),
        Flag(
            "candidates_column",
            str,
            "Column with a list of each row's own candidates.",
            metavar="COLUMN",
            panel=DATA_PANEL,
        ),
        Flag(
            "data_dir",
            str,
            "Folder of the task's data in its official layout; of a prompted task also one file.",
            metavar="FOLDER",
            panel=DATA_PANEL,
        ),
        Flag(
            "model",
            str,
            "bundled (default), a Hub id with optional @revision, or a folder.",
            metavar="MODEL",
            panel=MODEL,
        ),
        Flag(
            "terms",
            list[str],
            f"Bias terms to train: some of {', '.join(TERM_KEYS)}; or one of {_MODES}. Default: v.",
            metavar="TERMS",
            convert=arguments.terms_and_mode,
            panel=MODEL,
        ),
        Flag(
            "mode",
            str,
            "What is trained: terms (default), or another method, see beft docs methods.",
            name="--method",
            metavar="NAME",
            convert=arguments.method,
            panel=MODEL,
        ),
        Flag(
            "targets",
            list[str],
            "Of an adapter: the projections that it wraps, by their terms: q k v o mlp_in mlp_out. Default: its own.",
            metavar="TERMS",
            convert=lambda value: {"targets": arguments.joined_terms(value)},
            panel=MODEL,
        ),
        Flag("rank", int, "Rank of lora, dora (8) or vera (256).", metavar="R", panel=MODEL),
        Flag(
            "alpha", float, "Scale of lora and dora: the product counts A / R times. Default: 16.", "", "A", panel=MODEL
        ),
        Flag(
            "virtual_tokens",
            int,
            "Vectors before the text, of prefix (5) or prompt-tuning (20).",
            metavar="N",
            panel=MODEL,
        ),
        Flag(
            "layers",
            list[str],
            "Layers to train, from 0: 3-5 or 0,2,5. Default: all.",
            metavar="LAYERS",
            convert=lambda value: {"layers": arguments.layers(value)},
            panel=MODEL,
        ),
        Flag(
            "add_bias",
            list[str],
            "Give the model a zero bias of this term where it has none.",
            metavar="TERM",
            convert=lambda value: {"add_bias": arguments.words(value)},
            panel=MODEL,
        ),
        Flag(
            "rewrite_scale",
            float,
            "Train the same model written down with W_v, b_v, W_k, b_k times C, against W_o, W_q, b_q.",
            metavar="C",
            panel=MODEL,
        ),
        Flag("train_null", bool, "Train terms and elements that are certified to have no effect, too.", panel=MODEL),
        Flag(
            "regime",
            str,
            "Number of training examples as in the paper. Default: low if quick, else all.",
            metavar="[low|medium|high|all]",
            panel=DATA_PANEL,
        ),
        Flag("n_train", int, "Number of training examples; wins over --regime.", metavar="N", panel=DATA_PANEL),
        Flag(
            "n_eval",
            int,
            "Most validation examples, always the same ones. Default: all.",
            metavar="N",
            panel=DATA_PANEL,
        ),
        Flag(
            "hold_out",
            int,
            "Set N training examples aside, always the same, and score them instead of the validation set.",
            metavar="N",
            panel=DATA_PANEL,
        ),
        Flag(
            "demonstrations",
            int,
            "Answered training examples before each validation prompt (in-context learning). Default: 0.",
            metavar="K",
            panel=DATA_PANEL,
        ),
        Flag(
            "preset",
            str,
            "What is not given: the authors' settings (paper), or quick (default).",
            metavar=_choice(PRESETS),
        ),
        Flag("epochs", int, "Passes over the training examples. Default: the preset's.", metavar="N"),
        Flag("lr", float, "Peak learning rate. Default: the preset's.", metavar="RATE"),
        Flag("schedule", str, "Learning rate over the run. Default: the preset's.", metavar=_choice(SCHEDULES)),
        Flag("batch_size", int, "Examples per step. Default: 16.", metavar="N"),
        Flag("seed", int, "Draws examples, their order, the head and dropout. Default: 0.", metavar="N"),
        Flag(
            "sampler",
            str,
            "How the seed draws the examples: numpy's Generator (quick), or its legacy RandomState as "
            "the authors do (paper). Default: the preset's.",
            metavar=_choice(SAMPLERS),
            panel=DATA_PANEL,
        ),
        Flag(
            "inputs",
            str,
            "Columns of WiC: with the word (lab, quick), or the two sentences as the authors do "
            "(paper). Default: the preset's.",
            metavar=_choice(INPUTS),
            panel=DATA_PANEL,
        ),
        Flag("max_length", int, "Tokens per example. Default: 128, of prompts 2,048.", metavar="N", panel=DATA_PANEL),
        Flag("dropout", bool, "Train without dropout.", name="--no-dropout", convert=lambda _: {"dropout": False}),
        Flag("weight_decay", float, "AdamW's decay. Default: 0.", metavar="RATE"),
        Flag("adam_epsilon", float, "AdamW's epsilon. Default: the preset's (paper 1e-6, quick 1e-8).", metavar="X"),
        Flag(
            "adam_epsilon_at",
            str,
            "Add it before or after the bias correction. Default: the preset's (paper before, quick after).",
            metavar=_choice(EPSILON_PLACES),
        ),
        Flag("clip", float, "Largest norm of the gradient; 0: no clipping. Default: 1.", metavar="NORM"),
        Flag("device", str, "Where to compute. Default: auto.", metavar=_choice(DEVICES)),
        Flag(
            "precision",
            str,
            "Of the frozen products; biases are float32 always. Default: float32.",
            metavar=_choice(PRECISIONS),
        ),
        Flag("pad", str, "How a batch is laid out; only the time differs. Default: auto.", metavar=_choice(PADDINGS)),
        Flag("compile", bool, "Compile the layers first, which long runs and sweeps on a GPU win back."),
        Flag(
            "gradient_checkpointing",
            bool,
            "Compute each layer again in the backward pass: less memory for more time.",
        ),
        Flag("plain", bool, "Train without all that only makes it faster, to compare."),
        Flag("trajectory_every", int, "Keep the biases every so many steps.", metavar="STEPS", panel=OUTPUT),
        Flag("fisher", bool, "Measure the Fisher information before the fine-tune.", panel=OUTPUT),
        Flag(
            "fisher_tuned",
            bool,
            "Measure it at the fine-tuned model too, which beft merge --method fisher needs.",
            panel=OUTPUT,
        ),
        Flag("fisher_examples", int, "Examples that they average over. Default: all.", metavar="N", panel=OUTPUT),
        Flag(
            "evaluate",
            str,
            "When to score the validation set. Default: epoch; of a probe: last.",
            metavar=_choice(EVALUATIONS),
            panel=OUTPUT,
        ),
    )
}
"""Flags by field, in the order of ``--help``."""

OF_METHODS = ("mode", "targets", *SETTINGS_OF_METHODS)
"""Names of the flags that say another method than bias terms, and what only it has."""
OF_SELECT = tuple(name for name in FLAGS if name not in ("terms", "fisher", *OF_METHODS))
"""Names of the flags of ``select``: a probe fine-tunes all terms and measures Fisher always."""

TABLE = (
    "name",
    "train_file",
    "eval_file",
    "text",
    "text_pair",
    "label",
    "problem",
    "prompt",
    "candidates",
    "candidates_column",
)
"""Names of the flags that say a table of the user's own."""
DATA = ("task", *TABLE, "data_dir")
"""Names of the flags that say what the examples are."""


def takes(
    fields: Iterable[str],
    *,
    complete: Callable[[dict[str, Any]], dict[str, Any]] = dict,
    says: Mapping[str, str] | None = None,
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command the flags of these fields; it gets those that the user set as its argument ``given``.

    Args:
        fields: of RunConfig.
        complete: from the fields that were set to all that ``--print-config`` prints, what presets fill in included.
        says: field -> what its help says here, where the command means another default than a fine-tune does.
    """
    chosen = [dataclasses.replace(FLAGS[name], help=(says or {}).get(name, FLAGS[name].help)) for name in fields]

    def effective(values: dict[str, Any]) -> dict[str, Any]:
        given: dict[str, Any] = {}
        for flag in chosen:
            given |= flag.fields(values.get(f"{FIELD}{flag.field}"))
        return in_file(complete(given), [flag.field for flag in chosen])

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        own = inspect.signature(command, eval_str=True)

        @functools.wraps(command)
        def wrapper(**values: Any) -> Any:
            given: dict[str, Any] = {}
            for flag in chosen:
                fields = flag.fields(values.pop(f"{FIELD}{flag.field}"))
                if flag.field == "mode" and any(given.get(name, value) != value for name, value in fields.items()):
                    what = given.get("mode") or " ".join(given["terms"])
                    raise UserError(f"got --terms {what} with --method {fields['mode']}", "one of them")
                given |= fields
            return command(given=given, **values)

        parameters = [p for p in own.parameters.values() if p.name != "given"]
        ahead = [p for p in parameters if p.default is inspect.Parameter.empty]
        behind = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in parameters if p not in ahead]
        signature = own.replace(parameters=[*ahead, *(flag.parameter for flag in chosen), *behind])
        wrapper.__signature__ = signature  # type: ignore[attr-defined]
        wrapper.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
        wrapper.effective = effective  # type: ignore[attr-defined]
        return wrapper

    return decorate


def in_file(values: Mapping[str, Any], fields: Iterable[str]) -> dict[str, Any]:
    """Write the fields of a configuration as a file of options has them: those of the command, without open ones."""
    words = dict(values)
    mode = words.pop("mode", None)
    if mode in WITHOUT_TERMS:
        words["terms"] = mode
    of_table = "train_file" in words and words["train_file"] is not None
    ignored = ("task", "regime") if of_table else TABLE
    return {
        name: list(words[name]) if isinstance(words[name], tuple) else words[name]
        for name in fields
        if name not in ignored and words.get(name) not in (None, ())
    }


def completed(given: dict[str, Any]) -> dict[str, Any]:
    """Complete the fields of a fine-tune by its preset, as far as they are known without the model."""
    return config_of(given).resolved().to_dict()


def config_of(given: dict[str, Any]) -> RunConfig:
    """Make the configuration of the flags, checked as far as possible without data and model. Raises UserError."""
    for field in ("task", "data_dir"):
        if "train_file" in given and field in given:
            raise UserError(f"got both --{field.replace('_', '-')} and --train-file", "one of them")
    if "train_file" not in given:
        for field in TABLE:
            if field in given and field != "eval_file":  # of that, RunConfig says it
                raise UserError(f"got --{field.replace('_', '-')} without --train-file", "the table that it belongs to")
    config = RunConfig(**arguments.limited(given))
    config.resolved()
    return config
