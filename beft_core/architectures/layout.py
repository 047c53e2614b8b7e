"""Places of the bias terms of one model: the record that `beft_core.architectures.table` fills in for each model
type.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from beft_core.errors import UserError
from beft_core.terms import CANDIDATES, TERM_KEYS


@dataclass(frozen=True, eq=False)
class BiasSlot:
    """Place of one term in one layer: ``getattr(module, attribute)[index]``."""

    stack: str
    layer: int
    """Number of the layer, from 0; ALBERT, which shares layers over depth, counts its distinct layers."""
    term: str
    module: str
    """Path of the module relative to the backbone, such as ``encoder.layer.0.attention.self.value``."""
    index: slice | np.ndarray
    """Elements of the parameter that are this term's: a slice, or int64 positions of a fused projection."""
    width: int
    """Number of the parameter's elements that are this term's."""
    attribute: str = "bias"
    """Name of the parameter in the module; only DeBERTa v1 has bare ``q_bias`` and ``v_bias``."""

    @property
    def parameter(self) -> str:
        """Name of the parameter, relative to the backbone."""
        return f"{self.module}.{self.attribute}"


@dataclass(frozen=True)
class HeadSpec:
    """Classification head that transformers' ``AutoModelForSequenceClassification`` puts on the backbone.

    ``pool -> [dropout -> dense -> dense_activation -> [LayerNorm ->]] dropout -> linear``.
    """

    pooling: str
    """Choice of the vector that the head reads: ``pooler`` (the backbone's own module on the first token), ``first``,
    ``last`` or ``mean``.
    """
    pooler_module: str | None = None
    """Linear module of the backbone's pooler, for ``pooling="pooler"``."""
    pooler_activation: str | None = None
    dense_activation: str | None = None
    """Activation of a new hidden layer (hidden_size, hidden_size) below the classifier; ``None``: no such
    layer. A key of transformers' ``ACT2FN``.
    """
    dense_bias: bool = True
    dense_dropout: bool = True
    """Whether dropout also comes before the dense layer."""
    norm_eps: float | None = None
    """Epsilon of a LayerNorm after the dense layer's activation; ``None``: there is none."""
    norm_bias: bool = True
    classifier_bias: bool = True
    dropout: float = 0.0
    """Probability of dropout before the classifier, from the config."""
    stds: tuple[float, float] | None = None
    """Standard deviations from which the dense layer and the classifier are drawn, as normals that are cut off at
    ``cutoff`` of them; ``None``: both from the config's ``initializer_range``, not cut off.
    """
    cutoff: float = 3.0


@dataclass(frozen=True)
class LmSpec:
    """Language-model head of transformers' ``AutoModelForCausalLM``: ``logits = cap(W h + b)`` of a hidden state h."""

    tied: bool
    """Whether W is the embedding of the tokens, unless the checkpoint holds another one."""
    weight: tuple[str, ...] = ("lm_head.weight",)
    """Names that W may have in a checkpoint."""
    bias: str | None = None
    """Name of b in a checkpoint; None: there is none."""
    softcap: float | None = None
    """Bound c of the logits, as ``c * tanh(logits / c)``; None: they are not bounded."""


@dataclass(frozen=True)
class KeyRule:
    """Rule of what can act of the key bias, from the kind of attention alone (checked numerically elsewhere)."""

    null: bool
    """Whether no element of the key bias can act."""
    why: str
    acting: int | None = None
    """Number of elements of each head that act, from its first on, where only some do (partial rotary positions); None:
    the whole head is alike.
    """

    @property
    def all_acts(self) -> bool:
        """Whether no element is null."""
        return not self.null and self.acting is None


@dataclass(frozen=True)
class PostNorm:
    """Paths, below the layer, of the modules without a bias in a layer that computes ``x = ln1(x + o(attention(x)))``
    and then ``ln2(x + mlp_out(activation(mlp_in(x))))``.
    """

    attention_dropout: str
    o_dropout: str | None
    """Path of the dropout of o's output; None: there is none."""
    activation: str
    mlp_dropout: str


