"""Text by fine-tunes and their base model side by side, token by token; how far each bias is turned may change between
any two tokens.

A fine-tune's biases are ``b + factor * (b' - b)``. At every token the whole text so far is what the model with the
biases of that moment reads: keys and values that were computed with others are not kept. All rows begin with the same
prompt and are as long at any time, so that no row is padded.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from beft_core.errors import UserError
from beft_core.inference.heads import prompt_of
from beft_core.inference.logits import changed_slots
from beft_core.inference.variants import Variant
from beft_core.models.biases import LoadedModel, add_zero_bias
from beft_core.models.key_value_cache import with_cache
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import Examples
from beft_core.training.batches.encoded import Writing
from beft_core.training.batches.prompted import encode_questions
from beft_core.training.batches.run_index import RunIndex
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.precision import Precision
from beft_core.training.preconditions import require_language_model

MAX_NEW_TOKENS = 200
"""Most tokens of a text."""


@dataclass
class Draft:
    """Text so far, of every row; the first row is the base model's."""

    tokens: list[list[int]]
    """Tokens of each row after the prompt, as many in each; those after the end of a row's text do not count."""
    ended: list[int | None] = field(default_factory=list)
    """Number of tokens of each row's text, once that has ended."""

    @classmethod
    def empty(cls, rows: int) -> Draft:
        """Begin the texts of so many rows."""
        return cls([[] for _ in range(rows)], [None] * rows)

    @property
    def length(self) -> int:
        """Number of tokens of each row."""
        return len(self.tokens[0])

    @property
    def done(self) -> bool:
        """Whether every row's text has ended."""
        return all(end is not None for end in self.ended)


