"""Table of the paper's experiments: which fine-tunes each figure or table is made of, and how a rehearsal shrinks them.

The settings are the authors' (preset ``paper``); the paper does not say how many seeds stand behind a number. Its
notebook has one, seed 0, which is taken here, but for Table 2, whose spreads need several.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beft_core.comparison.spec import ComparisonSpec
from beft_core.errors import UserError
from beft_core.reports import paper
from beft_core.reports.methods.table5 import TECHNIQUES
from beft_core.sweeps.spec import SweepSpec
from beft_core.tasks.registry import get_task

ALL = "all"
"""Name that stands for every experiment."""
GLUE = tuple(dict.fromkeys("mnli" if task.startswith("mnli") else task for task in paper.tasks("table1")))
"""Tasks of Table 1; MNLI once, its two columns are two validation sets."""
SIZES: tuple[str, ...] = ("low", "medium", "high")
SPREAD_SEEDS = 5
"""Seeds of Table 2, whose numbers have a spread; the paper does not say of how many."""
WEIGHTS: dict[str, int] = {
    "BERT-base": 84_934_656,
    "RoBERTa-base": 84_934_656,
    "BERT-large": 301_989_888,
    "OPT-1.3B": 1_207_959_552,
    "OPT-6.7B": 6_442_450_944,
}
"""Weights of the layers of the paper's models (12 layers h^2), to forecast hours of those that are not here yet."""


@dataclass(frozen=True)
class Grid:
    """Fine-tunes that share their settings, on each of some models."""

    models: tuple[str, ...]
    """Names of models as the paper calls them, keys of :func:`beft_core.reports.paper.models`."""
    tasks: tuple[str, ...]
    regimes: tuple[str, ...] = ("low",)
    terms: tuple[str, ...] = ("v", "q", "k")
    """What each fine-tune trains, as ``beft sweep --terms`` has it."""
    methods: tuple[Mapping[str, Any], ...] = ()
    lrs: tuple[float, ...] = ()
    """Learning rates; none: the task's."""
    seeds: int = 1
    merges: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Settings other than those of all experiments."""
    alone: bool = False
    """Whether every fine-tune has the machine for itself, because its seconds are what is compared."""


@dataclass(frozen=True)
class Comparing:
    """Comparisons of methods, as ``beft compare-methods`` makes them: one for each of some tasks and models."""

    models: tuple[str, ...]
    """As of a :class:`Grid`."""
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    budget: int
    """Trials of each method, one for each learning rate of its own range."""
    seeds: int = 1


@dataclass(frozen=True)
class Experiment:
    """Figure, table or section of the paper."""

    title: str
    says: str
    """Sentence on what the paper reads from it."""
    grids: tuple[Grid, ...] = ()
    comparisons: tuple[Comparing, ...] = ()


TERMS = ("v", "q", "k")
PROBED = (*TERMS, "all")
"""The three terms alone, and the probe that scores them."""
OPT = ("OPT-1.3B", "OPT-6.7B")
PROMPT = "prompt-"
"""Beginning of the names of prompted tasks."""
BUDGET = 5
"""Trials of each method of Table 5; the paper does not say how its learning rates were chosen."""

EXPERIMENTS: dict[str, Experiment] = {
    "figure1": Experiment(
        "Figure 1",
        "On SST-2 in the low regime the projection ratio ranks the terms as they perform.",
        (Grid(("BERT-base",), ("sst2",), terms=PROBED),),
    ),
    "figure4": Experiment(
        "Figure 4",
        "From little data to all, the projection ratio follows what the terms achieve; Magnitude and Fisher do not.",
        (Grid(("BERT-base",), ("sst2", "cola", "stsb"), (*SIZES, "all"), PROBED),),
    ),
    "table1": Experiment(
        "Table 1",
        "Fine-tuning b_v alone beats b_q and b_k on every task of GLUE, and the projection ratio selects it.",
        (Grid(("BERT-base",), GLUE, SIZES, PROBED),),
    ),
    "table2": Experiment(
        "Table 2",
        "b_v costs least and is as good as all biases and all parameters.",
        (
            Grid(
                ("BERT-base",),
                ("rte",),
                terms=("v", "random", "all"),
                methods=({"method": "full"},),
                seeds=SPREAD_SEEDS,
                alone=True,
            ),
        ),
    ),
    "table3": Experiment(
        "Table 3",
        "Averaging the b_v of two tasks keeps most of both.",
        (Grid(("BERT-base",), ("sst2", "rte"), terms=("v",), merges=("sst2+rte",)),),
    ),
    "table4": Experiment(
        "Table 4",
        "b_v stays ahead of b_q and b_k on other tasks and other encoders.",
        (
            Grid(("BERT-base", "RoBERTa-base", "BERT-large"), paper.tasks("table4")),
            Grid(("BERT-base",), ("sst2", "rte"), terms=("all",)),  # whose daggers the table prints
        ),
    ),
    "section3.4": Experiment(
        "Section 3.4",
        "A larger score comes with a better result over learning rates, and little data wants many epochs.",
        (
            Grid(("BERT-base",), ("cb", "wic"), terms=PROBED, lrs=(1e-3, 1e-4), settings={"evaluate": "epoch"}),
            Grid(("RoBERTa-base", "BERT-large"), ("cb",), terms=PROBED, settings={"evaluate": "epoch"}),
        ),
    ),
    "table5": Experiment(
        "Table 5",
        "On decoders, b_v beats b_q and b_k and keeps up with LoRA and prefix tuning.",
        comparisons=(
            Comparing(
                OPT,
                tuple(f"{PROMPT}{task}" for task in paper.tasks("table5")),
                tuple(TECHNIQUES.values()),
                BUDGET,
            ),
        ),
    ),
}
"""Experiments by the name that ``beft reproduce`` takes, in the order in which they are run and shown."""


@dataclass(frozen=True)
class Rehearsal:
    """Sizes of a rehearsal: every experiment with little data, short texts and few epochs."""

    examples: Mapping[str, int]
    """Training examples, by regime."""
    settings: Mapping[str, Any]
    of_prompts: Mapping[str, Any]
    """Settings of prompted tasks."""
    compared: tuple[str, ...]
    """Tasks of comparisons, without the beginning of prompted ones; an encoder answers them by a head."""
    budget: int
    """Most trials of a method."""
    hold_out: int
    """Training examples that trials are scored on."""
    rate_factor: float
    """Factor of the learning rates that an experiment names: a small model wants larger ones."""
    seeds: int
    """Most seeds."""
    stand_ins: Mapping[str, str]
    """Task of the lab's own that stands in for one whose data are not here."""

    def sizes(self, grid: Grid) -> tuple[int, ...]:
        """Numbers of training examples of a grid, in the order of its regimes."""
        return tuple(self.examples[regime] for regime in grid.regimes)


