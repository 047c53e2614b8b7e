"""The table of claims."""

from __future__ import annotations

import pandas as pd
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


def test_fine_tunes_by_two_optimizers_are_judged_as_cells_of_their_own() -> None:
    one = make_results(["sst2"], ["low"], [1e-2], [0, 1, 2])
    lead = one["trains"] == "v"  # b_v is 10 points ahead of b_q by the first, and as far behind by the second
    other = one.assign(value=one["value"] - 0.2 * lead, adam_epsilon=1e-6, adam_epsilon_at="before")
    both = pd.concat([one.assign(adam_epsilon=1e-8, adam_epsilon_at="after"), other], ignore_index=True)
    found = {row.claim.key: row.finding for row in judge(both)}["v_q_low"]
    assert found.numbers.startswith("+0.0 points")
    assert found.numbers.endswith("clearly better in 1 of 2 cells, clearly worse in 1")


def test_the_table_holds_a_row_per_claim() -> None:
    table = frame(judge(make_results(["sst2"], ["low"])))
    assert list(table.columns) == list(COLUMNS) and table["claim"].is_unique
    assert set(table["verdict"]) <= {str(verdict) for verdict in Verdict}
    assert len(frame([])) == 0


def test_claims_are_written_plainly() -> None:
    for claim in CLAIMS.values():
        assert not claim.says.endswith(".") and claim.paper and claim.place
