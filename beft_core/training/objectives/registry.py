"""Registry of every objective by name."""

from __future__ import annotations

from beft_core.errors import UserError
from beft_core.tasks.spec import TaskSpec
from beft_core.training.objectives.base import Objective
from beft_core.training.objectives.candidates import Candidates
from beft_core.training.objectives.classification import Classification
from beft_core.training.objectives.generation import Generation
from beft_core.training.objectives.regression import Regression

OBJECTIVES: dict[str, type[Objective]] = {
    objective.key: objective for objective in (Classification, Regression, Candidates, Generation)
}
"""Objectives by key; a row is all that a new one needs beside its own file."""


def objective_of(spec: TaskSpec) -> Objective:
    """Make the objective of a task: the one that it names, else the one that its labels suggest.

    Raises UserError for one that is not registered.
    """
    target = spec.target
    key = spec.objective or target.kind
    if key not in OBJECTIVES:
        raise UserError(f"got the task {spec.name} with the objective {key}", f"one of {', '.join(OBJECTIVES)}")
    return OBJECTIVES[key](target, spec.prompt)
