"""Choice of fine-tunes, of the task whose head they are asked by, and of the sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from beft_core.errors import UserError
from beft_core.extras import require_methods
from beft_core.inference.answers import short_name
from beft_core.inference.heads import can_answer, prompt_of, reads_pairs
from beft_core.methods import method_of
from beft_core.models.source import locate
from beft_core.snapshots.adapter_folder import CONFIG
from beft_core.snapshots.snapshot import adapter_beside
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.registry import TASKS
from dashboard.figures.parts import style
from dashboard.shared import page
from dashboard.shared.picker import TRY_CHOICE, pick_many, report_gone
from dashboard.shared.sources import Opened, Source
from dashboard.shared.text import plain

TASK, TEXT, PAIR = "try_task", "try_text", "try_pair"
"""Keys of the controls, and their names in the URL."""
YOURS, CANDIDATES_TAB = "Your sentences", "Which candidate"
"""Names of the first tab, of tasks with a head and of prompts."""
MOST_RUNS, MOST_TEXTS, MOST_CHARACTERS = 6, 12, 4000
FIRST = "The film was surprisingly good, but far too long."
PAIRS = ("A man is playing a guitar.", "Someone plays an instrument.")
DEFAULT = ("SST-2, low, b_v only", "SST-2, low, b_q only", "SST-2, low, b_k only")
"""Samples that the page opens with: the two candidates that act, and the one that is null, which is the head alone."""


@dataclass(frozen=True)
class Chosen:
    """Fine-tune that is asked."""

    opened: Opened
    name: str
    """Short name, unique among those that are asked."""
    colour: str
    model: str
    """Name by which its base model is found."""

    @property
    def source(self) -> Source:
        """File or upload that holds it."""
        assert self.opened.source is not None
        return self.opened.source

    @property
    def adapted(self) -> bool:
        """Whether it left an adapter instead of biases."""
        return method_of(self.opened.meta.mode).adapter is not None


@dataclass(frozen=True)
class Setup:
    """Fine-tunes, and the task by whose head they answer."""

    runs: tuple[Chosen, ...]
    task: str
    pairs: bool
    prompt: PromptSpec | None = None
    """Prompt of a language model's task; None: a head answers."""

    @property
    def title(self) -> str:
        """Title of the task."""
        return TASKS[self.task].title if self.task in TASKS else self.task

    @property
    def trained(self) -> str:
        """What these fine-tunes trained besides their heads, for sentences."""
        adapted = {run.adapted for run in self.runs}
        return "biases" if adapted == {False} else "adapters" if adapted == {True} else "biases or adapters"


def setup(dark: bool) -> Setup | None:
    """Draw the choice of fine-tunes; None, after saying why, where none of them can be asked."""
    opened = pick_many(
        "Fine-tunes",
        TRY_CHOICE,
        default=_default,
        most=MOST_RUNS,
        help="Bundled samples, finished runs of this machine and what you upload. The first gives the verdict.",
    )
    heads = {one.title: can_answer(one.source.read()) for one in opened if one.source is not None}
    if not any(heads.values()):
        st.info(
            "None of these can be asked: a snapshot answers if it holds the head that was trained with it, as those of "
            "the samples and of all fine-tunes of this lab do. Imported biases have none.",
            icon=":material/quiz:",
        )
        return None
    tasks = list(dict.fromkeys(task for held in heads.values() for task in held))
    task = tasks[0]
    if len(tasks) > 1:
        forget_unless(TASK, tasks)
        with page.control("choose", "try-task"):
            task = str(  # of files, so no control whose options are Markdown
                st.selectbox("Task that they are asked about", tasks, key=TASK, bind="query-params", width=320)
            )
    asked = [one for one in opened if task in heads[one.title]]
    what = "head" if prompt_of(asked[0].meta, task) is None else "prompt"
    report_gone([one.title for one in opened if one not in asked], f"They have no {what} for {plain(task)}.")
    runs = _named(asked, dark)
    if not runs:
        return None
    known = (reads_pairs(one.meta, task) for one in asked)
    pairs = next((pair for pair in known if pair is not None), False)
    return Setup(tuple(runs), task, pairs, prompt_of(runs[0].opened.meta, task))


def forget_unless(key: str, options: Sequence[str]) -> None:
    """Forget what a control held, before it is drawn, where that is no option any more."""
    if st.session_state.get(key) not in (None, *options):
        del st.session_state[key]


def sentences(setup: Setup) -> tuple[list[str], list[str] | None]:
    """Draw the fields for sentences, one a line; return them, and the second ones of pairs."""
    with page.control("choose", "try-text", horizontal=True):
        first = st.text_area(
            "First sentences, one a line" if setup.pairs else "Sentences, one a line",
            PAIRS[0] if setup.pairs else FIRST,
            max_chars=MOST_CHARACTERS,
            height=68,
            key=f"{TEXT}_a" if setup.pairs else TEXT,
            bind="query-params",
            persist_state="page",
            width=560,
        )
        second = None
        if setup.pairs:
            second = st.text_area(
                "Second sentences, one a line",
                PAIRS[1],
                max_chars=MOST_CHARACTERS,
                height=68,
                key=PAIR,
                bind="query-params",
                persist_state="page",
                width=560,
            )
    texts = _lines(first)
    return texts, None if second is None else _lines(second)


def _lines(text: str | None) -> list[str]:
    lines = [line.strip() for line in (text or "").splitlines() if line.strip()]
    if len(lines) > MOST_TEXTS:
        st.caption(f"Only the first {MOST_TEXTS} lines are read.")
    return lines[:MOST_TEXTS]


def _default(sources: list[Source]) -> list[str]:
    """Take the samples of one task that differ in their term; else the first that can answer."""
    titles = [source.title for source in sources]
    if found := [title for title in DEFAULT if title in titles]:
        return found
    for source in sources[:20]:
        try:
            if can_answer(source.read()):
                return [source.title]
        except UserError:
            continue
    return titles[:1]


def _named(opened: Sequence[Opened], dark: bool) -> list[Chosen]:
    """Give each fine-tune a short name and a colour, and find its base model; what cannot be asked here is told."""
    runs = []
    names = [short_name(one.meta) for one in opened]
    for one, name in zip(opened, names, strict=True):
        if (why_not := _not_whole(one)) is not None:
            st.caption(f":material/block: {plain(one.title)}: {plain(why_not)}.")
            continue
        info = one.meta.model
        model = info.folder or (f"{info.id}@{info.revision}" if info.revision else info.id)
        try:
            locate(page.model_of_page(model), local_only=True)
        except UserError as error:
            page.report(error, f"{plain(one.title)} cannot be asked here")
            continue
        unique = name if names.count(name) == 1 else f"{name}, {one.title}"
        runs.append(Chosen(one, unique, _colour(one, dark), model))
    return runs


def _not_whole(one: Opened) -> str | None:
    """Say why a fine-tune cannot be put back on its base model; None if it can."""
    row = method_of(one.meta.mode)
    if row.adapter is None:
        return "its weights changed too, which no snapshot holds" if row.beyond_biases else None
    path = None if one.source is None else one.source.path
    if path is None or not (adapter_beside(path) / CONFIG).is_file():
        return "its adapter is not beside it, as that of a run of this machine is"
    try:
        require_methods(one.meta.mode)
    except UserError as error:
        return str(error)
    return None


def _colour(one: Opened, dark: bool) -> str:
    """Colour of the term that it trained; of several, and of a method that trains no biases, the page's ink."""
    terms = one.meta.trained_terms
    return style.TERM_COLOURS[terms[0]] if len(terms) == 1 else style.ink(dark)
