"""Sentences on how two snapshots compare: what they learnt, how they rank the terms, where they differ.

Every number comes from :mod:`beft_core.scores.compare`; the sentences are plain text.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from beft_core.scores import compare
from beft_core.scores.approaches import APPROACHES
from beft_core.scores.compare import Alike, Moves, Names
from beft_core.scores.table import ScoreTable
from beft_core.terms import CANDIDATES, TERMS

SAME, PARTLY = 0.5, 0.2
"""Cosines above which two changes go the same way, or partly so, where that is also more than chance gives."""
NAMED = 3
"""Most terms whose cosines are named."""


def verdict(
    tables: tuple[ScoreTable, ScoreTable],
    moves: tuple[Moves, Moves],
    approach: str,
    stack: str,
    names: Names = ("A", "B"),
) -> tuple[str, ...]:
    """Write the sentences, the most telling one first: on directions, on ranks, and on scores where any compare."""
    said = (
        directions(moves, stack, names),
        ranks(tables, approach, stack, names),
        scores(tables, approach, stack, names),
    )
    return tuple(filter(None, said))


def directions(moves: tuple[Moves, Moves], stack: str, names: Names) -> str:
    """Say whether two fine-tunes changed the same biases the same way, with the cosines of a few terms.

    Named are those that can be selected, then those that moved most; never null terms, which move by rounding.
    """
    a, b = moves
    found = [one for one in compare.alike(a, b, stack, names) if one.term not in a.null | b.null]
    known = [one for one in found if one.whole is not None and math.isfinite(one.whole)]
    if not known:
        both = [one for one in found if one.term in a.trained & b.trained]
        either = [one for one in found if one.term in a.trained | b.trained]
        return f"What {names[0]} and {names[1]} learnt cannot be compared{_why(both or either or found)}."
    whole = float(compare.cosines(moves, stack, [one.term for one in known])[0, 1])
    chance = compare.chance(sum(a.delta[stack, one.term].size for one in known))
    # Those that can be selected come first; then those that carry most of the change, by length, in both.
    weight = {
        one.term: sum(float((of.delta[stack, one.term] ** 2).sum()) / _square(of, stack) for of in moves)
        for one in known
    }
    largest = sorted(known, key=lambda one: (one.term not in CANDIDATES, -weight[one.term]))[:NAMED]
    cosines = ", ".join(f"{one.whole:.2f} in {TERMS[one.term].symbol}" for one in largest)
    left = len(known) - len(largest)
    more = f" and {left} term{'s' * (left > 1)} more" if left else ""
    return (
        f"{names[0]} and {names[1]} changed the same biases {_way(whole, chance)}: cosine {whole:.2f} over all that "
        f"both trained ({cosines}{more}); random directions stay within ±{chance:.2f}."
    ).replace("-0.00", "0.00")


def _square(moves: Moves, stack: str) -> float:
    return sum(float((delta**2).sum()) for (of, _), delta in moves.delta.items() if of == stack) or 1.0


def _way(cosine: float, chance: float) -> str:
    if cosine > max(SAME, chance):
        return "the same way"
    if cosine > max(PARTLY, chance):
        return "partly the same way"
    if cosine < -max(PARTLY, chance):
        return "in opposite ways"
    return "in nearly unrelated ways" if abs(cosine) > chance else "in unrelated ways"


def _why(found: Sequence[Alike]) -> str:
    """Write the commonest reason in brackets, after the first terms that it holds for; empty where there is none."""
    reasons = Counter(one.reason for one in found if one.reason)
    if not reasons:
        return ""
    reason, count = reasons.most_common(1)[0]
    terms = [TERMS[one.term].symbol for one in found if one.reason == reason][:NAMED]
    more = f" and {count - len(terms)} more" * (count > len(terms))
    return f" ({', '.join(terms)}{more}: {reason})"


def ranks(tables: tuple[ScoreTable, ScoreTable], approach: str, stack: str, names: Names) -> str:
    """Say whether two snapshots rank the terms alike, and which each ranks first; empty for fewer than two terms."""
    found = compare.agreement(*tables, approach, stack)
    if len(found.terms) < 2:
        return ""
    first = [min((found.ranks[term][at], term) for term in found.terms)[1] for at in (0, 1)]
    tau = f"Kendall's τ {found.kendall:.2f}" if math.isfinite(found.kendall) else "Kendall's τ undefined, all tie"
    words = (
        f"both rank {TERMS[first[0]].symbol} first"
        if first[0] == first[1]
        else f"{names[0]} ranks {TERMS[first[0]].symbol} first, {names[1]} {TERMS[first[1]].symbol}"
    )
    return f"By {_label(approach)} {words} ({tau} over {len(found.terms)} terms)."


def scores(tables: tuple[ScoreTable, ScoreTable], approach: str, stack: str, names: Names) -> str:
    """Say in which term two snapshots' scores differ most; empty where none can be subtracted."""
    found = [one for one in compare.differences(*tables, approach, stack, names) if one.mean is not None]
    if not found:
        return ""
    most = max(found, key=lambda one: abs(one.mean or 0.0))
    of = [float(table.rows(stack)[most.term].scores[approach].mean()) for table in tables]
    if most.mean == 0:
        return "Their scores are equal in every term."
    return f"They differ most in {TERMS[most.term].symbol}: {of[0]:.3g} in {names[0]}, {of[1]:.3g} in {names[1]}."


def _label(approach: str) -> str:
    label = APPROACHES[approach].label
    return label[:1].lower() + label[1:] if label.startswith("Projection") else label
