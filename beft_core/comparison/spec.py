"""Specification of a fair comparison of methods: what is compared, on how many trials, and the two sweeps that it is.

The first sweep tries every method at as many learning rates of its own range, on a split of the training data; the
second trains each at the rate that did best there, and at one rate for all, with several seeds: that is reported.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beft_core.comparison.entries import DEMONSTRATIONS, Entry, entry_of
from beft_core.config import BOUNDS, RunConfig
from beft_core.errors import UserError
from beft_core.sweeps.spec import COMMON, MAX_SEEDS, SweepSpec
from beft_core.tasks.sources.user_files import OwnTable

TRIAL_SEED = 1000
"""Seed of the trials; of a comparison with more seeds the first that none of its reported fine-tunes has."""
MAX_BUDGET = 100
HOLD_OUT, HOLD_OUT_SHARE = 500, 5
"""Most training examples that are set aside by default, and the divisor of the share of them that is."""
DEFAULT: tuple[str, ...] = ("v", "q", "k", "all", "fish", "lora", "dora", "vera", "ia3", "prefix", "full")
"""Methods that are compared where none are named."""


@dataclass(frozen=True)
class ComparisonSpec:
    """Comparison of methods on one task and model."""

    task: Any = "demo-sentiment"
    """Name of a task in the registry, or a table of the user's own: an OwnTable or a mapping of its fields."""
    methods: tuple[Any, ...] = DEFAULT
    """Methods: names as in ``terms`` and ``methods`` of a sweep, ``icl`` and ``zero-shot``, with settings behind a
    name, ``lora rank=4``, or tables of both, ``{"method": "lora", "rank": 4}``.
    """
    budget: int = 5
    """Trials of each method, one for each learning rate."""
    seeds: int = 3
    """Fine-tunes that are reported of each method and setting: seeds 0 to this, not included."""
    lrs: tuple[float, ...] = ()
    """Learning rates of the trials for every method, instead of as many as the budget of its own range."""
    same_lr: float | None = None
    """The one rate for all; None: that of single bias terms by the preset."""
    hold_out: int | None = None
    """Training examples that the trials are scored on; None: a fifth, at most 500."""
    demonstrations: int = DEMONSTRATIONS
    """Answered examples before each prompt in in-context learning."""
    regime: str | None = None
    n_train: int | None = None
    """Training examples of a fine-tune, and the name of that amount; both None: the preset's."""
    settings: dict[str, Any] = field(default_factory=dict)
    """Values of other fields of RunConfig for all fine-tunes: those that a sweep has."""

    def __post_init__(self) -> None:
        for name, most in (("budget", MAX_BUDGET), ("seeds", MAX_SEEDS)):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= most:
                raise UserError(f"got {name} = {str(value)[:40]}", f"a whole number from 1 to {most:,}")
        for name in ("methods", "lrs"):
            value = getattr(self, name)
            object.__setattr__(self, name, tuple(value) if isinstance(value, list | tuple) else (value,))
        least, most = BOUNDS["hold_out"]
        if self.hold_out is not None and not least <= self.hold_out <= most:
            raise UserError(f"got --hold-out {self.hold_out}", f"at least {least}")
        if self.same_lr is not None and not 0 < self.same_lr < float("inf"):
            raise UserError(f"got --same-lr {self.same_lr}", "a positive number", "--same-lr 1e-3")
        if "hold_out" in self.settings:
            raise UserError("got hold_out among the settings", "beside them")
        self.entries()
        self._sweep(
            (), [{"method": "v", "lrs": list(self.lrs) or [1e-3]}]
        )  # what no fine-tune can have is told at once

    @property
    def table(self) -> OwnTable | None:
        """Table of the user's own; None for a task of the registry."""
        return next(iter(self._sweep((), ["v"]).tables.values()), None)

    @property
    def task_name(self) -> str:
        """Name of the task, as result tables have it."""
        return self._sweep((), ["v"]).tasks[0]

    def entries(self) -> list[Entry]:
        """List the methods with the rates of their trials. Raises UserError for one that there is not, or twice."""
        found = [entry_of(one, self.demonstrations, self.budget, self.lrs) for one in self.methods]
        names = [entry.trains for entry in found]
        if not found:
            raise UserError("got no methods", "at least one", "--methods v lora")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise UserError(f"got the method {twice} twice", "each once")
        return found

    def run_of(self, entry: Entry) -> RunConfig:
        """Make the first reported fine-tune of a method, resolved. Raises UserError for settings that it has not."""
        return self.finals([entry], {}, 1e-3).runs()[0]

    def usual_rate(self) -> float:
        """Find the learning rate of single bias terms by the preset."""
        rate = self._sweep((0,), ["v"], **self._size()).runs()[0].lr
        assert rate is not None, "a resolved fine-tune has a rate"
        return rate

    def examples(self) -> int | None:
        """Count the training examples of a reported fine-tune; None: all that there are."""
        return self._sweep((0,), ["v"], **self._size()).runs()[0].n_train

    def held_out(self, rows: int) -> int:
        """Count the examples that the trials are scored on, of ``rows`` training examples. Raises UserError."""
        count = min(HOLD_OUT, rows // HOLD_OUT_SHARE) if self.hold_out is None else self.hold_out
        if not 2 <= count <= rows - 2:
            raise UserError(
                f"got {count:,} of {rows:,} training examples to choose learning rates by",
                f"2 to {max(2, rows - 2):,}",
                "--hold-out N",
            )
        return count

    @property
    def trial_seed(self) -> int:
        """Seed of the trials, which no reported fine-tune has."""
        return max(TRIAL_SEED, self.seeds)

    def trials(self, entries: Sequence[Entry], rows: int, left: int | None = None) -> SweepSpec:
        """Make the sweep of the trials of methods, on ``rows`` training examples of which some are held out.

        ``left``: those that a trial may train on; None: all the others.
        """
        count = self.held_out(rows)
        wanted = self.examples()
        size: dict[str, Any] = {"regimes": ("all",)}
        if wanted is not None and wanted < (rows - count if left is None else left):
            size = {"n_train": (wanted,)}
        methods = [entry.in_sweep(entry.lrs) for entry in entries if entry.lrs]
        return self._sweep((self.trial_seed,), methods, hold_out=count, **size)

    def finals(self, entries: Sequence[Entry], chosen: Mapping[str, float], same: float) -> SweepSpec:
        """Make the sweep of what is reported of methods.

        ``chosen``: rate by method (``trains``); a method without one is only trained at the ``same`` rate.
        """
        methods = []
        for entry in entries:
            rates = dict.fromkeys([*([chosen[entry.trains]] if entry.trains in chosen else []), same])
            methods.append(entry.in_sweep(tuple(rates)) if entry.lrs else {**entry.in_sweep(()), "seeds": [0]})
        return self._sweep(tuple(range(self.seeds)), methods, **self._size())

    def _size(self) -> dict[str, Any]:
        return {
            "regimes": (self.regime,) if self.regime is not None and self.n_train is None else (),
            "n_train": (self.n_train,) if self.n_train is not None else (),
        }

    def _sweep(
        self, seeds: Sequence[int], methods: Sequence[Any], hold_out: int | None = None, **size: Any
    ) -> SweepSpec:
        settings = {"evaluate": "last"} | {name: value for name, value in self.settings.items() if name in COMMON}
        if strange := set(self.settings) - set(COMMON):
            raise UserError(f"got the setting {min(strange)[:80]}", f"some of {', '.join(COMMON)}")
        if settings["evaluate"] == "never":
            raise UserError("got --evaluate-when never", "a metric to compare methods by", "--evaluate-when last")
        if hold_out is not None:
            settings["hold_out"] = hold_out
            settings.pop("n_eval", None)  # of the validation set; what is held out is scored whole
        return SweepSpec(
            tasks=(self.task,),
            terms=(),
            methods=tuple(methods),
            seeds=tuple(seeds) or (0,),
            settings=settings,
            probes=False,
            **size,
        )

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name."""
        values = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        table = self.table
        plain = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        return plain | ({"task": table.to_dict()} if table is not None else {})