SMALL = Rehearsal(
    {"low": 32, "medium": 48, "high": 64, "all": 96},
    {"preset": "quick", "epochs": 4, "batch_size": 16, "max_length": 64, "n_eval": 100, "fisher_examples": 32},
    {"preset": "quick", "epochs": 1, "n_eval": 50},
    ("sst2", "rte"),
    2,
    64,
    10.0,
    2,
    {
        "sst2": "demo-sentiment",
        "rte": "demo-entailment",
        "cola": "demo-acceptability",
        "stsb": "demo-similarity",
    },
)


def chosen(names: Iterable[str]) -> tuple[str, ...]:
    """List the experiments of some names, each once and in their order; ``all`` is every one.

    Raises:
        UserError: a name that there is not, or none.
    """
    given = [name.lower() for name in names]
    for name in given:
        if name not in (*EXPERIMENTS, ALL):
            near = name.replace(" ", "").replace("fig", "figure") if name.startswith("fig") else name.replace(" ", "")
            close = [known for known in EXPERIMENTS if near and (near in known or known in near)]
            raise UserError(f"got {name[:80]}", f"some of {', '.join(EXPERIMENTS)} or {ALL}", close[0] if close else "")
    if not given:
        raise UserError("got nothing to reproduce", f"some of {', '.join(EXPERIMENTS)} or {ALL}")
    return tuple(name for name in EXPERIMENTS if name in given or ALL in given)


def spec_of(
    grid: Grid,
    model: str,
    tasks: Sequence[str],
    settings: Mapping[str, Any],
    *,
    small: Rehearsal | None = None,
    seeds: int | None = None,
) -> SweepSpec:
    """Make the sweep of a grid on one model and some of its tasks. ``settings``: the user's own, which win.

    ``small``: shrinks it; tasks may then be stand-ins. ``seeds``: how many, instead of the grid's.

    Raises:
        UserError: settings that no run can have.
    """
    of_all: dict[str, Any] = {"model": model, "evaluate": "last"}
    if small is None:
        sizes: dict[str, Any] = {"regimes": grid.regimes}
        of_all |= {"preset": "paper", **grid.settings}
        lrs = grid.lrs
    else:
        sizes = {"n_train": small.sizes(grid)}
        of_all |= {**small.settings, **grid.settings}
        lrs = tuple(lr * small.rate_factor for lr in grid.lrs)
        seeds = seeds or min(grid.seeds, small.seeds)
    names = {**{task: task for task in tasks}, **({} if small is None else _replaced(grid, tasks, small))}
    merges = tuple("+".join(names.get(task, "") for task in pair.split("+")) for pair in grid.merges)
    return SweepSpec(
        tasks=tuple(tasks),
        terms=grid.terms,
        methods=tuple(dict(method) for method in grid.methods),
        lrs=lrs,
        seeds=tuple(range(seeds or grid.seeds)),
        merges=tuple(pair for pair in merges if all(pair.split("+"))),
        settings={**of_all, **settings},
        **sizes,
    )


def comparison_of(
    comparing: Comparing,
    model: str,
    task: str,
    settings: Mapping[str, Any],
    *,
    small: Rehearsal | None = None,
    seeds: int | None = None,
) -> ComparisonSpec:
    """Make the comparison of methods on one model and task; arguments as of :func:`spec_of`.

    Raises:
        UserError: settings that no run can have.
    """
    about = get_task(task)
    if small is None:
        of_all: dict[str, Any] = {"preset": "paper"}
        regime, n_train = ("low" if about.regimes["low"] is not None else "all"), None
    else:
        of_all = dict(small.settings if about.prompt is None else small.of_prompts)
        of_all.pop("fisher_examples", None)
        regime, n_train = None, small.examples["low"]
    return ComparisonSpec(
        task=task,
        methods=comparing.methods,
        budget=comparing.budget if small is None else min(comparing.budget, small.budget),
        seeds=seeds or comparing.seeds,
        hold_out=None if small is None else small.hold_out,
        regime=regime,
        n_train=n_train,
        settings={"model": model, "evaluate": "last", **of_all, **settings},
    )


def _replaced(grid: Grid, tasks: Sequence[str], small: Rehearsal) -> dict[str, str]:
    """Map the tasks of a grid to those that stand in for them among ``tasks``."""
    own = {task: small.stand_ins.get(task, "") for task in grid.tasks if task not in tasks}
    return {task: name for task, name in own.items() if name in tasks}
