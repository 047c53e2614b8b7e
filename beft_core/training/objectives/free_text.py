"""Free text by greedy generation: the text that a run's model writes after each prompt, with keys and values kept."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from transformers import Cache

from beft_core.models.key_value_cache import KeyValueCache, with_cache
from beft_core.models.lm_head import LmHead, Screen
from beft_core.training.batches.encoded import Encoded, Writing
from beft_core.training.batches.plan import by_length, cheapest_by_length
from beft_core.training.batches.run_index import RunIndex
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import cpu_has_bfloat16

TOKENS = {"cpu": 16384, "cuda": 131072, "mps": 16384}
"""Most tokens of prompts and of the room for their answers that are written at once, by device."""
ROOM = {"cpu": 2**31, "cuda": 2**33, "mps": 2**31}
"""Most bytes that the keys and values of those tokens may take in float32, by device: of large models, fewer tokens."""
READ_TOKENS = {"cpu": 2048, "cuda": 65536, "mps": 8192}
"""Most tokens of prompts that are read at once, by device; few are of more equal length than many."""


class Writer:
    """Writer of answers with a bank, which must be installed, and whose language-model head chooses the tokens."""

    def __init__(self, bank: Bank, writing: Writing, advance: Callable[[int], None] = lambda prompts: None) -> None:
        """``writing`` says when an answer ends; ``advance`` is called with the number of prompts answered since."""
        self.bank, self.writing, self.advance = bank, writing, advance
        self._last: dict[int, bool] = {}
        """Whether an answer ends with a token, by token: each is decoded once."""
        self._head: LmHead | Screen | None = None
        """What finds the next tokens, while :meth:`texts` writes."""

    @torch.no_grad()
    def texts(self, prompts: Encoded, run: int = 0) -> list[str]:
        """Write the answer to each prompt by the biases of a run: without the ending, without white space around it.

        An answer ends at the first token whose text holds the ending, at the tokenizer's end of a text, or after so
        many tokens as :class:`Writing` says.
        """
        out = [""] * len(prompts)
        head = self.bank.lm_head
        assert head is not None, "only a language-model head chooses tokens"
        screened = self.bank.precision.device.type == "cpu" and cpu_has_bfloat16() and Screen.serves(head)
        self._head = Screen(head) if screened and len(prompts) >= Screen.FEWEST else head
        backbone = self.bank.model.backbone
        was_training = backbone.training
        backbone.eval()
        tokenizer = self.bank.model.tokenizer
        ids = prompts.ids
        room = prompts.lengths + self.bank.model.embeddings_ahead + self.writing.max_new_tokens
        for group in by_length(room, self._at_once()):
            for i, tokens in zip(group, self._write([ids[i] for i in group], run), strict=True):
                out[i] = self.writing.text_of(tokens, tokenizer)
            self.advance(len(group))
        backbone.train(was_training)
        return out

    def _at_once(self) -> int:
        """Count the tokens whose keys and values there is room for."""
        device, layout = self.bank.precision.device.type, self.bank.model.layout
        of_token = 2 * 4 * layout.layers * layout.kv_heads * layout.head_dim
        return min(TOKENS[device], ROOM[device] // of_token)

    def _write(self, prompts: list[np.ndarray], run: int) -> list[list[int]]:
        """Write the tokens of answers to prompts, shortest first, in one batch that shrinks as they end."""
        lengths = np.array([len(prompt) for prompt in prompts])
        ahead = self.bank.model.embeddings_ahead
        width, most = ahead + int(lengths.max()), self.writing.max_new_tokens
        cache = KeyValueCache(self.bank.model.layout.layers, len(prompts), width + most, width)
        # On the left of a prompt, so that every one ends in the same column; the mask and the positions make up for it.
        device = self.bank.precision.device
        mask = (
            torch.arange(width + most, device=device) >= width - torch.from_numpy(lengths).to(device)[:, None]
        ).long()
        last = torch.from_numpy(lengths).to(device)[:, None] - 1  # position of the last token of each row
        state = self._read(prompts, lengths, mask, cache, run)
        written: list[list[int]] = [[] for _ in prompts]
        rows = list(range(len(prompts)))
        assert self._head is not None
        while True:
            chosen = self._head.next(state)
            for row, token in zip(rows, chosen.tolist(), strict=True):
                written[row].append(token)
            going = [at for at, row in enumerate(rows) if not self._ends(written[row])]
            if not going:
                return written
            if len(going) < len(rows):
                order = cache.keep(going)
                rows, keep = [rows[at] for at in order], torch.tensor(order, device=device)
                chosen, mask, last = chosen[keep], mask[keep], last[keep]
            cache.write()
            last = last + 1
            state = self._states(chosen[:, None], mask[:, : cache.end], last, cache, run)

    def _read(
        self, prompts: list[np.ndarray], lengths: np.ndarray, mask: Tensor, cache: KeyValueCache, run: int
    ) -> Tensor:
        """Read the prompts, a few of like length at a time: the hidden state after each, [rows, hidden]."""
        pad = getattr(self.bank.model.config, "pad_token_id", None) or 0
        end, states, first = cache.end, [], 0
        for part in cheapest_by_length(lengths, READ_TOKENS[mask.device.type]):
            after = first + len(part)  # prompts come by length, so that these are neighbours
            width = int(lengths[first:after].max())
            ids = torch.full((len(part), width), pad)
            for row, prompt in enumerate(prompts[first:after]):
                ids[row, width - len(prompt) :] = torch.from_numpy(prompt)
            own = mask[first:after, end - width : end]
            cache.read(first, after)
            positions = (own.cumsum(1) - 1).clamp(min=0)
            states.append(self._states(ids.to(mask.device), own, positions, cache, run))
            mask[first:after, end - width - self.bank.model.embeddings_ahead : end - width] = 1
            first = after
        return torch.cat(states)

    def _states(self, ids: Tensor, mask: Tensor, positions: Tensor, cache: Cache, run: int) -> Tensor:
        """Compute the hidden state after the last token of each row, [rows, hidden], and keep keys and values."""
        bank = self.bank
        index = RunIndex.to(bank.precision.device, [run] * len(ids), bank.runs)
        bank.route(index if bank.runs > 1 else None, index)
        given = with_cache(bank.model, positions, cache)
        with bank.precision.autocast():
            hidden: Tensor = bank.model.backbone(input_ids=ids, attention_mask=mask, use_cache=True, **given)[0]
        return hidden[:, -1]

    def _ends(self, written: list[int]) -> bool:
        """Say whether an answer ends with its last token."""
        token = written[-1]
        if token not in self._last:
            self._last[token] = self.writing.is_last(token, self.bank.model.tokenizer)
        return self._last[token] or len(written) == self.writing.max_new_tokens
