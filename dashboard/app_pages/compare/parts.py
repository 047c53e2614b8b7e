"""Sections of the page Compare, each about the same snapshots."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import streamlit as st

from beft_core.counted import unsigned_zero
from beft_core.errors import UserError
from beft_core.scores import compare
from beft_core.scores.approaches import APPROACHES, of_probes, questions
from beft_core.scores.compare_words import verdict
from beft_core.scores.no_selection import Why
from beft_core.scores.table import ScoreTable
from beft_core.snapshots.meta import of_two_bases
from beft_core.snapshots.snapshot import SnapshotMeta
from beft_core.terms import TERM_KEYS, TERMS
from dashboard.figures import compare as figures
from dashboard.figures.parts.style import latex, name_in_text
from dashboard.shared import explain, page
from dashboard.shared.answer_card import variants
from dashboard.shared.figure import show
from dashboard.shared.picker import COMPARE_CHOICE, add_to
from dashboard.shared.sources import Opened, Source, still_there
from dashboard.shared.text import in_words, plain

if TYPE_CHECKING:
    import pandas as pd

FIRST, SECOND, BY, TERM, STACK = "minuend", "subtrahend", "by", "direction", "compare_stack"
"""Keys of the controls, and their names in the URL."""
ALL = "all of them"
BESIDE, PAIR = 2, 380
"""Number of approaches in one figure, which a phone has room for, and pixels that it takes beside another one."""
VIEW = "Which two, and by which score"
"""Label of the button that opens :func:`choose_view` and :func:`pair`."""


def default(sources: Sequence[Source]) -> list[str]:
    """Choose the first titles: a fine-tune, the same with another seed, one of another task (alike in rank alone)."""
    samples = [source for source in sources if source.group == "sample" and source.path is not None]
    if not samples:
        return [source.title for source in sources[:2]]
    names = {source.title: _recipe(source) for source in samples}
    first = samples[0].title
    task, kind = names[first]
    seed = [title for title, recipe in names.items() if title != first and recipe == names[first]]
    other = [title for title, recipe in names.items() if recipe[0] != task and recipe[1] == kind]
    chosen = [first, *seed[:1], *other[:1]]
    return chosen if len(chosen) > 1 else [source.title for source in samples[:2]]


def _recipe(source: Source) -> tuple[str, str]:
    """Split a sample's file name, such as ``sst2-low-seed1-probe``, into its task and the rest without the seed."""
    assert source.path is not None
    task, _, rest = source.path.name.partition("-")
    return task, re.sub(r"seed\d+", "seed", rest)


@dataclass(frozen=True)
class Compared:
    """Snapshots of the page, called A, B, C and so on."""

    opened: tuple[Opened, ...]
    stack: str
    approaches: tuple[str, ...]
    """Approaches of the page, one variant of each."""
    approach: str
    """Approach that is looked at layer by layer."""
    dark: bool

    @property
    def titles(self) -> list[str]:
        """Titles of the snapshots, in their order."""
        return [one.title for one in self.opened]

    @property
    def tables(self) -> list[ScoreTable]:
        """Scores of the snapshots, in their order."""
        return [one.scores for one in self.opened]

    @property
    def metas(self) -> list[SnapshotMeta]:
        """Descriptions of the snapshots, in their order."""
        return [one.meta for one in self.opened]

    @cached_property
    def moves(self) -> list[compare.Moves]:
        """Compute the movements of each snapshot. Raises UserError for a file that broke since it was scored."""
        return [compare.Moves(one.source.read()) for one in self.opened if one.source is not None]

    def name(self, number: int) -> str:
        """Write the letter and the shape of a snapshot by its number."""
        return f"{figures.shape(number)} {figures.LETTERS[number]}"


def choose_view(opened: Sequence[Opened]) -> tuple[str, tuple[str, ...], str]:
    """Choose the stack, the variant of each approach, and the approach that is looked at layer by layer."""
    stacks = list(dict.fromkeys(stack for one in opened for stack in one.scores.stacks))
    with st.container(horizontal=True):
        stack = stacks[0]
        if len(stacks) > 1:
            stack = str(
                st.segmented_control("Stack", stacks, default=stack, required=True, key=STACK, bind="query-params")
            )
        measured = {key for one in opened for key in one.scores.approaches}
        asked = {question: variants(question) for question in questions([*of_probes(), *measured])}
        names = {
            question: APPROACHES[next(iter(keys.values()))].label.split(" (")[0] for question, keys in asked.items()
        }
        by = st.segmented_control(
            "Layer by layer",
            list(names.values()),
            default=next(iter(names.values())),
            required=True,
            key=BY,
            bind="query-params",
            help="The approach whose layers are shown and subtracted below.",
        )
        chosen = {}
        for question, keys in asked.items():
            words = next(iter(keys))
            if len(keys) > 1:
                words = str(
                    st.segmented_control(
                        question.key.capitalize(),
                        keys,
                        default=words,
                        required=True,
                        key=f"compare_{question.key}",
                        bind="query-params",
                        help=question.help,
                    )
                )
            chosen[names[question]] = keys.get(words, next(iter(keys.values())))
    return stack, tuple(chosen.values()), chosen[str(by)]


