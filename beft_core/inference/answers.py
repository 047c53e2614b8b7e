"""Answers of fine-tunes to examples: probabilities or values, how far the biases moved them, and which layer did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from beft_core.methods import METHODS, method_of
from beft_core.snapshots.snapshot import SnapshotMeta
from beft_core.terms import TERMS

MOST = 0.5
"""Share of a shift from which one layer, or two, made most of it; or from which the rest that the layers do not add up
to is too large to say so.
"""
HARDLY = 0.005
"""Change of a probability below which it is called none."""


@dataclass(frozen=True)
class Effect:
    """Effect of a fine-tune's biases, or of its adapter, on one example, under its own head.

    Numbers are margins: the log-odds of one class, which are the difference of the two logits where there are two
    classes; or the predicted value itself of a regression.
    """

    before: float
    """Margin with every bias term as before the fine-tune, or without the adapter."""
    after: float
    """Margin with the biases as trained, or with the adapter."""
    layers: Mapping[int, float]
    """What each layer makes of it: the margin minus the one with that layer's biases put back, or without the adapter
    there, by layer.
    """

    @property
    def shift(self) -> float:
        """Change of the margin by all biases, or the whole adapter, together."""
        return self.after - self.before

    @property
    def interaction(self) -> float:
        """Rest of the shift that the layers do not add up to: what they do together."""
        return self.shift - sum(self.layers.values())


@dataclass(frozen=True, eq=False)
class Answer:
    """Answers of one fine-tune to examples; all arrays float32 [examples, outputs]."""

    name: str
    """Name of the fine-tune."""
    labels: tuple[str, ...] | None
    """Names of the classes in the order of the outputs; None: a number is predicted."""
    logits: np.ndarray
    """Logits with the trained biases, or with the adapter; of a regression the value."""
    before: np.ndarray
    """The same under the same head with every bias term as before the fine-tune, or without the adapter."""
    without: Mapping[int, np.ndarray]
    """The same with the biases of one layer put back, by layer, of those that changed, or without the adapter in one of
    the layers that it wraps; NaN for an example that was not taken apart.
    """
    prompted: bool = False
    """Whether the labels are candidates after a prompt, and ``before`` is what the base model itself says."""

    @property
    def predicted(self) -> np.ndarray:
        """Number of the most probable class [examples]; of a regression the value."""
        return predicted(self.logits)

    def effect(self, example: int, label: int | None = None) -> Effect:
        """Take the shift of one example apart, layer by layer.

        ``label``: the class whose margin is followed; by default the one that is predicted. Of an example that was not
        taken apart there are no layers.
        """
        if label is None:
            label = int(self.logits[example].argmax())
        after = margin(self.logits[example], label)
        apart = {layer: after - margin(logits[example], label) for layer, logits in self.without.items()}
        layers = {layer: change for layer, change in apart.items() if np.isfinite(change)}
        return Effect(margin(self.before[example], label), after, layers)

    def verdict(self, example: int) -> str:
        """Say in one sentence what the biases did to an example, and which layer made most of it."""
        before, after = self.before[example], self.logits[example]
        effect = self.effect(example)
        if self.labels is None:
            change = f"moved the value from {effect.before:.2f} to {effect.after:.2f}"
            hardly = abs(effect.shift) < HARDLY
        else:
            was, now = int(before.argmax()), int(after.argmax())
            p, q = probabilities(before), probabilities(after)
            ends = f"{p[was]:.2f} into {self._class(now)} {q[now]:.2f}"
            if was != now:
                change, hardly = f"turned {self._class(was)} {ends}", False
            else:
                hardly = abs(q[now] - p[now]) < HARDLY
                surer = "surer" if q[now] > p[now] else "less sure"
                change = f"kept {self._class(now)}, {surer}: {p[now]:.2f} became {q[now]:.2f}"
        if hardly:
            stays = f"{effect.after:.2f}" if self.labels is None else f"{self._class(now)} {q[now]:.2f}"
            moved = f"{self.name} {'changed next to nothing' if self.without else 'moved nothing'}"
            by_itself = "the base model says" if self.prompted else "the head says by itself"
            return f"{moved}: {stays} is what {by_itself}."
        return f"{self.name} {change}{_by_layer(effect)}."

    def to_dict(self) -> dict[str, Any]:
        """Give the fields as JSON values."""
        without = {
            str(layer): [row if np.isfinite(row).all() else None for row in logits.tolist()]
            for layer, logits in self.without.items()
        }
        labels = None if self.labels is None else list(self.labels)
        ends = {"logits": self.logits.tolist(), "before": self.before.tolist()}
        return {"name": self.name, "labels": labels, **ends, "without": without, "prompted": self.prompted}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> Answer:
        """Read what :meth:`to_dict` gave."""
        logits = np.array(table["logits"], np.float32)
        nothing = [np.nan] * logits.shape[1]
        without = {
            int(layer): np.array([nothing if row is None else row for row in rows], np.float32)
            for layer, rows in table["without"].items()
        }
        labels = None if table["labels"] is None else tuple(table["labels"])
        before = np.array(table["before"], np.float32)
        return cls(table["name"], labels, logits, before, without, bool(table.get("prompted")))

    def _class(self, number: int) -> str:
        assert self.labels is not None
        return f"'{self.labels[number]}'"


def _by_layer(effect: Effect) -> str:
    """Say which layers made a shift; empty where it was not taken apart."""
    if not effect.layers or not effect.shift:
        return ""
    shares = {layer: change / effect.shift for layer, change in effect.layers.items()}
    first, *others = sorted(shares, key=lambda layer: -shares[layer])
    if len(shares) == 1:
        return f"; only layer {first} was trained"
    if abs(effect.interaction) >= MOST * abs(effect.shift):
        return f"; the layers act together, layer {first} the most"
    if shares[first] >= MOST:
        return f"; layer {first} made most of it"
    if shares[first] + shares[others[0]] >= MOST:
        return f"; layers {first} and {others[0]} made most of it"
    return "; no two layers made most of it"


def margin(logits: np.ndarray, label: int) -> float:
    """Compute the log-odds of a class against all others, from logits [outputs]; of one output, the output itself."""
    values = logits.astype(np.float64)
    if len(values) == 1:
        return float(values[0])
    others = np.delete(values, label)
    return float(values[label] - others.max() - np.log(np.exp(others - others.max()).sum()))


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Compute the softmax of logits over their last axis, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    shares: np.ndarray = shifted / shifted.sum(axis=-1, keepdims=True)
    return shares


def predicted(logits: np.ndarray) -> np.ndarray:
    """Take the most probable class of each example, int64 [examples]; of one output the value itself, float64."""
    return logits[:, 0].astype(np.float64) if logits.shape[1] == 1 else np.asarray(logits.argmax(1))


def short_name(meta: SnapshotMeta) -> str:
    """Name a fine-tune by what it trained, in few words: b_v, b_q and b_v, all biases, the head; of one whose terms
    are all null, and were left as they are, ``b_k (null)``.
    """
    terms = [TERMS[term].symbol for term in meta.trained_terms]
    row = method_of(meta.mode)
    if row.every_bias:
        return "all biases"
    if not terms and row.names_terms:
        null = [TERMS[term].symbol for term in meta.null_terms]
        return f"{_listed(null)} (null)" if null else METHODS["head"].short
    if not terms:
        return row.short or meta.mode
    return f"merged {_listed(terms)}" if meta.mode == "merged" else _listed(terms)


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
