"""Language-model head of a base model: log-probabilities of given tokens after given hidden states.

A row of logits has as many numbers as the vocabulary: 262,144 in Gemma, 1 MB in float32. Only the rows that are asked
for are computed, a block of them at a time, and none is kept for the gradient: with ``z = W h``, the derivative of
``log p(t)`` to ``h`` is ``W_t - sum_j p_j W_j``, whose second part, the expected output embedding, has the width of a
hidden state and is computed while the block is there.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from beft_core.architectures.layout import LmSpec
from beft_core.errors import UserError
from beft_core.models.bias_reader import ModelWeights
from beft_core.models.biases import LoadedModel, OutputLayer

BLOCK = 2**24
"""Most logits that are in memory at once, where a row has fewer: 64 MB in float32, of which up to three are alive."""


class LmHead:
    """Language-model head: ``logits = cap(W h + b)``, its weights frozen or those of the embedding."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None, softcap: float | None = None) -> None:
        """Make a head of a weight [vocabulary, width], a bias [vocabulary] and the bound of its logits, if it has any.

        Raises:
            ValueError: a bound that is not positive.
        """
        if softcap is not None and not softcap > 0:
            raise ValueError(f"got a bound of {softcap} for logits; expected a positive number")
        self.weight, self.bias, self.softcap = weight, bias, softcap

    @classmethod
    def of(cls, model: LoadedModel) -> LmHead:
        """Find a model's head: its embedding where the two are tied, else read from its files, once.

        Call it when the backbone is on the device where it stays.

        Raises:
            UserError: an architecture without such a head, or weights that lack it.
        """
        spec = model.layout.lm
        if spec is None:
            raise UserError(
                f"got {model.id}, a {model.layout.model_type} model without a language-model head",
                "a decoder for a prompted task, such as OPT, GPT-2, Llama or Gemma",
                "--model gemma-3-270m, or a task with classes such as sst2 for this model",
            )
        backbone: Any = model.backbone
        embedding: Tensor = backbone.get_input_embeddings().weight
        if model.output is None:
            model.output = _separate(model, spec, embedding)
        if model.output is None:
            return cls(embedding, None, spec.softcap)
        model.output.to(embedding.device)
        return cls(model.output.weight, model.output.bias, spec.softcap)

    @property
    def rows(self) -> int:
        """Number of rows of logits in one block."""
        return max(1, BLOCK // len(self.weight))

    def log_probs(self, hidden: Tensor, tokens: Tensor, rows: Tensor | None = None) -> Tensor:
        """Compute log p(token | hidden state), the log-softmax over the whole vocabulary at the given tokens.

        Args:
            hidden: [n, width]: final hidden states, as the backbone gives them.
            tokens: int64 [m].
            rows: int64 [m]: which hidden state each token follows; one state may have several. None: one each, m = n.

        Returns:
            float32 [m], or float64 of a float64 head. Its gradient to ``hidden`` is exact and can be taken once; to
            the weight of the head, where that is trained, at the price of computing logits twice.
        """
        if rows is None:
            rows = torch.arange(len(hidden), device=hidden.device)
        with torch.autocast(hidden.device.type, enabled=False):
            if self.weight.requires_grad and torch.is_grad_enabled():
                return self._with_trained_weight(hidden, tokens, rows)
            found: Tensor = _LogProbs.apply(hidden, self, tokens, rows)
            return found

    def chosen_logits(self, hidden: Tensor, tokens: Tensor, rows: Tensor) -> Tensor:
        """Compute the logits of the given tokens alone, at the price of as many dot products.

        Of tokens after one state they differ as log-probabilities do: the log-sum over the vocabulary is the same for
        all. A softmax over such tokens, and its gradient to hidden states and weights, needs no more.

        Args:
            hidden: [n, width]: final hidden states.
            tokens: int64 [m].
            rows: int64 [m]: which hidden state each token follows.

        Returns:
            float32 [m], or float64 of a float64 head.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            wide = torch.promote_types(self.weight.dtype, torch.float32)
            chosen = self.weight.index_select(0, tokens).to(wide)
            raw = (hidden.to(wide).index_select(0, rows) * chosen).sum(-1)
            raw = raw if self.bias is None else raw + self.bias[tokens]
            return raw if self.softcap is None else self.softcap * torch.tanh(raw / self.softcap)

    @torch.no_grad()
    def next(self, hidden: Tensor) -> Tensor:
        """Find the likeliest token after each hidden state [n, width]: int64 [n]."""
        with torch.autocast(hidden.device.type, enabled=False):
            best = [self._raw(part).argmax(-1) for part in hidden.split(self.rows)]  # a bound keeps the order
        return torch.cat(best) if best else hidden.new_empty(0, dtype=torch.int64)

    def logits(self, hidden: Tensor) -> Tensor:
        """Compute logits [n, vocabulary] of hidden states [n, width], in float32, or float64 of a float64 head."""
        raw = self._raw(hidden)
        return raw if self.softcap is None else self.softcap * torch.tanh(raw / self.softcap)

    def _raw(self, hidden: Tensor) -> Tensor:
        product = _product(hidden, self.weight)
        return product if self.bias is None else product + self.bias

    def _with_trained_weight(self, hidden: Tensor, tokens: Tensor, rows: Tensor) -> Tensor:
        """Compute the same by PyTorch's own gradients, a block at a time, each computed again in the backward pass."""

        def block(part: Tensor, start: int) -> Tensor:
            return _chosen(self.logits(part).log_softmax(-1), tokens, rows, start)

        found: list[Tensor] = [
            checkpoint(block, hidden[start : start + self.rows], start, use_reentrant=False)
            for start in range(0, len(hidden), self.rows)
        ]
        return torch.stack(found).sum(0) if found else hidden.new_zeros(0)


class Screen:
    """Search for the likeliest token after many hidden states, which multiplies in bfloat16 first.

    A CPU with instructions for it takes a third of the time for that product of a quarter of a million tokens. How far
    a rounded score may be from the right one is bounded, so only the parts of the vocabulary where the largest logit
    can be are computed in float32: the token found is that of :meth:`LmHead.next`.
    """

    PART = 1024
    """Number of tokens of which the largest score is compared."""
    FEWEST = 4
    """Fewest hidden states for which it pays: of fewer, reading the weight takes most of the time."""
    ERROR = 3.1 * 2**-8
    """Bound of the error of a score, over the norms of state and weight: both are rounded to 8 bits, and so is the
    score; what is added up in float32 hardly counts.
    """

    def __init__(self, head: LmHead) -> None:
        """Round the weight of a head, which must stay as it is while the screen is used."""
        self.head = head
        self.weight = head.weight.detach().to(torch.bfloat16)
        norms = torch.cat([part.norm(dim=1) for part in head.weight.detach().split(self.PART)])
        self.reach = self.ERROR * torch.stack([part.max() for part in norms.split(self.PART)])
        """Largest error of a score in each part, over the norm of the state, float32 [parts]."""

    @classmethod
    def serves(cls, head: LmHead) -> bool:
        """Say whether a head is one that can be screened: in float32, and without a bias."""
        return head.weight.dtype == torch.float32 and head.bias is None and len(head.weight) > cls.PART

    @torch.no_grad()
    def next(self, hidden: Tensor) -> Tensor:
        """Find the likeliest token after each hidden state [n, width]: int64 [n]."""
        if len(hidden) < self.FEWEST:
            return self.head.next(hidden)
        with torch.autocast(hidden.device.type, enabled=False):
            hidden = hidden.float()
            scores = hidden.to(torch.bfloat16) @ self.weight.T
            whole = scores.shape[1] // self.PART * self.PART
            parts = [scores[:, :whole].unflatten(1, (-1, self.PART)).amax(2), scores[:, whole:]]
            best = torch.cat([parts[0], parts[1].amax(1, keepdim=True)] if parts[1].shape[1] else parts[:1], 1).float()
            reach = hidden.norm(dim=1, keepdim=True) * self.reach  # (n, parts)
            possible = best + reach >= (best - reach).amax(1, keepdim=True)
            if not possible.any(1).all() or 4 * int(possible.sum()) > possible.numel():
                return self.head.next(hidden)  # states that are not finite, or nothing is ruled out
            most = hidden.new_full((len(hidden),), float("-inf"))
            found = torch.zeros(len(hidden), dtype=torch.int64, device=hidden.device)
            for part in possible.any(0).nonzero()[:, 0].tolist():
                rows = possible[:, part].nonzero()[:, 0]
                first = part * self.PART
                logits, at = (hidden[rows] @ self.head.weight[first : first + self.PART].T).max(1)
                better = logits > most[rows]  # of equal ones the first stays
                most[rows[better]], found[rows[better]] = logits[better], first + at[better]
            return found


class _LogProbs(torch.autograd.Function):
    """Log-probabilities whose gradient to the hidden states needs no logits in the backward pass."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: LmHead, tokens: Tensor, rows: Tensor) -> Tensor:
        wide = torch.promote_types(head.weight.dtype, torch.float32)
        found = torch.zeros(len(tokens), dtype=wide, device=hidden.device)
        totals = torch.zeros(len(hidden), dtype=wide, device=hidden.device)
        slope = torch.zeros_like(found)  # of each token's logit under the bound
        wanted = ctx.needs_input_grad[0]
        expected = torch.zeros(hidden.shape if wanted else (0,), dtype=wide, device=hidden.device)
        for start in range(0, len(hidden), head.rows):
            here = slice(start, start + head.rows)
            logits = head.logits(hidden[here])
            totals[here] = logits.logsumexp(-1)
            found += _chosen(logits, tokens, rows, start)
            if wanted:
                slopes = None if head.softcap is None else 1 - (logits / head.softcap) ** 2
                probability = logits.sub_(totals[here, None]).exp_()
                if slopes is not None:
                    slope += _chosen(slopes, tokens, rows, start)
                    probability *= slopes
                expected[here] = _product(probability, head.weight.T)
        if wanted:
            ctx.head, ctx.dtype = head, hidden.dtype
            ctx.save_for_backward(tokens, rows, expected, slope if head.softcap is not None else None)
        return found - totals[rows]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tokens, rows, expected, slope = ctx.saved_tensors
        chosen = ctx.head.weight[tokens].to(expected.dtype) * (gradient if slope is None else gradient * slope)[:, None]
        back = torch.zeros_like(expected).index_add_(0, rows, chosen)
        summed = gradient.new_zeros(len(expected)).index_add_(0, rows, gradient)
        back -= summed[:, None] * expected
        return back.to(ctx.dtype), None, None, None


def _chosen(block: Tensor, tokens: Tensor, rows: Tensor, start: int) -> Tensor:
    """Read the entries of the tokens whose row is in the block [rows, vocabulary] that begins at ``start``; else 0.

    No row is counted, so that a GPU is not waited for.
    """
    row = rows - start
    inside = (row >= 0) & (row < len(block))
    return torch.where(inside, block[row.clamp(0, len(block) - 1), tokens], 0)


def _product(left: Tensor, weight: Tensor) -> Tensor:
    """Compute ``left @ weight.T`` with sums and result in float32 (float64 of a float64 weight).

    Half-precision logits would be wrong by 0.06 at a logit of 20, so a slice of such a weight at a time is widened.
    """
    if weight.dtype in (torch.float32, torch.float64):
        return left.to(weight.dtype) @ weight.T
    wide = left.float()
    step = max(1, BLOCK // weight.shape[1])
    return torch.cat([wide @ part.T.float() for part in weight.split(step)], dim=1)


def _separate(model: LoadedModel, spec: LmSpec, embedding: Tensor) -> OutputLayer | None:
    """Read a head of its own from a model's files; None where it is the embedding.

    As in transformers, a checkpoint that holds another head is believed, whatever its configuration says.
    """
    weights = None if model.files is None else ModelWeights(model.files)
    name = None if weights is None else weights.find(spec.weight)
    if weights is None or name is None:
        if spec.tied:
            return None
        where = "in memory" if model.files is None else f"in {model.files.name}"
        raise UserError(
            f"got a {model.layout.model_type} model {where} without {spec.weight[0]}",
            "weights with their language-model head",
            "saving it from AutoModelForCausalLM",
        )
    like: dict[str, Any] = {"dtype": embedding.dtype, "device": embedding.device}
    vocabulary, width = embedding.shape
    weight = torch.tensor(weights.matrix(name, (vocabulary, width)), **like)
    if spec.tied and torch.equal(weight, embedding):
        return None
    bias = None if spec.bias is None else torch.tensor(weights.vector(spec.bias, vocabulary), **like)
    return OutputLayer(weight, bias)
