"""Methods of a comparison: what a name stands for, how it is called, and at which learning rates it is tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.methods import METHODS
from beft_core.sweeps.spec import GRID_OF_METHODS, SweepSpec, mode_and_terms, trains
from beft_core.terms import TERMS

DEMONSTRATIONS = 32
"""Number of demonstrations in in-context learning, as MeZO's scripts and so the authors have it."""
ICL, ZERO_SHOT = "icl", "zero-shot"
UNTRAINED = next(name for name, row in METHODS.items() if not row.trains)


@dataclass(frozen=True)
class Entry:
    """Method of a comparison."""

    name: str
    """Name as it was asked for."""
    label: str
    """Name to be read, such as ``b_v``, ``LoRA`` or ``in-context learning``."""
    trains: str
    """Name in a sweep's result table, with the settings that are not usual."""
    fields: dict[str, Any] = field(default_factory=dict)
    """Entry of ``methods`` of a sweep, without rates."""
    lrs: tuple[float, ...] = ()
    """Learning rates of its trials, ascending; empty where nothing is trained."""
    source: str = ""
    """Source of its range of learning rates, in words."""

    def in_sweep(self, lrs: Sequence[float]) -> dict[str, Any]:
        """Write the method as a sweep takes it, at these rates."""
        return {**self.fields, "lrs": list(lrs)} if lrs else dict(self.fields)


def entry_of(asked: Any, demonstrations: int, budget: int, lrs: Sequence[float]) -> Entry:
    """Read one of the methods of a comparison: a name, with settings behind it (``lora rank=4``), or a table of both.
    ``lrs``: the rates of all, instead of ``budget`` of its own range.

    Raises:
        UserError: a method or a setting that there is not.
    """
    name = asked.get("method") if isinstance(asked, Mapping) else asked
    if name in (ICL, ZERO_SHOT, UNTRAINED):
        table = dict(asked) if isinstance(asked, Mapping) else {}
        asked = ({"demonstrations": demonstrations} if name == ICL else {}) | table | {"method": UNTRAINED}
    # What a sweep refuses is refused here, in its words.
    config = SweepSpec(terms=(), methods=(asked,)).methods[0]
    if own := [key for key in GRID_OF_METHODS if key in config]:
        raise UserError(f"got {own[0]} of the method {config['method']}", "those of all methods", "--lrs, --seeds")
    mode, terms = mode_and_terms(config["method"])
    row = METHODS[mode]
    settings = {key: value for key, value in config.items() if key != "method"}
    run = RunConfig.from_dict({"mode": mode, "terms": terms, **settings}).resolved()
    if not row.trains:
        label = "in-context learning" if run.demonstrations else "zero-shot"
        return Entry(ICL if run.demonstrations else ZERO_SHOT, label, trains(run), config)
    assert row.rates is not None, "what is trained has a range of rates"
    rates, source = row.rates.grid(budget), row.rates.source
    if lrs:
        rates, source = tuple(sorted(dict.fromkeys(lrs))), "given"
    short = "+".join(TERMS[term].symbol for term in terms) if row.names_terms else row.short
    unusual = trains(run).removeprefix("+".join(terms) if row.names_terms else mode).strip()
    return Entry(trains(run), f"{short} {unusual}".strip(), trains(run), config, rates, source)
