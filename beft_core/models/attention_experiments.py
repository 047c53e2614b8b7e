"""Experiments on a loaded model: the same vector d added to b_k, to b_q and to b_v of one layer.

Attention of query i to key j is ``softmax_j(q_i . k_j / sqrt(w))``. Adding d to the key bias adds ``q_i . d``, the same
for every j, which the softmax ignores; adding it to the query bias adds ``d . k_j``, which differs; adding it to the
value bias adds the constant ``W_o d`` to the attention's output (see :mod:`beft_core.models.folding`). Each is run in
float64 and in float32, so that rounding noise can be told from an effect.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beft_core.architectures.layout import BiasSlot
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, add_zero_bias, get_bias, restored, set_bias
from beft_core.models.folding import folded_change
from beft_core.models.load import load_model
from beft_core.models.null_certificate import TOLERANCE, NullReport, few_threads, null_certificate
from beft_core.models.source import version_of
from beft_core.terms import CANDIDATES

MAX_CHARACTERS = 400
"""Most characters of a sentence."""
MAX_TOKENS = 40
"""Most tokens of an attention map: nobody can read a larger one. What is over is cut off, as the result says."""
MAX_NORM = 1e4
"""Largest norm of d: beyond it float32 has no digits left for what d is added to."""
CLASSES = 2
DIGITS = 6
"""Decimals of the attention maps that are handed out; every number beside them is computed before they are rounded."""
DTYPES: dict[str, torch.dtype] = {"float64": torch.float64, "float32": torch.float32}


@dataclass
class Bench:
    """Model in both precisions, with a place for every bias that takes part."""

    name: str
    models: dict[str, LoadedModel]
    """Models by precision, a key of :data:`DTYPES`."""
    absent: dict[str, str]
    """Reason why there is no place for a term, by term."""
    added: tuple[str, ...]
    """Terms that were given a bias of zeros, which leaves the model as it was."""

    @classmethod
    def of(cls, model: LoadedModel, name: str = "") -> Bench:
        """Make a bench of a model, which it takes over; the attention must be ``eager``, so that it can be seen."""
        absent = {}
        for term in (*CANDIDATES, "o"):
            try:
                add_zero_bias(model, term)
            except UserError as error:
                absent[term] = str(error.got)
        double = dataclasses.replace(model, backbone=copy.deepcopy(model.backbone).to(torch.float64))
        single = dataclasses.replace(model, backbone=model.backbone.to(torch.float32))
        return cls(name, {"float64": double, "float32": single}, absent, model.layout.added)

    @property
    def model(self) -> LoadedModel:
        return self.models["float64"]

    @cached_property
    def certificate(self) -> dict[str, NullReport]:
        """Certificate of each term, by the rule of the architecture and by numbers."""
        return null_certificate(self.model)

    def facts(self) -> dict[str, Any]:
        """Facts of the model as JSON values."""
        model, layout = self.model, self.model.layout
        return {
            "id": model.id,
            "revision": model.revision,
            "architecture": layout.model_type,
            "layers": layout.layers,
            "heads": layout.heads,
            "parameters": sum(p.numel() for p in model.backbone.parameters()),
            "fingerprint": model.info.fingerprint,
            "key_null": layout.key_rule.null if "k" in self.absent else self.certificate["k"].null,
            "key_why": layout.key_rule.why,
            "added": list(self.added),
            "versions": {name: version(name) for name in ("torch", "transformers")},
        }


@dataclass(frozen=True)
class Seen:
    """Attention, hidden states and logits of one sentence in one forward pass."""

    attention: list[Tensor]
    """Attention of each use of a layer, in order: [heads, tokens, tokens]."""
    hidden: Tensor
    """Final hidden states [tokens, hidden_size]."""
    logits: Tensor
    """Logits [CLASSES]."""


class HeldModel:
    """Model of the last question: answers questions about models by name, with one at a time in memory."""

    def __init__(self) -> None:
        self._bench: Bench | None = None
        self._version = ""
        """State of the model's files when it was loaded."""

    def describe(self, model: str) -> dict[str, Any]:
        """Load a model, or have it loaded, and tell what it is (:meth:`Bench.facts`).

        Raises:
            UserError: as :func:`beft_core.models.load.load_model`; or the model reads no text.
        """
        return self._loaded(model).facts()

    def prove(self, model: str, sentence: str, layer: int, size: float, seed: int, pair: str = "") -> dict[str, Any]:
        """Run all three experiments on one sentence (or two, as a pair), as JSON values. See :func:`prove`.

        Raises:
            UserError: as :meth:`describe` and :func:`prove`.
        """
        return prove(self._loaded(model), sentence, layer, size, seed, pair)

    def _loaded(self, name: str) -> Bench:
        state = version_of(name)
        if self._bench is None or (self._bench.name, self._version) != (name, state):
            self._bench, self._version = None, state  # the memory of the old one first
            loaded = load_model(name, attn="eager")
            if loaded.tokenizer is None:
                raise UserError(f"got {name}, which reads pictures", "a model that reads text", "bundled")
            self._bench = Bench.of(loaded, name)
        return self._bench


