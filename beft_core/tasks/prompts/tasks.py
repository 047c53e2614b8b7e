"""The eleven prompted tasks of the paper's Table 5, as data: prompts, candidates and the authors' settings.

Prompts, rates, epochs and the batch are those of the authors' scripts, a fork of MeZO
(https://github.com/princeton-nlp/MeZO, https://arxiv.org/abs/2305.17333, appendix). They draw 1,000 training examples,
or take all where there are fewer (CB, COPA, WSC).
"""

from __future__ import annotations

from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.spec import Quick, TaskSpec

PAPER_SIZE = 1000
"""Number of training examples of the authors."""
PAPER_LR, PAPER_EPOCHS = 1e-3, 5
QUICK_LR = 1e-2
"""Learning rate for small models: measured on Gemma 3 270M, for b_v, b_q and b_k alike."""
PAPER_PRESET = {"schedule": "linear", "adam_epsilon": 1e-8, "adam_epsilon_at": "after"}
"""Settings of transformers' Trainer, by which the authors train these tasks; the ``paper`` preset has others."""

_SUPERGLUE, _GLUE = "aps/super_glue", "nyu-mll/glue"
_JSONL = {"validation": "val.jsonl"}
_NO_YES = ("No", "Yes")


def _task(
    name: str,
    title: str,
    source: str,
    folder: str,
    hub: tuple[str, str],
    prompt: PromptSpec,
    *,
    label: str = "label",
    labels: tuple[str, ...] | None = None,
    metrics: tuple[str, ...] = ("accuracy",),
    size: int | None = PAPER_SIZE,
    lr: float = PAPER_LR,
    quick_epochs: int = 3,
    evals: dict[str, str] | None = None,
    train: str | None = None,
) -> TaskSpec:
    return TaskSpec(
        name=f"prompt-{name}",
        title=f"{title} (prompted)",
        source=source,
        text="",
        text_pair=None,
        label=label,
        labels=labels,
        metrics=metrics,
        regimes={"low": size, "medium": None, "high": None, "all": None},
        lr=lr,
        epochs=PAPER_EPOCHS,
        quick=Quick(QUICK_LR, quick_epochs),
        folder=folder,
        evals=evals or _JSONL,
        train_file=train,
        hub=hub,
        objective="candidates" if prompt.trained_by == "candidates" else "generation",
        prompt=prompt,
        paper_preset=PAPER_PRESET,
    )


PROMPTED: tuple[TaskSpec, ...] = (
    _task(
        "sst2",
        "SST-2: sentiment of movie reviews",
        "glue",
        "SST-2",
        (_GLUE, "sst2"),
        PromptSpec("{sentence|strip} It was", ("terrible", "great")),
        labels=("negative", "positive"),
        evals={"validation": "dev.tsv"},
    ),
    _task(
        "rte",
        "RTE: does the first text entail the second",
        "glue",
        "RTE",
        (_GLUE, "rte"),
        PromptSpec(
            '{sentence1}\nDoes this mean that "{sentence2}" is true? Yes or No?\n', ("Yes", "No"), about="sentence1"
        ),
        labels=("entailment", "not_entailment"),
        quick_epochs=5,
        evals={"validation": "dev.tsv"},
    ),
    _task(
        "cb",
        "CB: does the text commit to the hypothesis",
        "superglue",
        "CB",
        (_SUPERGLUE, "cb"),
        PromptSpec(
            'Suppose {premise} Can we infer that "{hypothesis}"? Yes, No, or Maybe?\n',
            ("Yes", "No", "Maybe"),
            about="premise",
        ),
        labels=("entailment", "contradiction", "neutral"),
        size=None,
        lr=1e-2,
        quick_epochs=10,
    ),
    _task(
        "boolq",
        "BoolQ: yes or no, after a passage",
        "superglue",
        "BoolQ",
        (_SUPERGLUE, "boolq"),
        PromptSpec("{passage} {question|question_mark|capital}\n", _NO_YES, about="passage"),
        labels=("false", "true"),
    ),
    _task(
        "wsc",
        "WSC: does the pronoun refer to the name",
        "superglue",
        "WSC",
        (_SUPERGLUE, "wsc.fixed"),
        PromptSpec(
            '{text}\nIn the previous sentence, does the pronoun "{span2_text|lower}" refer to {span1_text}? '
            "Yes or No?\n",
            _NO_YES,
            about="text",
        ),
        labels=("false", "true"),
        size=None,
        lr=1e-2,
        quick_epochs=5,
    ),
    _task(
        "wic",
        "WiC: is a word used in the same sense",
        "superglue",
        "WiC",
        (_SUPERGLUE, "wic"),
        PromptSpec(
            'Does the word "{word}" have the same meaning in these two sentences? Yes, No?\n{sentence1}\n{sentence2}\n',
            _NO_YES,
        ),
        labels=("false", "true"),
        quick_epochs=5,
    ),
    _task(
        "multirc",
        "MultiRC: is an answer to a question about a text right",
        "superglue",
        "MultiRC",
        (_SUPERGLUE, "multirc"),
        PromptSpec(
            '{paragraph}\nQuestion: {question}\nI found this answer "{answer}". Is that correct? Yes or No?\n',
            _NO_YES,
            about="paragraph",
        ),
        labels=("false", "true"),
    ),
    _task(
        "copa",
        "COPA: which of two is the cause or effect",
        "superglue",
        "COPA",
        (_SUPERGLUE, "copa"),
        PromptSpec(
            "{premise|no_full_stop} {question|conjunction}",
            candidate_columns=("choice1", "choice2"),
            continuation="{candidate|lower_first_word}",
            trained_by="language_model",
        ),
        size=None,
        lr=1e-4,
        quick_epochs=5,
    ),
    _task(
        "record",
        "ReCoRD: which name of a news text was left out",
        "superglue",
        "ReCoRD",
        (_SUPERGLUE, "record"),
        PromptSpec(
            "{passage|highlights}\n-",
            candidate_columns=("entities",),
            continuation="{query}",
            placeholder="@placeholder",
            about="passage",
            trained_by="language_model",
        ),
        label="answers",
        lr=1e-4,
        quick_epochs=2,
    ),
    _task(
        "squad",
        "SQuAD 1.1: answer from a Wikipedia text",
        "qa",
        "SQuAD",
        ("rajpurkar/squad", "plain_text"),
        PromptSpec(
            "Title: {title}\nContext: {context}\nQuestion: {question|strip}\nAnswer:",
            about="context",
            trained_by="language_model",
        ),
        label="answers",
        metrics=("answer_f1", "exact_match"),
        quick_epochs=2,
        evals={"validation": "dev-v1.1.json"},
        train="train-v1.1.json",
    ),
    _task(
        "drop",
        "DROP: count, add or compare in a text",
        "qa",
        "DROP",
        ("EleutherAI/drop", "default"),
        PromptSpec(
            "Passage: {passage}\nQuestion: {question|strip}\nAnswer:", about="passage", trained_by="language_model"
        ),
        label="answers",
        metrics=("answer_f1", "exact_match", "drop_f1", "drop_exact_match"),
        quick_epochs=2,
        evals={"validation": "drop_dataset_dev.json"},
        train="drop_dataset_train.json",
    ),
)
"""Prompted tasks."""