def legend(all_: Compared) -> None:
    """Draw which snapshot is which letter and shape, and what one must know of them before comparing."""
    with st.container(border=not page.presenting()):
        st.markdown(
            "  \n".join(
                f"{all_.name(number)} **{plain(one.title, 120)}** :small[:gray[{explain.headline(one)}]]"
                for number, one in enumerate(all_.opened)
            )
        )
    for caveat in caveats(all_):
        st.info(caveat, icon=":material/info:")


def caveats(all_: Compared) -> list[str]:
    """Write sentences on what the differences between the models mean for the comparison."""
    found = []
    models = [meta.model for meta in all_.metas]
    if of_two_bases(models):
        found.append(
            "These fine-tunes started from different base models. Their scores can be compared, for each is about its "
            "own start; the directions in which they moved cannot, wherever the start differs."
        )
    if len({model.layers for model in models}) > 1:
        found.append("They have different numbers of layers: only the means over layers can be subtracted.")
    if len({model.hidden_size for model in models}) > 1 and "magnitude" in all_.approaches:
        found.append("Magnitude as a sum grows with the width of the model; switch it to the mean to be fair.")
    for number, one in enumerate(all_.opened):
        found += [f"{figures.LETTERS[number]}: {plain(remark)}." for remark in one.scores.remarks]
    for stack in {stack for one in all_.opened for stack in one.scores.stacks} - {all_.stack}:
        found.append(f"Some have a stack “{stack}” too; the {all_.stack} is shown.")
    return found


def answer(all_: Compared, two: tuple[int, int]) -> None:
    """Draw how the two snapshots that are looked at compare, in a few sentences."""
    a, b = two
    names = (figures.LETTERS[a], figures.LETTERS[b])
    try:
        moves = (all_.moves[a], all_.moves[b])
    except UserError as error:
        page.report(error)
        return
    first, *rest = verdict((all_.tables[a], all_.tables[b]), moves, all_.approach, all_.stack, names)
    st.markdown(f"#### {in_words(first)}")
    if rest:
        st.markdown(in_words(" ".join(rest)))


def overlay(all_: Compared) -> None:
    """Draw the mean scores of all snapshots."""
    st.caption(_selections(all_))
    pairs = [all_.approaches[at : at + BESIDE] for at in range(0, len(all_.approaches), BESIDE)]
    grid = st.grid(len(pairs), min_column_width=PAIR)
    for approaches in pairs:
        labels = " and ".join(APPROACHES[key].label for key in approaches)
        with grid.cell():
            show(
                figures.overview(
                    all_.tables, all_.titles, approaches, all_.stack, all_.dark, legend=not page.presenting()
                ),
                f"compare-overview-{approaches[0]}",
                f"Mean score of every bias term in each snapshot, by {labels}",
                data=lambda: means(all_),
            )


def layers(all_: Compared) -> None:
    """Draw the scores of all snapshots layer by layer."""
    st.markdown(f"**{APPROACHES[all_.approach].label}, layer by layer**")
    show(
        figures.by_layer(all_.tables, all_.titles, all_.approach, all_.stack, all_.dark),
        "compare-layers",
        f"{APPROACHES[all_.approach].label} of every layer, one panel per bias term, one line per snapshot",
        data=lambda: scores(all_),
    )


NOT_SELECTED: dict[Why, str] = {
    "nobody": "no contest",
    "alone": "no contest",
    "unmoved": "no contest",
    "from_zero": "undefined from zero",
    "equal": "all equal",
}
"""Reasons why nothing is selected, as brief as a term's name."""