def prove(bench: Bench, sentence: str, layer: int, size: float, seed: int, pair: str = "") -> dict[str, Any]:
    """Add a random vector of norm ``size`` to b_q, b_k and b_v of one layer, one after the other.

    Returns ``model``, ``tokens``, ``cut`` (tokens left out), ``logits`` and ``attention`` [heads, tokens, tokens] of
    the untouched model, and under ``terms`` for each term what :func:`_experiment` returns, or ``absent``.
    The logits are those of a head with random weights (by ``seed``) on the mean of the final hidden states.

    Raises:
        UserError: an empty or too long sentence, a layer that the model does not have, a size or seed out of range.
    """
    _check(bench, sentence, layer, size, seed, pair)
    inputs, tokens, cut = _tokenised(bench.model, sentence.strip(), pair.strip())
    with torch.inference_mode(), few_threads(bench.model.backbone):
        before = {name: _look(model, inputs, seed) for name, model in bench.models.items()}
        once = len(before["float64"].attention) == bench.model.layout.layers
        at = layer if once else _first_use(bench.model, inputs, layer)
        if not before["float32"].hidden.isfinite().all():
            raise UserError(f"{bench.model.id} gives values that are not finite", "a model that works", "bundled")
        terms = {
            term: {"absent": bench.absent[term]}
            if term in bench.absent
            else _experiment(bench, term, inputs, before, layer, at, size, seed)
            for term in CANDIDATES
        }
    return {
        "model": bench.facts(),
        "tokens": tokens,
        "cut": cut,
        "layer": layer,
        "at": at,
        "size": size,
        "seed": seed,
        "logits": before["float64"].logits.tolist(),
        "attention": _rounded(before["float64"].attention[at]),
        "terms": terms,
    }


def direction(width: int, size: float, seed: int) -> np.ndarray:
    """Random vector d: float64 [width], of norm ``size``; the same for all terms of one width."""
    d = np.random.default_rng(seed).normal(size=width)
    return d * (size / np.linalg.norm(d))


def head(hidden_size: int, seed: int) -> np.ndarray:
    """Weights of a head that nobody trained: float64 [CLASSES, hidden_size]. What holds for it holds for any."""
    return np.random.default_rng([seed, 1]).normal(size=(CLASSES, hidden_size)) / hidden_size**0.5


def _experiment(
    bench: Bench,
    term: str,
    inputs: dict[str, Tensor],
    before: dict[str, Seen],
    layer: int,
    at: int,
    size: float,
    seed: int,
) -> dict[str, Any]:
    """Measure what d does to one term of the layer.

    ``norm``: of the layer's own bias; per precision the largest absolute change of this layer's ``attention``, of the
    final ``hidden`` states and of the ``logits``, and for b_v ``fold``: how far the final hidden states are from those
    after folding. In float64 ``moves``: whether ``attention`` and ``output`` changed by more than rounding; ``moved``
    and ``moved_by_head``: the share of attention that went elsewhere (:func:`total_variation`), ``by_use``: the same
    for every use of a layer in order; ``logits_after``; ``after``: this layer's attention, where it moved.
    """
    slot = _slot(bench.model, term, layer)
    d = direction(slot.width, size, seed)
    result: dict[str, Any] = {"norm": float(get_bias(bench.model.backbone, slot).norm())}
    for name, model in bench.models.items():
        with _moved(model, slot, d):
            after = _look(model, inputs, seed)
        was = before[name]
        result[name] = {
            "attention": _largest(after.attention[at] - was.attention[at]),
            "hidden": _largest(after.hidden - was.hidden),
            "logits": _largest(after.logits - was.logits),
        }
        if term == "v" and "o" not in bench.absent:
            with _folded(model, d, layer):
                result[name]["fold"] = _largest(_look(model, inputs, seed).hidden - after.hidden)
        if name == "float64":
            shares = [total_variation(new, old) for new, old in zip(after.attention, was.attention, strict=True)]
            result |= {
                "moves": {
                    "attention": result[name]["attention"] > TOLERANCE,
                    "output": result[name]["hidden"] > TOLERANCE * _largest(was.hidden),
                },
                "moved": float(shares[at].mean()),
                "moved_by_head": shares[at].tolist(),
                "by_use": [float(share.mean()) for share in shares],
                "logits_after": after.logits.tolist(),
                "after": _rounded(after.attention[at]) if result[name]["attention"] > TOLERANCE else None,
            }
    return result


