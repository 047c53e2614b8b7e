"""The documentation's list of prompted tasks has each of them, as the registry has it."""

from __future__ import annotations

from beft_core.tasks.prompts.listing import HEADINGS, markdown
from beft_core.tasks.prompts.tasks import PROMPTED


def test_every_task_is_a_row_and_a_prompt() -> None:
    table, prompts = (part.splitlines() for part in markdown().split("\n\n"))
    assert len(table) == 2 + len(PROMPTED) and table[0] == f"| {' | '.join(HEADINGS)} |"
    assert "| prompt-sst2 | terrible, great | candidates | accuracy | 0.001 |" in table
    assert "| prompt-copa | those in choice1 and choice2 | language model | accuracy | 0.0001 |" in table
    assert "| prompt-drop | free text | language model | answer_f1 | 0.001 |" in table
    assert len(prompts) == len(PROMPTED) and "- **prompt-sst2**: `{sentence|strip} It was`" in prompts
    assert "- **prompt-record**: `{passage|highlights}\\n-`, then `{query}`" in prompts
