"""Table of the paper's claims: what it says where, what judges it, and where our numbers on it stand."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial

import pandas as pd

from beft_core.reports.claims import checks
from beft_core.reports.claims.evidence import Evidence
from beft_core.reports.claims.verdicts import Finding, Verdict
from beft_core.reports.merges import Merge

COLUMNS: tuple[str, ...] = ("claim", "says", "paper", "verdict", "numbers", "trivial", "place")
"""Names of the columns of :func:`frame`."""


@dataclass(frozen=True)
class Claim:
    """Claim of the paper that a result table can test."""

    key: str
    says: str
    """Claim in a few words, in plain text."""
    paper: str
    """Section or table of the paper that makes it."""
    check: Callable[[Evidence], Finding]
    """Function that judges it."""
    place: str
    """Name of the part of the evaluation that shows our numbers, as the page calls it."""


PREDICTS, FIGURES, RATES = "Does the score predict?", "Figures 1 and 4", "Learning rate and epochs"

CLAIMS: dict[str, Claim] = {
    claim.key: claim
    for claim in (
        Claim(
            "selects", "The projection ratio selects the term that does best", "3.2", checks.selects_the_best, PREDICTS
        ),
        Claim(
            "magnitude",
            "It selects better than Magnitude",
            "3.2",
            partial(checks.selects_better_than, "magnitude"),
            PREDICTS,
        ),
        Claim(
            "fisher", "It selects better than Fisher", "3.2", partial(checks.selects_better_than, "fisher"), PREDICTS
        ),
        Claim("dynamic", "Over data sizes, its gaps follow those of results", "3.2", checks.follows_the_data, FIGURES),
        Claim(
            "score",
            "At other learning rates, a higher score comes with a better result",
            "3.4",
            checks.higher_score_better_result,
            RATES,
        ),
        Claim(
            "v_q_low", "b_v beats b_q with little data", "Table 1", partial(checks.beats, "v", "q", low=True), "Table 1"
        ),
        Claim(
            "v_k_low", "b_v beats b_k with little data", "Table 1", partial(checks.beats, "v", "k", low=True), "Table 1"
        ),
        Claim(
            "v_q_more", "b_v beats b_q with more data", "Table 1", partial(checks.beats, "v", "q", low=False), "Table 1"
        ),
        Claim("k_idle", "b_k does not matter", "Table 1", checks.key_bias_is_idle, "Table 1"),
        Claim(
            "all_biases",
            "b_v is comparable to all biases with little data",
            "Table 2",
            partial(checks.as_good_as, "all"),
            "Table 2",
        ),
        Claim(
            "everything",
            "b_v is comparable to every parameter with little data",
            "Table 2",
            partial(checks.as_good_as, "full"),
            "Table 2",
        ),
        Claim("random", "b_v beats as many random parameters", "Table 2", checks.beats_random, "Table 2"),
        Claim("seconds", "b_v trains faster than what trains more", "Table 2", checks.is_faster, "Table 2"),
        Claim("merge", "Averaging b_v of two tasks keeps both", "Table 3", checks.merging_keeps_both, "Table 3"),
        Claim("epochs", "Little data wants many epochs", "3.4", checks.keeps_improving, RATES),
        Claim("encoders", "It holds on other encoders", "Table 4", partial(checks.holds_on, False), "Table 4"),
        Claim("decoders", "It holds on decoders", "Table 5", partial(checks.holds_on, True), "Table 5"),
    )
}
"""Claims by key, in the order in which they are read."""


@dataclass(frozen=True)
class Judged:
    """Claim with what our numbers say on it."""

    claim: Claim
    finding: Finding


def judge(results: pd.DataFrame, merges: Sequence[Merge] | None = None) -> tuple[Judged, ...]:
    """Judge every claim by a result table (``sweeps.table``; with norms as ``with_norms`` fills them in)."""
    evidence = Evidence(results, merges)
    return tuple(Judged(claim, claim.check(evidence)) for claim in CLAIMS.values())


def headline(found: Iterable[Judged]) -> str:
    """Count the verdicts in a sentence."""
    verdicts = [one.finding.verdict for one in found]
    counts = {verdict: verdicts.count(verdict) for verdict in Verdict}
    return (
        f"These fine-tunes confirm {counts[Verdict.CONFIRMED]} of {len(verdicts)} claims of the paper, contradict "
        f"{counts[Verdict.CONTRADICTED]}, leave {counts[Verdict.UNDECIDED]} undecided and do not test "
        f"{counts[Verdict.UNTESTED]}."
    )


def frame(found: Iterable[Judged]) -> pd.DataFrame:
    """Make a tidy table of a row per claim: :data:`COLUMNS`."""
    rows = [
        (
            one.claim.key,
            one.claim.says,
            one.claim.paper,
            str(one.finding.verdict),
            one.finding.numbers,
            one.finding.trivial,
            one.claim.place,
        )
        for one in found
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
