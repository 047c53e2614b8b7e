"""Work of fine-tunes in floating-point operations, counted before they start and without torch.

A token costs 2 operations per weight forward, 2 more backward through frozen weights, and again 2 where weights are
trained. Embeddings, attention over pairs of tokens and the head are left out: for the texts here they are a few
percent. The counts order banks and, divided by a measured rate, forecast hours.
"""

from __future__ import annotations

from dataclasses import dataclass

from beft_core.architectures.layout import Layout
from beft_core.config import RunConfig
from beft_core.tasks.registry import get_task
from beft_core.training.estimate.count import count_steps


@dataclass(frozen=True)
class TextSize:
    """Size of a task's texts."""

    tokens: float
    """Mean number of tokens of an example."""
    validation: int
    """Number of validation examples."""
    train: int | None = None
    """Number of all training examples, without those that a run sets aside."""


UNKNOWN = TextSize(40, 1_000)
"""Size that is taken of a table of the user's own."""
SIZES: dict[str, TextSize] = {
    # Tokens: means over the first 1,500 training examples in BERT's uncased vocabulary; of tasks that were not at hand
    # when this was counted (QQP, QNLI, MNLI, WNLI and those that are only prompted) they are estimates.
    "sst2": TextSize(13, 872, 67_349),
    "cola": TextSize(13, 1_043, 8_551),
    "mrpc": TextSize(53, 408, 3_668),
    "stsb": TextSize(21, 1_500, 5_749),
    "qqp": TextSize(30, 40_430, 363_846),
    "qnli": TextSize(50, 5_463, 104_743),
    "rte": TextSize(71, 277, 2_490),
    "mnli": TextSize(40, 9_815, 392_702),
    "wnli": TextSize(37, 71, 635),
    "cb": TextSize(82, 56, 250),
    "wic": TextSize(23, 638, 5_428),
    "boolq": TextSize(128, 3_270, 9_427),
    "wsc": TextSize(40, 104, 554),
    "multirc": TextSize(330, 4_848, 27_243),
    "copa": TextSize(15, 100, 400),
    "record": TextSize(250, 10_000, 100_730),
    "squad": TextSize(180, 10_570, 87_599),
    "drop": TextSize(280, 9_536, 77_409),
    "demo-sentiment": TextSize(14, 500, 4_000),
    "demo-similarity": TextSize(20, 500, 4_000),
    "demo-entailment": TextSize(20, 500, 4_000),
    "demo-acceptability": TextSize(10, 500, 4_000),
}
"""Sizes by the name of a task, without the prefix of prompted tasks."""
PROMPT_TOKENS = 15
"""Tokens that a prompt adds to a text, about."""
LONGEST = 5
"""Times as many tokens as the mean that a task's longest prompt is taken to have: of SST-2 it has 70, where the mean is
about 28.
"""
FORWARD = 2
"""Operations per weight and token of a forward pass."""


def weights(layout: Layout) -> int:
    """Count the weights of the layers that multiply every token: of attention 4 h^2 per layer, of the MLP 2 h times its
    width.
    """
    hidden = layout.hidden_size
    inner = next((slot.width for slot in (*layout.slots, *layout.addable) if slot.term == "mlp_in"), 4 * hidden)
    return layout.layers * (4 * hidden**2 + 2 * hidden * inner)


def text_size(config: RunConfig) -> TextSize:
    """Look up how long the texts of a run are, cut at its longest length, and how many it is validated on, which are
    those that it sets aside where it does.
    """
    own = config.train_file is not None
    size = UNKNOWN if own else SIZES.get(config.task.removeprefix("prompt-"), UNKNOWN)
    prompted = config.prompt is not None if own else get_task(config.task).prompt is not None
    tokens = size.tokens + PROMPT_TOKENS * prompted
    validation = config.hold_out or size.validation
    train = None if size.train is None else max(0, size.train - (config.hold_out or 0))
    return TextSize(min(tokens, config.max_length), min(validation, config.n_eval or validation), train)


def longest(config: RunConfig) -> int:
    """Estimate the tokens of the longest example of a resolved run, by the mean of its task's prompts; of texts, which
    are cut there, and of prompts to a table of the user's own it is the most that the run allows.
    """
    if config.train_file is not None or get_task(config.task).prompt is None:
        return config.max_length
    return min(config.max_length, round(LONGEST * text_size(config).tokens))


def work(config: RunConfig, model_weights: int, train_examples: int | None) -> float | None:
    """Count the operations of a resolved fine-tune with its evaluation; None where examples or epochs are not known.

    ``model_weights``: of :func:`weights`; ``train_examples``: number of them.
    """
    size, per_token = text_size(config), FORWARD * model_weights
    steps = count_steps(config, train_examples)
    if steps is None:
        return None
    trained = steps * config.batch_size * size.tokens * per_token * (3 if config.method.changes_weights else 2)
    times = {"epoch": max(1, config.epochs or 1), "last": 1, "never": 0}[config.evaluate]
    validated = size.validation * size.tokens * per_token * times
    fisher = 0.0
    if config.fisher and train_examples:
        fisher = min(config.fisher_examples or train_examples, train_examples) * size.tokens * per_token * 2
    return trained + validated + fisher


def order(config: RunConfig) -> float:
    """Rank a fine-tune by its work per weight, to take the longest first; one whose length is not known counts as the
    longest of all.
    """
    of_one = work(config, 1, config.n_train or text_size(config).train)
    return float("inf") if of_one is None else of_one
