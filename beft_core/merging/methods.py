"""Methods of merging: a registry of pure functions from the changes of several tasks to one; numpy only.

A method is data: a name, a formula, its parameters, where it comes from, and one function from the differences
``post - pre`` of several tasks to one difference. The command line, the dashboard and the documentation read it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from beft_core.errors import UserError


def mean(deltas: np.ndarray) -> np.ndarray:
    """Average the differences, with which the paper merges b_v of RTE and SST-2 (Table 3)."""
    return deltas.mean(axis=0)


def weighted(deltas: np.ndarray, *, weights: Sequence[float]) -> np.ndarray:
    """Average the differences by weights, which are normalised to sum to 1."""
    shares = np.asarray(weights, dtype=np.float64)
    return shares / shares.sum() @ deltas


def task_arithmetic(deltas: np.ndarray, *, scale: float) -> np.ndarray:
    """Add the differences and scale the sum."""
    return scale * deltas.sum(axis=0)


def ties(deltas: np.ndarray, *, density: float, scale: float) -> np.ndarray:
    """Trim, elect sign, merge: keep each task's largest elements, average those that agree with the majority.

    The majority is the sign of the sum of what was kept, so larger movements have more say. Where it is
    exactly zero, so is the result. Of equal magnitudes at the border the first are kept.
    """
    kept = np.zeros_like(deltas)
    count = max(1, round(density * deltas.shape[1]))
    for task, delta in enumerate(deltas):
        largest = np.argsort(-np.abs(delta), kind="stable")[:count]
        kept[task, largest] = delta[largest]
    elected = np.sign(kept.sum(axis=0))
    agrees = (np.sign(kept) == elected) & (kept != 0)
    total = np.where(agrees, kept, 0).sum(axis=0)
    return scale * total / np.maximum(agrees.sum(axis=0), 1)


def dare(deltas: np.ndarray, *, density: float, seed: int) -> np.ndarray:
    """Drop and rescale: each element survives with probability `density`, divided by it; then the average.

    In expectation over seeds this is `mean`.
    """
    survives = np.random.default_rng(seed).random(deltas.shape) < density
    return np.where(survives, deltas / density, 0).mean(axis=0)


def slerp(deltas: np.ndarray, *, t: float) -> np.ndarray:
    """Follow the arc from the first difference (t = 0) to the second (t = 1), lengths interpolated with it.

    Where there is no arc (a zero, parallel or opposite differences) it is the straight line.
    """
    first, second = deltas
    lengths = np.linalg.norm(first), np.linalg.norm(second)
    if min(lengths) > 0:
        one, two = first / lengths[0], second / lengths[1]
        angle = 2 * math.atan2(np.linalg.norm(one - two), np.linalg.norm(one + two))  # exact also where small
        if math.sin(angle) > 1e-9:
            return (math.sin((1 - t) * angle) * first + math.sin(t * angle) * second) / math.sin(angle)
    return (1 - t) * first + t * second


def fisher(deltas: np.ndarray, fisher: np.ndarray) -> np.ndarray:
    """Average each element weighted by its Fisher information; where no task has any, take the plain average.

    `fisher` [tasks, elements], at the fine-tuned models, is first divided by each task's L2 norm over all that is
    merged, as the code of the paper does. For the scale of a Fisher information says nothing about a task: that of a
    regression depends on the variance that its likelihood assumes, that of a classification on how sure the model has
    become. Only where a task's information lies then decides, and no task outweighs another by its loss.

    From one base, averaging differences or values so is the same.
    """
    norms = np.linalg.norm(fisher, axis=1, keepdims=True)
    fisher = fisher / np.where(norms > 0, norms, 1)
    total = fisher.sum(axis=0)
    shares = np.where(total > 0, fisher / np.where(total > 0, total, 1), 1 / len(deltas))
    return (shares * deltas).sum(axis=0)


@dataclass(frozen=True)
class Parameter:
    """Parameter of a method; its default says its type."""

    name: str
    default: float | int | str | None
    """Default value; None: the parameter is a list of numbers, one per snapshot, by default all equal."""
    help: str
    low: float = 0.0
    high: float = math.inf
    choices: tuple[str, ...] = ()
    brief: str = ""
    """Help of a flag that methods share; by default ``help``."""
    each: str = ""
    """Name of one number of a list, such as "Weight"."""

    @property
    def flag(self) -> str:
        """Name of the flag that sets the parameter."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def is_list(self) -> bool:
        """Whether the parameter is a list of numbers, one per snapshot."""
        return self.default is None

    @property
    def metavar(self) -> str:
        """Placeholder of a value in the help of its flag."""
        if self.choices:
            return f"[{'|'.join(self.choices)}]"
        if self.is_list:
            return f"{self.name[0].upper()}..."
        return "N" if isinstance(self.default, int) else "X"

    @property
    def expected(self) -> str:
        """Range of values in words."""
        if self.choices:
            return f"one of {', '.join(self.choices)}"
        kind = "a whole number" if isinstance(self.default, int) else "a number"
        kind = "numbers, one per snapshot, each" if self.default is None else kind
        return f"{kind} from {self.low:g}" + (f" to {self.high:g}" if self.high < math.inf else "")

    def parse(self, value: Any, tasks: int) -> Any:
        """Check a value, given as a number or a text ("0.5", "1,2").

        Raises:
            UserError: of another type or out of range.
        """
        wrong = UserError(f"{self.name} = {value!r}", self.expected)
        if self.choices:
            if value not in self.choices:
                raise wrong
            return value
        try:
            if self.default is None:
                parts = value.split(",") if isinstance(value, str) else list(value or [1.0] * tasks)
                numbers = [float(part) for part in parts]
                if len(numbers) != tasks or sum(numbers) <= 0:
                    raise UserError(f"{self.name} = {value!r}", f"{tasks} {self.expected}, not all zero")
            else:
                numbers = [float(value)]
                if isinstance(self.default, int):
                    if not numbers[0].is_integer():
                        raise wrong
                    numbers = [int(value)]
        except (TypeError, ValueError) as error:
            raise (error if isinstance(error, UserError) else wrong) from None
        if not all(self.low <= number <= self.high and math.isfinite(number) for number in numbers):
            raise wrong
        return numbers if self.default is None else numbers[0]