def _selections(all_: Compared) -> str:
    """Write the term that each approach selects in each snapshot."""
    parts = []
    for key in all_.approaches:
        chosen: dict[str, list[str]] = {}
        selects = False
        for number, one in enumerate(all_.opened):
            if key in one.scores.approaches and all_.stack in one.scores.stacks:
                term = one.selected(all_.stack)[key]
                selects |= term is not None
                said = latex(term) if term else NOT_SELECTED[one.scores.no_selection(all_.stack)[key].why]
                chosen.setdefault(said, []).append(figures.LETTERS[number])
        if selects:
            words = [
                f"{what} in {' '.join(letters)}"
                for what, letters in sorted(chosen.items(), key=lambda item: item[0] in NOT_SELECTED.values())
            ]
            parts.append(f"{APPROACHES[key].label}: {', '.join(words)}")
    if not parts:
        return "None is selected: in no snapshot did two of q, k and v take part that are not null."
    return "Selected among those of q, k and v that took part and are not null · " + " · ".join(parts)


def join(titles: list[str]) -> None:
    """Add snapshots to the page, from a callback, and look at them."""
    add_to(COMPARE_CHOICE, titles, figures.MAX_COMPARED)
    look_at(titles)


def look_at(titles: Sequence[str]) -> None:
    """Compare what was just added: the last two, or the only one with the first snapshot of the page."""
    if len(titles) > 1:
        first, second = titles[-2:]
    else:
        first = titles[0]  # which may be the first of the page already
        second = next((one for one in st.session_state[COMPARE_CHOICE] if one != first), first)
    st.session_state[FIRST], st.session_state[SECOND] = first, second


def pair(titles: Sequence[str]) -> tuple[int, int] | None:
    """Draw the choice of the two snapshots that are compared, where there are more than two; return their numbers."""
    if len(titles) == 2:
        return 0, 1
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = []
        for at, (key, label) in enumerate(((FIRST, "Look at"), (SECOND, "minus"))):
            _refit(key, titles)
            chosen.append(
                titles.index(str(st.selectbox(label, titles, index=at, key=key, bind="query-params", width="stretch")))
            )
    if chosen[0] == chosen[1]:
        st.info("Choose two different snapshots to subtract.", icon=":material/difference:")
        return None
    return chosen[0], chosen[1]


def _refit(key: str, titles: Sequence[str]) -> None:
    """Keep a choice on its snapshot when that was renamed; drop it when the snapshot left the page."""
    if key not in st.session_state:
        return
    found, _ = still_there([str(st.session_state[key])], titles)
    if found and found[0] != st.session_state[key]:
        st.session_state[key] = found[0]
    elif not found:
        del st.session_state[key]


def apart(all_: Compared, two: tuple[int, int]) -> None:
    """Draw the scores of the first snapshot minus those of the second, in every layer."""
    a, b = two
    names = (figures.LETTERS[a], figures.LETTERS[b])
    found = compare.differences(all_.tables[a], all_.tables[b], all_.approach, all_.stack, names)
    label = APPROACHES[all_.approach].label
    st.markdown(f"**Where they differ: {names[0]} − {names[1]}**")
    if not any(one.mean is not None for one in found):
        st.info(f"{label}: nothing to subtract. {_reasons(found)}", icon=":material/block:")
        return
    st.caption(f"{label}. :green[Green]: higher in {all_.name(a)}. :violet[Purple]: higher in {all_.name(b)}.")
    show(
        figures.difference_map(found, all_.approach, all_.dark),
        "compare-difference",
        f"{label} of {names[0]} minus that of {names[1]}, layer by bias term",
        data=lambda: _difference_frame(found, all_.approach),
    )


def _reasons(found: Sequence[compare.Difference | compare.Alike]) -> str:
    """Write why nothing could be compared: each reason with its terms."""
    reasons: dict[str, list[str]] = {}
    for one in found:
        reasons.setdefault(one.reason or "", []).append(latex(one.term))
    return "; ".join(f"{', '.join(terms)}: {reason}" for reason, terms in reasons.items()) or "No stack in common."


