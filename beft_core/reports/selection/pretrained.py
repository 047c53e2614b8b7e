"""Norms of the pre-trained biases, for the rule that needs no probe, and where they come from.

Tables hold them since the column ``pre_norm`` exists. Of older tables only those of the bundled model can be completed:
its weights are verified by their SHA-256, while a folder or a Hub id may hold something else by now.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from beft_core.errors import UserError
from beft_core.models.bias_reader import ModelWeights
from beft_core.models.source import BUNDLED
from beft_core.sweeps.norms import pre_norms
from beft_core.sweeps.table import NORM_COLUMNS
from beft_core.terms import CANDIDATES


def with_norms(results: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Copy a table with the norms of probes of the bundled model filled in where it lacks them, and the source in
    words.

    ``results``: see ``sweeps.table``.
    """
    needed = [f"pre_norm.{term}" for term in CANDIDATES]
    lacking = (results["trains"] == "all") & results[needed].isna().any(axis=1)
    if not lacking.any():
        return results, "recorded in the table"
    said = [] if lacking.sum() == (results["trains"] == "all").sum() else ["recorded in the table"]
    bundled = lacking & (results["model"] == BUNDLED)
    filled = results
    if bundled.any():
        try:
            weights = ModelWeights(BUNDLED)
            norms = pre_norms(weights.biases(weights.layout()))  # type: ignore[arg-type]
        except UserError as error:
            said.append(f"of {BUNDLED} not known ({error})")
        else:
            filled = results.astype(dict.fromkeys(NORM_COLUMNS, float))
            filled.loc[bundled, list(norms)] = np.fromiter(norms.values(), float)
            said.append(f"of {BUNDLED} read from the model's own files, because this table does not hold them")
    others = list(results.loc[lacking & (results["model"] != BUNDLED), "model"].unique())
    if others:
        said.append(f"of {', '.join(map(str, others[:3]))} not known: the table does not hold them")
    return filled, "; ".join(said)
