"""Contents of a report, before it is a page."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from beft_core.reports.cells import Table
from beft_core.reports.claims.table import Judged, frame


@dataclass(frozen=True)
class Contents:
    """Facts, tables and series of a report, and its verdict."""

    facts: dict[str, str]
    """Facts about the sweep in words, by name."""
    tables: dict[str, list[Table]]
    """Tables by name: table1 (one for each model), table2 (task and regime), table3 (pair of tasks), table4, table5,
    reference; of comparisons of methods table5-same and table5-best too.
    """
    series: dict[str, pd.DataFrame]
    """Series by name: figure4, score_vs_lr, metric_vs_epoch, prediction and settling; of comparisons of methods, their
    tables: methods and methods-pairs.
    """
    verdict: str
    """Answer, in two or three sentences, to whether the score predicts performance."""
    claims: tuple[Judged, ...] = ()
    """Verdict on each claim of the paper."""
    collapse: tuple[str, ...] = ()
    """Sentences on whether LoRA is at chance, one for each setting, model and task that was compared."""

    def frames(self) -> dict[str, pd.DataFrame]:
        """Give every table as data by name: one row per cell, or the series as it is."""
        found = {
            name: pd.concat([table.frame().assign(title=table.title) for table in group], ignore_index=True)
            for name, group in self.tables.items()
        }
        judged = {"claims": frame(self.claims)} if self.claims else {}
        return judged | found | self.series