def total_variation(after: Tensor, before: Tensor) -> Tensor:
    """Share of its attention that a query gives to other keys than before, mean over queries: [heads], 0 to 1."""
    return (after - before).abs().sum(-1).mean(-1) / 2


@contextmanager
def _moved(model: LoadedModel, slot: BiasSlot, d: np.ndarray) -> Iterator[None]:
    """Add d to one bias while the context is open."""
    with restored(model):
        bias = get_bias(model.backbone, slot)
        set_bias(model.backbone, slot, bias + torch.from_numpy(d).to(bias))
        yield


@contextmanager
def _folded(model: LoadedModel, d: np.ndarray, layer: int) -> Iterator[None]:
    """Add ``W_o d`` to the layer's output bias while the context is open; the value bias is as it was."""
    change = np.zeros((model.layout.layers, len(d)))
    change[layer] = d
    with _moved(model, _slot(model, "o", layer), folded_change(model, change)[layer]):
        yield


def _slot(model: LoadedModel, term: str, layer: int) -> BiasSlot:
    return model.layout.slots_of(term)[layer]


def _look(model: LoadedModel, inputs: dict[str, Tensor], seed: int) -> Seen:
    output = model.backbone(**inputs, output_attentions=True)
    hidden = output.last_hidden_state[0]
    weights = torch.from_numpy(head(hidden.shape[1], seed)).to(hidden)
    return Seen([attention[0] for attention in output.attentions], hidden, weights @ hidden.mean(0))


def _first_use(model: LoadedModel, inputs: dict[str, Tensor], layer: int) -> int:
    """Index, among a forward pass's attentions, of the layer's first: ALBERT uses a layer several times."""
    uses: list[int] = []

    def noting(number: int) -> Callable[[nn.Module, Any], None]:
        return lambda module, args: uses.append(number)

    hooks = [
        model.backbone.get_submodule(slot.module).register_forward_pre_hook(noting(slot.layer))
        for slot in model.layout.slots_of("v")
    ]
    try:
        model.backbone(**inputs)
    finally:
        for hook in hooks:
            hook.remove()
    return uses.index(layer)


def _tokenised(model: LoadedModel, sentence: str, pair: str) -> tuple[dict[str, Tensor], list[str], int]:
    """Tokenise one row: its inputs, its tokens in words, and how many tokens were cut off."""
    texts = [sentence, pair] if pair else [sentence]
    whole = len(model.tokenizer(*texts)["input_ids"])
    encoded = model.tokenizer(*texts, truncation=True, max_length=MAX_TOKENS, return_tensors="pt")
    accepted = inspect.signature(model.backbone.forward).parameters
    ids = encoded["input_ids"][0].tolist()
    if not ids:
        raise UserError("got a sentence without a token that the model knows", "some words")
    tokens = [model.tokenizer.decode([i]).strip() or model.tokenizer.convert_ids_to_tokens(i) for i in ids]
    return {name: value for name, value in encoded.items() if name in accepted}, tokens, max(0, whole - len(ids))


def _check(bench: Bench, sentence: str, layer: int, size: float, seed: int, pair: str) -> None:
    if not sentence.strip():
        raise UserError("got no sentence", "a few words")
    for text in (sentence, pair):
        if len(text) > MAX_CHARACTERS:
            raise UserError(f"got a sentence of {len(text)} characters", f"at most {MAX_CHARACTERS}")
    layers = bench.model.layout.layers
    if not 0 <= layer < layers:
        raise UserError(f"got layer {layer}", f"0 to {layers - 1}, the layers of {bench.model.id}")
    if not 0 <= size <= MAX_NORM:
        raise UserError(f"got a change of size {size}", f"0 to {MAX_NORM:g}")
    if not 0 <= seed < 2**32:
        raise UserError(f"got the seed {seed}", "a whole number from 0 to 4294967295")


def _largest(change: Tensor) -> float:
    return float(change.abs().max())


def _rounded(attention: Tensor) -> list[Any]:
    return np.round(attention.double().numpy(), DIGITS).tolist()