def alike(all_: Compared, two: tuple[int, int]) -> None:
    """Draw whether the changes of two snapshots point into the same direction; and those of all, two by two."""
    a, b = two
    names = (figures.LETTERS[a], figures.LETTERS[b])
    try:
        moves = all_.moves
    except UserError as error:
        page.report(error)
        return
    found = compare.alike(moves[a], moves[b], all_.stack, names)
    matrix = compare.cosines(moves, all_.stack)
    st.markdown(_direction_words(matrix[a, b], names, moves[a], moves[b]))
    st.markdown(f"**{names[0]} and {names[1]}**: cosine between their movements")
    if not any(one.layers is not None for one in found):
        st.info(f"Nothing to compare. {_reasons(found)}", icon=":material/block:")
    else:
        show(
            figures.cosine_map(found, all_.dark),
            "compare-cosines",
            f"Cosine between what {names[0]} and {names[1]} learnt, layer by bias term",
            data=lambda: _cosine_frame(found),
        )
    if len(moves) < 3:
        return
    with st.container(width=460):
        terms = [t for t in TERM_KEYS if any((all_.stack, t) in one.delta for one in moves)]
        options = [ALL, *(f"{TERMS[t].symbol} {TERMS[t].label}" for t in terms)]
        _refit(TERM, options)
        with page.control("settings", "compare-angles"):
            chosen = st.selectbox(
                "**All of them**: angle between their movements", options, key=TERM, bind="query-params"
            )
        term = None if chosen == ALL else [terms[options.index(str(chosen)) - 1]]
        shown = compare.cosines(moves, all_.stack, term)
        show(
            figures.angles(shown, all_.titles, all_.dark),
            "compare-angles",
            "Angles between what the snapshots learnt, two by two",
            data=lambda: _matrix_frame(shown, all_),
        )


def _direction_words(cosine: float, names: compare.Names, a: compare.Moves, b: compare.Moves) -> str:
    if not np.isfinite(cosine):
        return f"{names[0]} and {names[1]} trained no term whose directions can be compared."
    chance = compare.chance(sum(delta.size for key, delta in a.delta.items() if a.not_like(b, key) is None))
    words = (
        "far more alike than"
        if cosine > max(0.2, 3 * chance)
        else "hardly more alike than"
        if cosine > chance
        else "more opposed than"
        if cosine < -chance
        else "no more alike than"
    )
    return (
        f"What {names[0]} and {names[1]} learnt points in directions **{np.degrees(np.arccos(cosine)):.0f}° apart** "
        f"(cosine {unsigned_zero(cosine, 2):.2f}): {words} two random directions, which in so many dimensions are "
        f"90° ± {np.degrees(np.arcsin(min(1.0, chance))):.1f}° apart. The same direction would be 0°."
    )


def agree(all_: Compared, two: tuple[int, int]) -> None:
    """Draw whether the approaches rank the terms alike in two snapshots; and in all, two by two."""
    a, b = two
    names = (figures.LETTERS[a], figures.LETTERS[b])
    st.caption(
        "Rank 1 is the highest score. Kendall's τ is 1 where every two terms stand in the same order in both, 0 where "
        "as many do as do not, −1 where the order is reversed."
    )
    with st.container(horizontal=True):  # wraps where the window is narrow
        for key in all_.approaches:
            with st.container(border=True, width=300):
                _ranks(compare.agreement(all_.tables[a], all_.tables[b], key, all_.stack), key, names)
    if len(all_.opened) > 2:
        with st.expander("Kendall's τ between all of them", icon=":material/grid_on:"):
            st.dataframe(taus(all_), hide_index=True, height="content", alt="Kendall's tau of every two snapshots")


def _ranks(found: compare.Agreement, key: str, names: compare.Names) -> None:
    st.markdown(f"**{APPROACHES[key].label}**")
    if len(found.terms) < 2:
        st.caption("Fewer than two terms have a score in both.")
        return
    st.markdown(f"Kendall's τ **{_number(found.kendall)}** :gray[· Spearman's ρ {_number(found.spearman)}]")
    lines = [f"| term | {names[0]} | {names[1]} | |", "| :-- | --: | --: | :-- |"]
    for term, (first, second) in sorted(found.ranks.items(), key=lambda item: item[1]):
        lines.append(f"| {name_in_text(term)} | {first} | {second} | {_change(first, second)} |")
    st.markdown("\n".join(lines))


def _change(first: int, second: int) -> str:
    return "" if first == second else f"{'▲' if second < first else '▼'}\u00a0{abs(first - second)}"


def _number(value: float) -> str:
    return f"{unsigned_zero(value, 2):.2f}".replace("-", "−") if np.isfinite(value) else "–"


def made(all_: Compared) -> None:
    """Draw the settings in which the fine-tunes differ."""
    st.markdown("**What differs in how they were made**")
    table = compare.differing(all_.metas)
    if not table:
        st.caption("Nothing that the snapshots record: the same model, data, settings, seed and versions.")
        return
    columns = {all_.name(n): [texts[n] for texts in table.values()] for n in range(len(all_.opened))}
    st.dataframe(
        {"setting": list(table), **columns},
        hide_index=True,
        height="content",
        alt="Settings that are not the same in all snapshots",
    )


