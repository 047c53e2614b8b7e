"""Registry of every task by name: columns, labels, metrics, sizes and hyper-parameters. Data only; reading is
elsewhere. Prompted tasks are those of :mod:`beft_core.tasks.prompts.tasks`.

Regimes, learning rates and epochs are the authors' settings (paper, section 3.1, and their code); tasks that they
leave out (WNLI, BoolQ, the demos) get the middle of the range. The paper's metric comes first: accuracy, F1 (QQP,
MRPC), Matthews correlation (CoLA), Spearman (STS-B), macro F1 (CB).
"""

from __future__ import annotations

import difflib

from beft_core.errors import UserError
from beft_core.tasks.prompts.tasks import PROMPTED
from beft_core.tasks.spec import Quick, TaskSpec

REGIMES: tuple[str, ...] = ("low", "medium", "high", "all")
"""Names of the amounts of training examples."""


HUB_REVISIONS: dict[str, str | None] = {
    "nyu-mll/glue": None,
    # The data set itself is a script, which datasets no longer runs; this branch is its Parquet conversion.
    "aps/super_glue": "refs/convert/parquet",
    "rajpurkar/squad": None,
    "EleutherAI/drop": "refs/convert/parquet",  # a script too
}
"""Revisions to read of the data sets on the Hub."""


def _regimes(low: int | None = None, medium: int | None = None, high: int | None = None) -> dict[str, int | None]:
    return {"low": low, "medium": medium, "high": high, "all": None}


ENTAILMENT = ("entailment", "not_entailment")
_GLUE = "nyu-mll/glue"
_SUPERGLUE = "aps/super_glue"
_JSONL = {"validation": "val.jsonl"}

