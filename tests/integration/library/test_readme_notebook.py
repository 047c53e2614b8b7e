"""The notebook of the README, and how its page of the documentation goes on, line for line, on fewer examples."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from beft_core.docs.topics import topic

README = Path(__file__).parents[3] / "README.md"


def notebook(text: str) -> str:
    """The only lines of Python in a text."""
    (found,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    return str(found)


def test_the_readme_has_ten_lines() -> None:
    lines = [line for line in notebook(README.read_text()).splitlines() if line]
    assert len(lines) == 10


def test_its_lines_do_what_they_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = notebook(README.read_text())
    assert lines.count("n_train=300") == 2
    last = lines.rstrip().splitlines()[-1]
    assert last.startswith("merge(") and last.count("evaluate=True") == 1
    lines = lines.replace(last, f"merged = {last}").replace("evaluate=True", "evaluate=True, n_eval=24")
    lines = lines.replace("n_train=300", "n_train=24, n_eval=24, epochs=2, fisher_examples=8")
    names: dict[str, Any] = {}
    exec(lines, names)
    found, tuned, mine, merged = (names[name] for name in ("found", "tuned", "mine", "merged"))
    assert found.term == "v" and tuned.meta.trained_terms == ("v",) and tuned.meta.seed == 1
    assert [path.name for path in tmp_path.iterdir()] == ["tuned.beft.safetensors"]
    assert mine.metrics["accuracy"] == 1.0
    scores = merged.scored.result.rows
    assert scores["films"]["films"]["accuracy"] == 1.0 and set(scores["merged"]) == {"demo-sentiment", "films"}

    exec(notebook(topic("notebook").text), names)
    again, model = names["again"], names["model"]
    bias = model.bert.encoder.layer[5].attention.self.value.bias.detach().numpy()
    assert np.array_equal(bias, again.post("encoder", "v")[5])
    assert np.array_equal(model.classifier.weight.detach().numpy(), again.extra["extra.films.head.weight"])