@dataclass(frozen=True)
class Layout:
    """Places of the bias terms of one model. ``slots`` is ordered by term (canonical order), then layer."""

    model_type: str
    stack: str
    layers: int
    hidden_size: int
    output_size: int
    """Width of the final hidden states, which a head reads; OPT of 350 million parameters projects them."""
    heads: int
    kv_heads: int
    """Number of key and value heads; fewer than ``heads`` under grouped-query attention."""
    head_dim: int
    slots: tuple[BiasSlot, ...]
    """Slots of every bias that the model has."""
    addable: tuple[BiasSlot, ...]
    """Slots of modules without a bias; a zero bias can be added there without changing the model."""
    absent: Mapping[str, str]
    """Reason, in words, why the model has no bias of a term, by term."""
    key_rule: KeyRule
    head: HeadSpec
    packing: bool
    """Whether several examples in one row give the same hidden states as each alone, as was verified."""
    causal: bool
    mask: str = "additive"
    """Form of a prepared attention mask: ``additive``, ``boolean`` or ``per_layer_type`` (a dict of
    additive ones).
    """
    window: int | None = None
    """Tokens that a token sees back (causal) or to each side under sliding-window attention; ``None``: all."""
    position_offset: int = 0
    """Position id of an example's first token (RoBERTa starts after its padding index)."""
    prefix: str = ""
    """Prefix of the backbone's parameters in checkpoints with a head."""
    disk: tuple[tuple[str, str], ...] = ()
    """Pairs (current name, name on disk) of renamed parameters of checkpoints older than transformers 5."""
    block: PostNorm | None = None
    """Modules of a post-norm layer besides its terms; ``None``: layers are of another kind."""
    added: tuple[str, ...] = ()
    """Terms that were given a zero bias which the architecture does not have."""
    lm: LmSpec | None = None
    """Language-model head of the architecture; None: it has none, as encoders and models that see later tokens."""
    inputs_first: bool = False
    """Whether weights lie as [inputs, outputs], as in GPT-2's ``Conv1D``; ``Linear`` has [outputs, inputs]."""
    reads_positions: tuple[str, ...] = ()
    """Terms whose projection is also applied to relative positions, once for all rows of a pass: rows cannot differ in
    their bias.
    """

    @property
    def terms(self) -> tuple[str, ...]:
        """Terms that the model has, in canonical order."""
        return tuple(dict.fromkeys(slot.term for slot in self.slots))

    @property
    def null_terms(self) -> tuple[str, ...]:
        """Terms that the rule calls null, whether or not the model has them."""
        return ("k",) if self.key_rule.null else ()

    def null_elements(self, term: str) -> np.ndarray:
        """Elements of one layer's bias that the rule calls null: bool [width], the same in every layer.

        Also of a bias that can be added. Raises UserError for a term that the model has no place for.
        """
        slot = next((slot for slot in (*self.slots, *self.addable) if slot.term == term), None)
        if slot is None:
            self.require([term])
            raise AssertionError(term)
        mask = np.zeros(slot.width, dtype=bool)
        if term == "k" and self.key_rule.null:
            mask[:] = True
        elif term == "k" and self.key_rule.acting is not None:
            mask.reshape(self.kv_heads, self.head_dim)[:, self.key_rule.acting :] = True
        return mask

    def slots_of(self, term: str) -> tuple[BiasSlot, ...]:
        """Slots of one term, one per layer; empty if the model does not have it."""
        return tuple(slot for slot in self.slots if slot.term == term)

    def layer_path(self, layer: int) -> str:
        """Path of a layer below the backbone: what the paths of its modules have in common."""
        paths = [slot.module.split(".") for slot in (*self.slots, *self.addable) if slot.layer == layer]
        common = []
        for parts in zip(*paths, strict=False):
            if len(set(parts)) > 1:
                break
            common.append(parts[0])
        return ".".join(common)

    def with_added(self, terms: Iterable[str]) -> Layout:
        """Layout after zero biases for ``terms`` were added; terms that exist already change nothing.

        Raises UserError for terms that have no module of their own here.
        """
        new = list(dict.fromkeys(term for term in terms if term not in self.terms))
        for term in new:
            if term not in {slot.term for slot in self.addable}:
                raise UserError(
                    f"got no {term} bias and no place for one in {self.model_type}: {self.absent[term]}",
                    f"one of {', '.join(dict.fromkeys(slot.term for slot in self.addable)) or 'no terms'}",
                )
        slots = (*self.slots, *(slot for slot in self.addable if slot.term in new))
        return dataclasses.replace(
            self,
            slots=tuple(sorted(slots, key=lambda s: (TERM_KEYS.index(s.term), s.layer))),
            addable=tuple(slot for slot in self.addable if slot.term not in new),
            absent={term: why for term, why in self.absent.items() if term not in new},
            added=(*self.added, *new),
        )

    def candidates_to_add(self) -> tuple[str, ...]:
        """List those of b_q, b_k and b_v that the model has a place for; none where it has one of the three."""
        if set(self.terms) & set(CANDIDATES):
            return ()
        return tuple(term for term in CANDIDATES if any(slot.term == term for slot in self.addable))

    def require(self, terms: Iterable[str]) -> None:
        """Raise UserError, listing what the model has, unless it has all ``terms``."""
        for term in terms:
            if term not in self.terms:
                why = self.absent.get(term, f"the terms are {', '.join(TERM_KEYS)}")
                can_add = any(slot.term == term for slot in self.addable)
                raise UserError(
                    f"got the term {term}, which this {self.model_type} model does not have ({why})",
                    f"one of its terms: {', '.join(self.terms) or 'none'}",
                    f"--add-bias {term} to give it a zero bias" if can_add else "",
                )

    @property
    def matrices(self) -> tuple[str, ...]:
        """Names of the weights beside the linear modules' biases that the architecture can do without, each once."""
        biases = [slot.module for slot in self.addable if slot.attribute == "bias"]
        return tuple(dict.fromkeys(f"{module}.weight" for module in biases))

    def checkpoint_names(self, slot: BiasSlot) -> tuple[str, ...]:
        """Names that the slot's parameter may have in a safetensors file, likeliest first."""
        return self.names_on_disk(slot.parameter)

    def names_on_disk(self, parameter: str) -> tuple[str, ...]:
        """Names that a parameter of the backbone may have in a safetensors file, likeliest first."""
        current = parameter
        old = current
        for new_name, old_name in (*self.disk, *_OLD_NORMS):
            old = old.replace(new_name, old_name, 1)
        names = [current, old]
        return tuple(dict.fromkeys([f"{self.prefix}.{name}" for name in names] + names))


