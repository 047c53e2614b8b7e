"""A score that nobody proposed, for tests that add one to the registry."""

from __future__ import annotations

from beft_core.scores.approaches import Approach, Question

TOY = Approach(
    "toy",
    "Toy score",
    "2 · Σ |post − pre|",
    "nobody, https://example.org/toy",
    lambda movement: 2 * movement.magnitude(),
    Question("play", "How much did it play?", "played"),
    caveat="Made up for a test.",
)
