"""The notebook of the README, line for line, on fewer examples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

README = Path(__file__).parents[3] / "README.md"


def notebook() -> str:
    """The lines of the section about notebooks."""
    section = README.read_text().partition("\n## In a notebook\n")[2].partition("\n## ")[0]
    found = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert found is not None
    return found[1]


def test_it_has_fifteen_lines() -> None:
    lines = [line for line in notebook().splitlines() if line]
    assert len(lines) == 15


def test_its_lines_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = notebook()
    assert lines.count("n_train=300") == 2
    names: dict[str, Any] = {}
    exec(lines.replace("n_train=300", "n_train=24, epochs=2, fisher_examples=8"), names)
    found, tuned, mine, model = (names[name] for name in ("found", "tuned", "mine", "model"))
    assert found.term == "v" and tuned.meta.trained_terms == ("v",) and tuned.meta.seed == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.beft.safetensors"]
    assert names["accuracy"] in (0.0, 0.5, 1.0) and mine.metrics["accuracy"] == 1.0
    last = model.bert.encoder.layer[5].attention.self.value.bias.detach().numpy()
    assert np.array_equal(last, mine.post("encoder", "v")[5])
    assert np.array_equal(model.classifier.weight.detach().numpy(), mine.extra["extra.table.head.weight"])
