"""The table of the documentation has a row for each prompted task, as the registry has it."""

from __future__ import annotations

from beft_core.tasks.prompts.listing import HEADINGS, markdown_table
from beft_core.tasks.prompts.tasks import PROMPTED


def test_every_task_is_a_row() -> None:
    lines = markdown_table().splitlines()
    assert len(lines) == 2 + len(PROMPTED) and lines[0] == f"| {' | '.join(HEADINGS)} |"
    named = dict(zip((spec.name for spec in PROMPTED), lines[2:], strict=True))
    assert named["prompt-sst2"] == (
        "| `prompt-sst2` | `{sentence\\|strip} It was` | terrible, great | candidates | accuracy | 0.001 |"
    )
    assert "`{premise\\|no_full_stop} {question\\|conjunction}` | those in choice1 and choice2" in named["prompt-copa"]
    assert "\\nAnswer:` | free text | language model | answer_f1 |" in named["prompt-drop"]
