"""The result of a sweep is plain numbers, which a run's folder keeps as JSON."""

from __future__ import annotations

import dataclasses
import json

from beft_core.runs.kinds import KINDS
from beft_core.sweeps.sharing.result import SweepResult


def test_it_is_what_the_list_of_runs_sums_up() -> None:
    result = SweepResult(runs=240, trained=200, failed=1, banks=8, seconds=12.5, stopped=False)
    kept = json.loads(json.dumps(dataclasses.asdict(result)))
    assert SweepResult(**kept) == result
    assert KINDS["sweep"].summary(kept) == "240 fine-tunes, 1 failed"