def export(all_: Compared) -> None:
    """Draw tables of all numbers, and their download."""
    with st.expander("All means as a table", icon=":material/table:"):
        st.dataframe(means(all_), hide_index=True, alt="Mean score and rank of every term in every snapshot")
    with page.control("downloads", "compare-everything"):
        st.download_button(
            "Download everything (CSV)",
            lambda: everything(all_).to_csv(index=False),
            "comparison.csv",
            "text/csv",
            icon=":material/download:",
            on_click="ignore",
            help="Scores and geometry of every layer, differences and cosines of every two: one number a row.",
        )


def computed(all_: Compared) -> None:
    """Draw the formulas, inputs, seeds and versions of the page."""
    with page.control("details", "compare"), st.expander("How was this computed?", icon=":material/function:"):
        for key in all_.approaches:
            approach = APPROACHES[key]
            st.markdown(f"**{approach.label}**, per layer: `{approach.formula}`  \n:small[{approach.reference}]")
        st.markdown(
            "*pre* and *post* are a layer's bias vector before and after the fine-tune, in float64; a term's score is "
            "the mean over layers.\n\n"
            "**Difference**: the first score minus the second, per layer and of the means. Nothing is subtracted where "
            "a term was not trained, or is null and frozen, in one of the two.\n\n"
            "**Cosine**: δ·ε / (‖δ‖ ‖ε‖) of the movements δ = post − pre of one snapshot and ε of the other, per "
            "layer; “all” takes all layers as one vector, and the angle matrix all terms that both trained, without "
            "null terms. It is computed only where both started from the same values. Random directions in *n* "
            "dimensions have a cosine within ±1.96/√n of 0, 19 times in 20.\n\n"
            "**Kendall's τ** (tau-b): concordant minus discordant pairs of terms, over √(pairs untied in A × pairs "
            "untied in B). **Spearman's ρ**: the correlation of the ranks. Both over the terms that have a score in "
            "both; with so few terms, even 0.6 can be chance."
        )
        tables = [compare.settings(meta) for meta in all_.metas]
        names = list(dict.fromkeys(name for table in tables for name in table))
        st.dataframe(
            {"input": names, **{all_.name(n): [t.get(name, "–") for name in names] for n, t in enumerate(tables)}},
            hide_index=True,
            alt="Inputs of every fine-tune",
        )


# --- tables --------------------------------------------------------------------------------------------------------


def means(all_: Compared) -> pd.DataFrame:
    """Table of the mean score and rank of every term in every snapshot."""
    return _concat([one.scores.means for one in all_.opened], all_)


def scores(all_: Compared) -> pd.DataFrame:
    """Table of the score and geometry of every layer of every snapshot."""
    return _concat([one.scores.per_layer for one in all_.opened], all_)


def _concat(frames: Sequence[pd.DataFrame], all_: Compared) -> pd.DataFrame:
    import pandas as pd

    named = zip(all_.titles, frames, strict=True)
    return pd.concat([frame.assign(snapshot=title) for title, frame in named], ignore_index=True)[
        ["snapshot", *frames[0].columns]
    ]


def everything(all_: Compared) -> pd.DataFrame:
    """Table of every number of the page, one a row: see :func:`beft_core.scores.compare.everything`."""
    return compare.everything(all_.titles, all_.tables, all_.moves)


def taus(all_: Compared) -> dict[str, list[str]]:
    """Compute Kendall's tau of every two snapshots, by each approach: column -> cells."""
    pairs = list(itertools.combinations(range(len(all_.opened)), 2))
    return {
        "snapshots": [f"{figures.LETTERS[i]} and {figures.LETTERS[j]}" for i, j in pairs],
        **{
            APPROACHES[key].label: [
                _number(compare.agreement(all_.tables[i], all_.tables[j], key, all_.stack).kendall) for i, j in pairs
            ]
            for key in all_.approaches
        },
    }


def _difference_frame(found: Sequence[compare.Difference], approach: str) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            (approach, one.term, layer, value)
            for one in found
            for layer, value in [*enumerate(one.layers if one.layers is not None else ()), ("mean", one.mean)]
        ],
        columns=["approach", "term", "layer", "difference"],
    )


def _cosine_frame(found: Sequence[compare.Alike]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame(
        [
            (one.term, layer, value)
            for one in found
            for layer, value in [*enumerate(one.layers if one.layers is not None else ()), ("all", one.whole)]
        ],
        columns=["term", "layer", "cosine"],
    )


def _matrix_frame(cosines: np.ndarray, all_: Compared) -> pd.DataFrame:
    import pandas as pd

    frame = pd.DataFrame(cosines, columns=all_.titles)
    frame.insert(0, "cosine", all_.titles)
    return frame