class SideBySide:
    """Writer of the base model's text and those of fine-tunes after one prompt."""

    def __init__(
        self, model: LoadedModel, snapshots: Sequence[Snapshot], task: str, prompt: str, max_length: int
    ) -> None:
        """Tokenise a prompt and prepare a row for the base model and one for each fine-tune.

        ``max_length``: most tokens of the prompt and :data:`MAX_NEW_TOKENS` more; what is too long loses tokens on the
        left.

        Raises:
            UserError: no language model, an empty prompt, a task with a head, or fine-tunes of another base model.
        """
        require_language_model(model.layout)
        if not prompt.strip():
            raise UserError("got an empty prompt", "a text to go on with", "one with a word in it")
        for snapshot in snapshots:
            refuse_changed_weights(snapshot)
            if not model.info.shares_base(snapshot.meta.model):
                told_by = model.info.told_by
                raise UserError(
                    f"got a fine-tune of {snapshot.meta.model.id}, whose {told_by} are not those of {model.id}",
                    "fine-tunes of one base model",
                )
        rule = prompt_of(snapshots[0].meta, task)
        if rule is None:
            raise UserError(f"got {task}, which a head answers", "a prompted task")
        self.model, self.snapshots, self.task = model, list(snapshots), task
        positions = getattr(model.config, "max_position_embeddings", None)
        most = min(max_length + MAX_NEW_TOKENS, positions) if type(positions) is int else max_length + MAX_NEW_TOKENS
        self.writing = Writing(min(MAX_NEW_TOKENS, max(1, most // 2)), rule.ending)
        asked = Examples([prompt.rstrip(" ")], None, torch.zeros(1, dtype=torch.int64).numpy())
        encoded = encode_questions(model.tokenizer, asked, most, self.writing, model_type=model.layout.model_type)
        self.ids: list[int] = encoded.ids[0].tolist()
        for snapshot in snapshots:
            for _, term in snapshot.keys():  # noqa: SIM118
                add_zero_bias(model, term)
        self._slots, _ = changed_slots(model, [Variant(one, task) for one in snapshots])
        self._bank = Bank(
            model,
            self._slots,
            runs=1 + len(self.snapshots),
            classes=None,
            precision=Precision("float32", torch.device("cpu")),
        )
        self._factors: tuple[float, ...] | None = None
        self._cache: DynamicCache | None = None
        self._cached: list[list[int]] = []
        """Tokens after the prompt whose keys and values are kept, of each row."""

    @property
    def most(self) -> int:
        """Most tokens of a text."""
        return self.writing.max_new_tokens

    def start(self) -> Draft:
        """Begin."""
        return Draft.empty(self._bank.runs)

    @torch.no_grad()
    def write(self, draft: Draft, factors: Sequence[float], seconds: float) -> None:
        """Go on with a draft, at least by one token, until so many seconds are over, all texts have ended or they are
        as long as they may be.

        ``factors``: how much of each fine-tune's change is there from now on.

        Raises:
            UserError: another number of rows or of factors, or factors that are not finite.
        """
        if len(draft.tokens) != self._bank.runs or len(factors) != len(self.snapshots):
            raise UserError(
                f"got {len(draft.tokens)} rows and {len(factors)} factors", f"those of {len(self.snapshots)} fine-tunes"
            )
        self._turn(factors)
        ends = time.perf_counter() + seconds
        with self._bank.installed():
            while not draft.done and draft.length < self.most:
                chosen = self._next(draft)
                for row, token in enumerate(chosen):
                    draft.tokens[row].append(token)
                    if draft.ended[row] is None and self.writing.is_last(token, self.model.tokenizer):
                        draft.ended[row] = draft.length
                if time.perf_counter() >= ends:
                    break

    def texts(self, draft: Draft) -> list[str]:
        """Write each row's text: without the ending, without white space around it."""
        ends = zip(draft.tokens, draft.ended, strict=True)
        return [self.writing.text_of(tokens[:end], self.model.tokenizer) for tokens, end in ends]

    def _turn(self, factors: Sequence[float]) -> None:
        """Set the biases of every fine-tune, and forget keys and values of others."""
        if self._factors == tuple(factors):
            return
        self._factors = self._cache = None  # until all are set: a factor may be refused
        for run, (snapshot, factor) in enumerate(zip(self.snapshots, factors, strict=True), start=1):
            variant = Variant(snapshot, self.task, {term: factor for _, term in snapshot.keys()})  # noqa: SIM118
            values = {key: variant.values(key) for key in snapshot.keys()}  # noqa: SIM118
            for slot in self._slots:
                if (slot.stack, slot.term) in values:
                    self._bank.set_value(slot_name(slot), values[slot.stack, slot.term][slot.layer], run)
        self._factors = tuple(factors)

    def _next(self, draft: Draft) -> list[int]:
        """Choose the likeliest next token of each row."""
        rows = self._bank.runs
        if self._cache is None or self._cached != [tokens[:-1] for tokens in draft.tokens]:
            self._cache = DynamicCache(config=self.model.config)
            ids = torch.tensor([[*self.ids, *tokens] for tokens in draft.tokens])
        else:
            ids = torch.tensor([tokens[-1:] for tokens in draft.tokens])
        index = RunIndex.to(self._bank.precision.device, list(range(rows)), rows)
        self._bank.route(index, index)
        hidden = self._states(ids, self._cache)
        self._cached = [list(tokens) for tokens in draft.tokens]
        assert self._bank.lm_head is not None
        chosen: list[int] = self._bank.lm_head.next(hidden).tolist()
        return chosen

    def _states(self, ids: Tensor, cache: DynamicCache) -> Tensor:
        """Compute the hidden state after the last token of each row [rows, hidden], and keep keys and values."""
        backbone: Any = self.model.backbone
        before = cache.get_seq_length()
        end = before + ids.shape[1]
        positions = torch.arange(before, end).expand(len(ids), -1)
        given = with_cache(self.model, positions, cache)
        mask = torch.ones(len(ids), end, dtype=torch.int64)
        hidden: Tensor = backbone(input_ids=ids, attention_mask=mask, use_cache=True, **given)[0]
        return hidden[:, -1]