@dataclass(frozen=True)
class Method:
    """Method of merging; its function is pure."""

    name: str
    label: str
    formula: str
    reference: str
    function: Callable[..., np.ndarray]
    """Function from changes, float64 [tasks, elements], and the parameters to the merged change, [elements]."""
    parameters: tuple[Parameter, ...] = ()
    needs_fisher: bool = False
    remark: str = ""
    """Remark that a reader must know besides the formula."""
    max_tasks: float = math.inf

    def settings(self, given: dict[str, Any], tasks: int) -> dict[str, Any]:
        """Complete the parameters of the method: what was given, checked, and the defaults.

        Raises:
            UserError: an unknown parameter or a value out of range.
        """
        names = [parameter.name for parameter in self.parameters]
        unknown = [name for name in given if name not in names]
        if unknown:
            raise UserError(f"{self.name} has no parameter {unknown[0]}", ", ".join(names) or "none")
        return {p.name: p.parse(given.get(p.name, p.default), tasks) for p in self.parameters}


_SCALE = Parameter("scale", 1.0, "λ", high=4.0, brief="factor")
_SCOPE = Parameter("scope", "layer", "what is looked at as one vector", choices=("layer", "global"), brief="one vector")
_SMALLEST = 1e-6  # a density of zero would keep nothing
_DENSITY = Parameter("density", 0.5, "probability that an element survives", _SMALLEST, 1.0, brief="share that is kept")

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method("mean", "Average", "Σ δₜ / T", "https://arxiv.org/abs/2509.15974", mean),
        Method(
            "weighted",
            "Weighted average",
            "Σ wₜ δₜ / Σ wₜ",
            "https://arxiv.org/abs/2203.05482",
            weighted,
            (Parameter("weights", None, "how much each snapshot counts", brief="one per snapshot", each="Weight"),),
        ),
        Method(
            "task_arithmetic",
            "Task arithmetic",
            "λ Σ δₜ",
            "https://arxiv.org/abs/2212.04089",
            task_arithmetic,
            (replace(_SCALE, default=0.4, help="λ; 1 / T is the average"),),
        ),
        Method(
            "ties",
            "TIES",
            "λ · mean of the largest elements that agree with the elected sign",
            "https://arxiv.org/abs/2306.01708",
            ties,
            (
                replace(_DENSITY, default=0.2, help="share of each task's elements that is kept"),
                _SCALE,
                replace(_SCOPE, default="global", help="trim each layer, or all layers and terms together"),
            ),
        ),
        Method(
            "dare",
            "DARE",
            "Σ mₜ δₜ / (density · T), mₜ random in {0, 1}",
            "https://arxiv.org/abs/2311.03099",
            dare,
            (
                _DENSITY,
                Parameter("seed", 0, "of the random choice", high=2**53),
            ),
        ),
        Method(
            "slerp",
            "Spherical interpolation",
            "sin((1−t)Ω)/sin Ω · δ₁ + sin(tΩ)/sin Ω · δ₂",
            "https://doi.org/10.1145/325165.325242",
            slerp,
            (
                Parameter(
                    "t", 0.5, "0 is the first snapshot, 1 the second", high=1.0, brief="0 is the first, 1 the second"
                ),
                replace(_SCOPE, help="an arc for each layer, or one for all layers and terms together"),
            ),
            max_tasks=2,
        ),
        Method(
            "fisher",
            "Fisher average",
            "Σ F̂ₜ δₜ / Σ F̂ₜ, element by element; F̂ₜ = Fₜ / ‖Fₜ‖ at the fine-tuned model",
            "https://arxiv.org/abs/2111.09832",
            fisher,
            needs_fisher=True,
            remark="Fisher information at each fine-tuned model under its trained head, with labels as that model "
            "expects them, divided by its L2 norm over all that is merged: the scale of a loss (squared error, "
            "cross-entropy) says nothing about a task, so only where its information lies decides.",
        ),
    )
}


def flags() -> dict[str, tuple[Parameter, tuple[str, ...]]]:
    """Parameters of all methods by name, each with the methods that take it: what a command line has flags for.

    In the order of the registry, choices last. A name means the same kind of value in every method.
    """
    found: dict[str, tuple[Parameter, tuple[str, ...]]] = {}
    for method in METHODS.values():
        for parameter in method.parameters:
            first, methods = found.get(parameter.name, (parameter, ()))
            found[parameter.name] = first, (*methods, method.name)
    return dict(sorted(found.items(), key=lambda item: bool(item[1][0].choices)))
