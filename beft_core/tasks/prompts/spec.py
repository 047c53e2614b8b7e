"""Prompt of a task for language models: the text before an answer, and the answers that there may be.

The format is that of PromptSource (https://github.com/bigscience-workshop/promptsource) as MeZO
(https://github.com/princeton-nlp/MeZO) and the authors use it. A prompt has no space at its end: the space belongs to
the answer, because tokenizers put it there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from beft_core.errors import UserError
from beft_core.tasks.prompts.template import Template

TRAINED_BY: dict[str, str] = {
    "candidates": "cross-entropy over all candidates, whose logits are their mean log-probabilities per token",
    "language_model": "cross-entropy of the right answer's tokens",
}
"""Ways to train on prompts, each with its description."""
CANDIDATE = "candidate"
"""Name, in a continuation, of the place where a candidate stands."""
MAX_CANDIDATES = 1000
"""Most candidates of one example."""
MAX_TEXT = 2**20
"""Most characters of a prompt."""


@dataclass(frozen=True)
class PromptSpec:
    """Prompt of a task and its answers. Raises UserError for what contradicts itself."""

    template: str
    """Template of the prompt; see :mod:`beft_core.tasks.prompts.template`."""
    candidates: tuple[str, ...] = ()
    """Answers that every example may have, in the order of the task's classes; empty: each example has its own, or
    the answer is free text.
    """
    candidate_columns: tuple[str, ...] = ()
    """Columns that hold an example's own candidates, one each, or a list in one."""
    continuation: str = "{candidate}"
    """Template of what follows the prompt for a candidate."""
    placeholder: str = ""
    """Text in a continuation that the candidate replaces, where it is no field there (ReCoRD's ``@placeholder``)."""
    about: str = ""
    """Column of a text that several rows are about, a passage with its questions or a sentence with its names: rows of
    one text stay on one side where training examples are set aside. Empty: every row has its own.
    """
    trained_by: str = "candidates"
    """Way to train, a key of :data:`TRAINED_BY`."""
    max_new_tokens: int = 50
    """Most tokens of an answer in free text."""
    ending: str = "\n"
    """Text that ends an answer in free text."""
    max_length: int = 2048
    """Most tokens of prompt and answer; longer prompts are cut on their left."""
    batch_size: int = 8
    """Number of examples per optimizer step of the authors."""

    def __post_init__(self) -> None:
        if self.trained_by not in TRAINED_BY:
            raise UserError(f"got trained_by = {self.trained_by[:40]!r}", f"one of {', '.join(TRAINED_BY)}")
        if self.candidates and self.candidate_columns:
            raise UserError("got candidates and columns of candidates", "one of them")
        if self.answered_by == "generation" and self.trained_by == "candidates":
            raise UserError("got a prompt without candidates that is trained by candidates", "some, or language_model")
        self.columns  # noqa: B018 - what is no template is told at once
        if self.candidates:
            if len(self.candidates) < 2:
                raise UserError("got one candidate", "two or more")
            _require_different([text.strip() for text in self.candidates])

    @cached_property
    def prompt(self) -> Template:
        """Template of the prompt."""
        return Template(self.template)

    @property
    def answered_by(self) -> str:
        """Way to predict: ``candidates``, the likeliest of them, or ``generation``, the text that the model writes."""
        return "candidates" if self.candidates or self.candidate_columns else "generation"

    @property
    def kind(self) -> str:
        """Kind of the task's labels, the ``kind`` of a :class:`beft_core.tasks.targets.Target`."""
        return "classification" if self.candidates else "choice" if self.candidate_columns else "text"

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns that prompt and continuations need, without those of candidates."""
        inside = (*self.prompt.columns, *Template(self.continuation).columns)
        return tuple(dict.fromkeys(name for name in inside if name != CANDIDATE))

    def prompt_of(self, row: Mapping[str, str]) -> str:
        """Write the prompt of a row's texts. Raises UserError for an empty one, and one of over 2**20 characters."""
        text = self.prompt.render(row).lstrip().rstrip(" ")
        if not text:
            raise UserError("got an empty prompt", f"text for {self.template[:60]!r}")
        if len(text) > MAX_TEXT:
            raise UserError(f"got a prompt of {len(text):,} characters", f"at most {MAX_TEXT:,}")
        return text

    def continuations(self, prompt: str, row: Mapping[str, str], candidates: Sequence[str]) -> tuple[str, ...]:
        """Write what follows a prompt for each candidate, with the space that belongs there.

        Raises UserError for empty candidates, equal ones, and more than 1,000.
        """
        if len(candidates) > MAX_CANDIDATES:
            raise UserError(f"got {len(candidates):,} candidates", f"at most {MAX_CANDIDATES:,}")
        template = Template(self.continuation)
        written = []
        for candidate in candidates:
            text = template.render({**row, CANDIDATE: candidate})
            if self.placeholder:
                text = text.replace(self.placeholder, candidate)
            written.append(continued(prompt, text))
        _require_different(written)
        return tuple(written)

    def answer(self, prompt: str, gold: str) -> str:
        """Write the free text that a model is trained to answer, with its ending."""
        return continued(prompt, gold) + self.ending


def continued(prompt: str, text: str) -> str:
    """Put the space that belongs to an answer before it: none after a newline.

    Raises UserError for an empty answer.
    """
    if not text.strip():
        raise UserError("got an empty candidate", "text")
    return text.rstrip(" ") if prompt.endswith("\n") else f" {text.strip(' ')}"


def _require_different(texts: Sequence[str]) -> None:
    seen: set[str] = set()
    for text in texts:
        if not text.strip():
            raise UserError("got an empty candidate", "text")
        if text in seen:
            raise UserError(f"got the candidate {text[:60]!r} twice", "candidates that differ")
        seen.add(text)