_OLD_NORMS = ((".LayerNorm.bias", ".LayerNorm.beta"), (".LayerNorm.weight", ".LayerNorm.gamma"))
"""Pairs (name now, name in checkpoints that were converted from TensorFlow)."""


# ---- How q, k and v lie in a fused projection --------------------------------------------------------------

Fused = Callable[[int, int, int], dict[str, slice | np.ndarray]]
"""Function from (heads, kv_heads, head_dim) to the elements of a fused bias that belong to q, k and v."""


def contiguous(heads: int, kv_heads: int, head_dim: int) -> dict[str, slice | np.ndarray]:
    """Elements of q, k and v where all of q comes first, then all of k, then all of v."""
    q, kv = heads * head_dim, kv_heads * head_dim
    return {"q": slice(0, q), "k": slice(q, q + kv), "v": slice(q + kv, q + 2 * kv)}


def grouped(heads: int, kv_heads: int, head_dim: int) -> dict[str, slice | np.ndarray]:
    """Elements of q, k and v in ``view(kv_heads, heads / kv_heads + 2, head_dim)``.

    Each group holds its query heads, one key head and one value head.

    With ``kv_heads = heads`` this is ``view(heads, 3, head_dim)`` (BLOOM, GPT-NeoX); with ``kv_heads = 1`` it
    is Falcon's multi-query ``view(heads + 2, head_dim)``.
    """
    per_group = heads // kv_heads + 2
    elements = np.arange(kv_heads * per_group * head_dim).reshape(kv_heads, per_group, head_dim)
    return {"q": elements[:, :-2].ravel(), "k": elements[:, -2].ravel(), "v": elements[:, -1].ravel()}
