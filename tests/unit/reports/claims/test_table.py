"""The table of claims."""

from __future__ import annotations

from sweep_tables import make_results

from beft_core.reports.claims.table import CLAIMS, COLUMNS, frame, headline, judge
from beft_core.reports.claims.verdicts import Verdict


def test_every_claim_is_judged_and_counted() -> None:
    found = judge(make_results(null="k"))
    assert [one.claim.key for one in found] == list(CLAIMS)
    counts = {verdict: sum(one.finding.verdict is verdict for one in found) for verdict in Verdict}
    said = headline(found)
    assert said.startswith(f"These fine-tunes confirm {counts[Verdict.CONFIRMED]} of {len(CLAIMS)} claims of the paper")
    assert said.endswith(f"leave {counts[Verdict.UNDECIDED]} undecided and do not test {counts[Verdict.UNTESTED]}.")
    assert sum(counts.values()) == len(CLAIMS)


def test_the_table_holds_a_row_per_claim() -> None:
    table = frame(judge(make_results(["sst2"], ["low"])))
    assert list(table.columns) == list(COLUMNS) and table["claim"].is_unique
    assert set(table["verdict"]) <= {str(verdict) for verdict in Verdict}
    assert len(frame([])) == 0


def test_claims_are_written_plainly() -> None:
    for claim in CLAIMS.values():
        assert not claim.says.endswith(".") and claim.paper and claim.place