_SPECS = (
    TaskSpec(
        "sst2",
        "SST-2: sentiment of movie reviews",
        "glue",
        "sentence",
        None,
        "label",
        ("negative", "positive"),
        ("accuracy",),
        _regimes(1000, 5000, 11000),
        4e-4,
        16,
        Quick(1e-2, 6),
        "SST-2",
        hub=(_GLUE, "sst2"),
        epochs_larger=30,
    ),
    TaskSpec(
        "cola",
        "CoLA: is the sentence acceptable English",
        "glue",
        "sentence",
        None,
        "label",
        ("unacceptable", "acceptable"),
        ("mcc", "accuracy"),
        _regimes(1710, 3420, 4275),
        7e-4,
        16,
        Quick(1e-2, 10),
        "CoLA",
        columns=("source", "label", "star", "sentence"),
        hub=(_GLUE, "cola"),
    ),
    TaskSpec(
        "mrpc",
        "MRPC: do two sentences say the same",
        "glue",
        "#1 String",
        "#2 String",
        "Quality",
        ("not_equivalent", "equivalent"),
        ("f1", "accuracy"),
        _regimes(367, 1191, 1835),
        7e-4,
        60,
        Quick(5e-3, 10),
        "MRPC",
        hub=(_GLUE, "mrpc"),
        hub_columns={"#1 String": "sentence1", "#2 String": "sentence2", "Quality": "label"},
    ),
    TaskSpec(
        "stsb",
        "STS-B: how similar are two sentences, 0 to 5",
        "glue",
        "sentence1",
        "sentence2",
        "score",
        None,
        ("spearman", "pearson"),
        _regimes(287, 1150, 2300),
        1e-4,
        60,
        Quick(1e-2, 15),
        "STS-B",
        hub=(_GLUE, "stsb"),
        hub_columns={"score": "label"},
    ),
    TaskSpec(
        "qqp",
        "QQP: are two questions the same",
        "glue",
        "question1",
        "question2",
        "is_duplicate",
        ("not_duplicate", "duplicate"),
        ("f1", "accuracy"),
        _regimes(1000, 5000, 9000),
        4e-4,
        30,
        Quick(5e-3, 6),
        "QQP",
        hub=(_GLUE, "qqp"),
        hub_columns={"is_duplicate": "label"},
        # Some lines of the official train.tsv are cut short; every reader of it, the Hub's too, drops them.
        skips_ragged_rows=True,
    ),
    TaskSpec(
        "qnli",
        "QNLI: does the sentence answer the question",
        "glue",
        "question",
        "sentence",
        "label",
        ENTAILMENT,
        ("accuracy",),
        _regimes(1000, 5000, 9000),
        1e-4,
        30,
        Quick(5e-3, 6),
        "QNLI",
        hub=(_GLUE, "qnli"),
        about="sentence",
    ),
    TaskSpec(
        "rte",
        "RTE: does the first text entail the second",
        "glue",
        "sentence1",
        "sentence2",
        "label",
        ENTAILMENT,
        ("accuracy",),
        _regimes(300, 900, 1200),
        1e-3,
        30,
        Quick(5e-3, 15),
        "RTE",
        hub=(_GLUE, "rte"),
        about="sentence1",
    ),
    TaskSpec(
        "mnli",
        "MNLI: entailment, neutral or contradiction",
        "glue",
        "sentence1",
        "sentence2",
        "gold_label",
        ("entailment", "neutral", "contradiction"),
        ("accuracy",),
        _regimes(1000, 5000, 9000),
        1e-4,
        30,
        Quick(5e-3, 6),
        "MNLI",
        {"matched": "dev_matched.tsv", "mismatched": "dev_mismatched.tsv"},
        # The columns between the sentences and the label differ: train has one annotator's label, dev five.
        hub=(_GLUE, "mnli"),
        hub_columns={"sentence1": "premise", "sentence2": "hypothesis", "gold_label": "label"},
        about="sentence1",
    ),
    TaskSpec(
        "wnli",
        "WNLI: what does the pronoun refer to",
        "glue",
        "sentence1",
        "sentence2",
        "label",
        ("not_entailment", "entailment"),
        ("accuracy",),
        _regimes(),
        4e-4,
        30,
        Quick(5e-3, 10),
        "WNLI",
        hub=(_GLUE, "wnli"),
        about="sentence1",
    ),
    TaskSpec(
        "cb",
        "CB: does the text commit to the hypothesis",
        "superglue",
        "premise",
        "hypothesis",
        "label",
        ("entailment", "contradiction", "neutral"),
        ("f1_macro", "accuracy"),
        _regimes(250),
        1e-3,
        60,
        Quick(5e-3, 20),
        "CB",
        _JSONL,
        hub=(_SUPERGLUE, "cb"),
        about="premise",
    ),
    TaskSpec(
        "wic",
        "WiC: is a word used in the same sense",
        "superglue",
        "word+sentence1",
        "sentence2",
        "label",
        ("false", "true"),
        ("accuracy",),
        _regimes(1000),
        1e-3,
        16,
        Quick(5e-3, 10),
        "WiC",
        _JSONL,
        hub=(_SUPERGLUE, "wic"),
        epochs_larger=30,
        paper_text="sentence1",
    ),
    TaskSpec(
        "boolq",
        "BoolQ: yes or no, after a passage",
        "superglue",
        "question",
        "passage",
        "label",
        ("false", "true"),
        ("accuracy",),
        _regimes(),
        4e-4,
        30,
        Quick(5e-3, 6),
        "BoolQ",
        _JSONL,
        hub=(_SUPERGLUE, "boolq"),
        about="passage",
    ),
    TaskSpec(
        "demo-sentiment",
        "Demo: sentiment of made-up reviews",
        "demo",
        "text",
        None,
        "label",
        ("negative", "positive"),
        ("accuracy",),
        _regimes(300, 1000, 3000),
        4e-4,
        30,
        Quick(1e-2, 6),
    ),
    TaskSpec(
        "demo-similarity",
        "Demo: similarity of made-up scenes, 0 to 5",
        "demo",
        "text",
        "text_pair",
        "label",
        None,
        ("spearman", "pearson"),
        _regimes(300, 1000, 3000),
        4e-4,
        30,
        Quick(5e-3, 10),
    ),
    TaskSpec(
        "demo-entailment",
        "Demo: does the first sentence entail the second",
        "demo",
        "text",
        "text_pair",
        "label",
        ENTAILMENT,
        ("accuracy",),
        _regimes(300, 1000, 3000),
        4e-4,
        30,
        Quick(1e-2, 10),
    ),
    TaskSpec(
        "demo-acceptability",
        "Demo: is the sentence acceptable English",
        "demo",
        "text",
        None,
        "label",
        ("unacceptable", "acceptable"),
        ("mcc", "accuracy"),
        _regimes(300, 1000, 3000),
        4e-4,
        30,
        Quick(1e-2, 10),
    ),
)

TASKS: dict[str, TaskSpec] = {spec.name: spec for spec in (*_SPECS, *PROMPTED)}
"""Tasks by name."""
HEAD_TASKS: dict[str, TaskSpec] = {spec.name: spec for spec in _SPECS}
"""Tasks that a head answers, by name; the others are prompts for language models."""


def get_task(name: str) -> TaskSpec:
    """Look up a task by its name; ``SST-2`` and ``sst2`` are the same. Others raise UserError with close matches."""
    plain = name.lower().replace("_", "-")
    for key in (plain, plain.replace("-", "")):
        if key in TASKS:
            return TASKS[key]
    close = difflib.get_close_matches(plain, TASKS, n=2)
    raise UserError(f"got the task {name!r}", f"one of {', '.join(TASKS)}", " or ".join(close))
