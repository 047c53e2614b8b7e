"""Where the norms of pre-trained biases come from: the table, the bundled model's files, or nowhere, and it is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file
from sweep_tables import NORMS, make_results

from beft_core.errors import UserError
from beft_core.models.source import bundled_path
from beft_core.reports.selection import pretrained
from beft_core.reports.selection.pretrained import with_norms
from beft_core.reports.selection.rules import SMALLEST_NORM
from beft_core.sweeps.norms import pre_norms
from beft_core.sweeps.table import NORM_COLUMNS, read_table
from beft_core.terms import CANDIDATES


def test_norms_by_hand() -> None:
    biases = {
        ("encoder", "v"): np.array([[3.0, 4.0], [0.0, 1.0]], np.float32),
        ("encoder", "q"): np.array([[0.0, 2.0], [0.0, 6.0]], np.float32),
        ("decoder", "v"): np.full((2, 2), 9.0, np.float32),
    }
    assert pre_norms(biases) == {"pre_norm.v": 3.0, "pre_norm.q": 4.0} and pre_norms({}) == {}


def test_what_a_table_holds_is_taken() -> None:
    table = make_results(["sst2"], ["low"])
    filled, said = with_norms(table)
    assert filled is table and said == "recorded in the table"


def test_an_older_table_of_the_bundled_model_is_completed_from_its_files(tmp_path: Path) -> None:
    older = make_results(["sst2"], ["low"]).drop(columns=list(NORM_COLUMNS))
    older.to_csv(tmp_path / "results.csv", index=False)
    filled, said = with_norms(read_table(tmp_path / "results.csv"))
    assert "of bundled read from the model's own files" in said
    probe = filled[filled["trains"] == "all"].iloc[0]
    weights = load_file(bundled_path() / "model.safetensors")
    for term, name in (("q", "query"), ("k", "key"), ("v", "value")):
        layers = [weights[f"encoder.layer.{at}.attention.self.{name}.bias"] for at in range(6)]
        expected = np.mean([np.sqrt((layer.astype(float) ** 2).sum()) for layer in layers])
        assert probe[f"pre_norm.{term}"] == pytest.approx(expected, rel=1e-6), term
    assert probe["pre_norm.k"] < probe["pre_norm.v"] < probe["pre_norm.q"]
    assert filled.loc[filled["trains"] == "v", "pre_norm.v"].isna().all()  # rules read probes


def test_of_other_models_nothing_is_guessed(monkeypatch: pytest.MonkeyPatch) -> None:
    from beft_core.reports.selection.prediction import cases

    older = make_results(["sst2"], ["low"], model="ORG/other").drop(columns=list(NORM_COLUMNS))
    older = older.reindex(columns=[*older.columns, *NORM_COLUMNS])
    filled, said = with_norms(older)
    assert said == "of ORG/other not known: the table does not hold them"
    assert SMALLEST_NORM not in set(cases(filled)["rule"])
    both = pd.concat([make_results(["sst2"], ["low"]), older])
    assert with_norms(both)[1] == "recorded in the table; of ORG/other not known: the table does not hold them"

    def missing(name: str) -> None:
        raise UserError("no bundled model", "the package")

    monkeypatch.setattr(pretrained, "ModelWeights", missing)
    older = older.assign(model="bundled")
    filled, said = with_norms(older)
    assert "of bundled not known (no bundled model" in said
    assert filled[[f"pre_norm.{term}" for term in CANDIDATES]].isna().all(axis=None)
    assert set(NORMS) == set(CANDIDATES)
