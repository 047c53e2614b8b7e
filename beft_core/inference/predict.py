"""Prediction of several fine-tunes for sentences of one's own, in as few passes as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from beft_core.config import RunConfig
from beft_core.errors import UserError
from beft_core.inference.adapters import adapter_answer
from beft_core.inference.answers import Answer, short_name
from beft_core.inference.heads import labels_of, prompt_of, prompted_task, reads_pairs, shared_task
from beft_core.inference.logits import Banks, in_banks, row_logits, variant_logits
from beft_core.inference.rows import RowAnswer, Rows
from beft_core.inference.variants import Variant, changed_layers
from beft_core.merging.config import recorded
from beft_core.models.biases import LoadedModel
from beft_core.models.placement import is_spread
from beft_core.snapshots.snapshot import Snapshot
from beft_core.tasks.examples import Examples
from beft_core.tasks.own_table import names_of_classes
from beft_core.tasks.prompts.spec import PromptSpec, continued
from beft_core.training import inputs
from beft_core.training.batches.encoded import Encoded, encode, join, over_one_table
from beft_core.training.objectives.candidates import Candidates
from beft_core.training.objectives.registry import objective_of
from beft_core.training.precision import Precision, pick_device
from beft_core.training.preconditions import head_of, outputs_of

Loader = Callable[[RunConfig], LoadedModel]
"""Function that gives the base model of a configuration."""


def predict(
    snapshots: Sequence[Snapshot],
    texts: Sequence[str],
    text_pairs: Sequence[str] | None = None,
    *,
    task: str | None = None,
    names: Sequence[str] | None = None,
    apart: Sequence[int] | None = None,
    config: RunConfig | None = None,
    loader: Loader = inputs.load,
    banks: Banks = in_banks,
) -> list[Answer]:
    """Ask fine-tunes of one base model about texts, or pairs of texts.

    Of a prompted task a text stands in the first column of its prompt, the second one of a pair in the other. Each
    fine-tune reads as much of a text as its training had it.

    Args:
        task: whose head is asked; by default the only one that all have.
        names: of the fine-tunes in the answers; by default what each trained.
        apart: numbers of the examples that are taken apart layer by layer; by default all.
        config: model, device and precision are read from it; by default the model is the one that the snapshots name.
        loader: gives the base model.
        banks: puts the fine-tunes beside it.

    Raises:
        UserError: no head that all have, texts that do not suit it, other base models, or changed weights.
    """
    task = shared_task(snapshots, task)
    examples = checked(snapshots, task, texts, text_pairs)
    config = config or RunConfig(**recorded(snapshots, task), device="cpu")
    model = loader(config)
    precision = placed(model, config)
    spec = prompted_task(snapshots[0].meta, task)
    labels = None if spec is None or spec.prompt is None else spec.prompt.candidates

    def encoded_to(length: int) -> Encoded:
        if spec is None:
            return encode(model.tokenizer, examples, length)
        return objective_of(spec).encode(model, examples, length)

    named = list(names) if names is not None else [short_name(one.meta) for one in snapshots]
    whole = encoded_to(config.max_length)
    lengths = _own_lengths(snapshots, task, config)
    if int(whole.lengths.max()) <= min(lengths):  # as nearly always: nothing is cut for any of them
        lengths = [config.max_length] * len(lengths)
    found: dict[int, Answer] = {}
    for length in dict.fromkeys(lengths):
        own = [at for at, one in enumerate(lengths) if one == length]
        answers = answers_of(
            [snapshots[at] for at in own],
            task,
            model,
            whole if length == config.max_length else encoded_to(length),
            names=[named[at] for at in own],
            apart=apart,
            labels=labels,
            precision=precision,
            banks=banks,
        )
        found |= zip(own, answers, strict=True)
    return [found[at] for at in range(len(snapshots))]


def _own_lengths(snapshots: Sequence[Snapshot], task: str, config: RunConfig) -> list[int]:
    """List the most tokens that each fine-tune reads of a text: as many as the training of its head for the task had,
    unless the configuration names another number than the snapshots do together.
    """
    if config.max_length != recorded(snapshots, task).get("max_length"):
        return [config.max_length] * len(snapshots)
    return [recorded([one], task).get("max_length", RunConfig.max_length) for one in snapshots]


def predict_rows(
    rows: Rows,
    *,
    max_length: int | None = None,
    config: RunConfig | None = None,
    loader: Loader = inputs.load,
    advance: Callable[[int], None] = lambda rows: None,
    report: Callable[[str], None] = lambda text: None,
) -> list[RowAnswer]:
    """Answer each row by its own fine-tune, rows of all fine-tunes in the same passes of their one base model.

    A row is read under the biases that its fine-tune trained, whichever terms these are, and under its head, whatever
    the task: the logits are those of asking one fine-tune after the other.

    Args:
        rows: texts with their snapshots, as :meth:`beft_core.inference.rows.Rows.checked` makes them.
        max_length: most tokens of a row; by default as many as its own fine-tune had.
        config: model, device and precision are read from it; by default the model is the one that the snapshots name.
        loader: gives the base model.
        advance: is called with the number of rows that were read since.
        report: receives what a user should know: which fine-tunes could not share a pass.

    Raises:
        UserError: a base model with other biases, a prompted task without fixed candidates, or an answer that is not
            finite.
    """
    config = config or RunConfig(**recorded(rows.snapshots), device="cpu")
    model = loader(config)
    precision = placed(model, config)
    variants = [Variant(snapshot, task) for snapshot, task in zip(rows.snapshots, rows.tasks, strict=True)]
    of = np.array(rows.of, np.int64)
    found: dict[int, np.ndarray] = {}
    for members, encoded in _in_sets(rows, model, config, max_length):
        asked, numbers = np.unique(of[members], return_inverse=True)
        here = [variants[number] for number in asked]
        logits, alone = row_logits(model, here, encoded, numbers, precision=precision, advance=advance)
        for number in alone:
            report(f"{here[number].snapshot.source} was read by itself: its biases cannot stand beside those of others")
        found |= dict(zip(members.tolist(), logits, strict=True))
    about = [_labels_and_outputs(snapshot, task) for snapshot, task in zip(rows.snapshots, rows.tasks, strict=True)]
    answers = []
    for row, number in enumerate(rows.of):
        labels, outputs = about[number]
        own = found[row][:outputs]  # behind them is what other heads have more
        if not np.isfinite(own).all():
            source = rows.snapshots[number].source
            raise UserError(f"row {row + 1}: got an answer of {source} that is not finite", "finite numbers")
        answers.append(RowAnswer(number, rows.tasks[number], labels, own))
    return answers


def placed(model: LoadedModel, config: RunConfig) -> Precision:
    """Put a model on the device of a configuration, ready for its precision. Raises UserError where it is not there."""
    precision = Precision(config.precision, pick_device(config.device))
    here = next(model.backbone.parameters()).device  # going through a model that is there takes as long as a layer
    if here != precision.device and not is_spread(model.backbone):
        model.backbone.to(precision.device)
    precision.prepare(model.backbone)
    return precision


def _in_sets(
    rows: Rows, model: LoadedModel, config: RunConfig, max_length: int | None
) -> list[tuple[np.ndarray, Encoded]]:
    """Tokenise rows, those that can share a pass as one set: the numbers of its rows, int64, and the examples."""
    lengths = [
        max_length or recorded([snapshot], task).get("max_length", config.max_length)
        for snapshot, task in zip(rows.snapshots, rows.tasks, strict=True)
    ]
    specs = [prompted_task(one.meta, task) for one, task in zip(rows.snapshots, rows.tasks, strict=True)]
    alike: dict[tuple[int | None, int, bool], list[int]] = {}
    for row, (number, pair) in enumerate(zip(rows.of, rows.pairs, strict=True)):
        # A head's rows differ in how much of them is read; those of a prompt also in what is written around them.
        own = None if specs[number] is None else number
        alike.setdefault((own, lengths[number], pair is not None), []).append(row)
    sets = []
    for (prompted, length, paired), members in alike.items():
        texts = [rows.texts[row] for row in members]
        pairs = [rows.pairs[row] or "" for row in members] if paired else None
        spec = None if prompted is None else specs[prompted]
        if spec is None:
            sets.append(encode(model.tokenizer, Examples(texts, pairs, np.zeros(len(texts))), length))
        else:
            assert spec.prompt is not None
            sets.append(objective_of(spec).encode(model, _in_prompts(spec.prompt, spec.name, texts, pairs), length))
    by_table: dict[int, tuple[list[int], list[Encoded]]] = {}
    for members, encoded in zip(alike.values(), over_one_table(sets), strict=True):
        numbers, parts = by_table.setdefault(id(encoded.tokens), ([], []))
        numbers += members
        parts.append(encoded)
    return [(np.array(numbers, np.int64), join(parts)) for numbers, parts in by_table.values()]


def _labels_and_outputs(snapshot: Snapshot, task: str) -> tuple[tuple[str, ...] | None, int]:
    """Name the outputs of a snapshot's answers, None of a regression, and count them."""
    prompt = prompt_of(snapshot.meta, task)
    if prompt is not None:
        return prompt.candidates, len(prompt.candidates)
    outputs = outputs_of(head_of(snapshot, task))
    assert outputs is not None
    return labels_of(snapshot.meta, task, outputs), outputs


def ask_prompts(
    snapshots: Sequence[Snapshot],
    prompts: Sequence[str],
    candidates: Sequence[str],
    *,
    task: str,
    names: Sequence[str] | None = None,
    apart: Sequence[int] | None = None,
    config: RunConfig | None = None,
    loader: Loader = inputs.load,
    banks: Banks = in_banks,
) -> list[Answer]:
    """Ask fine-tunes of one base model which of some candidates follows prompts that are written out.

    ``candidates``: the same after each prompt, without the space before them. Everything else is as in :func:`predict`;
    the labels of an answer are the candidates.

    Raises:
        UserError: a task with a head, or of free text; fewer than two candidates, or equal ones; an empty prompt; other
            base models.
    """
    spec = prompted_task(snapshots[0].meta, task)
    if spec is None or spec.prompt is None:
        raise UserError(f"got a prompt for {task}, which a head answers", "a prompted task")
    own = tuple(one.strip() for one in candidates if one.strip())
    if len(own) < 2 or len(set(own)) < len(own):
        raise UserError(f"got {len(own)} candidates, {len(set(own))} of them different", "two or more that differ")
    texts = [prompt.strip(" ") for prompt in prompts]
    if not texts or not all(map(str.strip, texts)):
        raise UserError("got an empty prompt", "a text before the answer", "one with a word in it")
    wholes = [tuple(continued(text, one) for one in own) for text in texts]
    examples = Examples(texts, None, np.zeros(len(texts), np.int64), wholes)
    config = config or RunConfig(**recorded(snapshots, task), device="cpu")
    model = loader(config)
    precision = placed(model, config)
    encoded = Candidates(spec.target).encode(model, examples, config.max_length)
    return answers_of(
        snapshots, task, model, encoded, names=names, apart=apart, labels=own, precision=precision, banks=banks
    )


def answers_of(
    snapshots: Sequence[Snapshot],
    task: str,
    model: LoadedModel,
    encoded: Encoded,
    *,
    names: Sequence[str] | None = None,
    apart: Sequence[int] | None = None,
    labels: tuple[str, ...] | None = None,
    precision: Precision | None = None,
    banks: Banks = in_banks,
) -> list[Answer]:
    """Read tokenised examples under fine-tunes, under the same without what they trained, and without each layer's.

    ``names``, ``apart``: see :func:`predict`; ``labels``: names of the outputs, where the snapshots do not say them;
    ``precision``: float32 on the CPU, or what the model was prepared for; ``banks``: puts fine-tunes beside the model.
    Fine-tunes of biases share their passes; one that left an adapter has passes of its own.
    """
    chosen = np.arange(len(encoded)) if apart is None else np.unique(np.asarray(apart, dtype=np.int64))
    named = list(names) if names is not None else [short_name(one.meta) for one in snapshots]
    adapted = [one.adapter is not None for one in snapshots]
    biases = [(one, name) for one, name, own in zip(snapshots, named, adapted, strict=True) if not own]
    own_biases = _answers_of_biases(biases, task, model, encoded, chosen, labels, precision, banks) if biases else []
    shared = iter(own_biases)
    return [
        adapter_answer(model, one, task, encoded, name=name, labels=labels, apart=chosen, precision=precision)
        if own
        else next(shared)
        for one, name, own in zip(snapshots, named, adapted, strict=True)
    ]


def _answers_of_biases(
    named: Sequence[tuple[Snapshot, str]],
    task: str,
    model: LoadedModel,
    encoded: Encoded,
    chosen: np.ndarray,
    labels: tuple[str, ...] | None,
    precision: Precision | None,
    banks: Banks,
) -> list[Answer]:
    """Read examples under fine-tunes of biases, each with its name, in the same passes; ``chosen``: those examples that
    are taken apart.
    """
    snapshots = [one for one, _ in named]
    layers = [changed_layers(one) if len(chosen) else [] for one in snapshots]
    ends = [end for one in snapshots for end in (Variant(one, task), Variant.before(one, task))]
    put_back = [
        Variant.without_layer(one, task, layer)
        for one, own in zip(snapshots, layers, strict=True)
        if len(own) > 1
        for layer in own
    ]
    reads = [*[np.arange(len(encoded))] * len(ends), *[chosen] * len(put_back)]
    every = variant_logits(model, [*ends, *put_back], encoded, reads=reads, precision=precision, banks=banks)
    logits, taken = every[: len(ends)], every[len(ends) :]
    rows = iter(taken)
    answers = []
    for at, ((one, name), own) in enumerate(zip(named, layers, strict=True)):
        after, before = logits[2 * at], logits[2 * at + 1]
        # Without its only layer, a fine-tune is what it was before.
        without = {layer: next(rows) if len(own) > 1 else before for layer in own}
        outputs = labels or labels_of(one.meta, task, logits.shape[2])
        answers.append(Answer(name, outputs, after, before, without, one.meta.is_prompted(task)))
    return answers


def checked(
    snapshots: Sequence[Snapshot], task: str, texts: Sequence[str], text_pairs: Sequence[str] | None
) -> Examples:
    """Make examples without labels of texts, of a prompted task its prompts.

    Raises UserError where they are empty, or do not suit the task, or the task is not the same for all snapshots.
    """
    if not texts:
        raise UserError("got no text", "one sentence or more")
    asked = {(prompt_of(one.meta, task), outputs_of(head_of(one, task))) for one in snapshots}
    # An output is one class by the names of the first: with others, or in another order, it would be called wrongly.
    classes = {names for one in snapshots if (names := names_of_classes(one.meta.heads.get(task, {})))}
    if len(asked) > 1 or len(classes) > 1:
        raise UserError(
            f"got fine-tunes whose {task} is not one question: other prompts, or heads with other outputs",
            "fine-tunes that answer the same",
            "a call for each, or beft train --name NAME for one of them",
        )
    pairs = next((known for one in snapshots if (known := reads_pairs(one.meta, task)) is not None), None)
    if pairs is not None and pairs != (text_pairs is not None):
        got, expected = ("one text each", "a pair of texts") if pairs else ("pairs of texts", "one text each")
        raise UserError(f"got {got} for {task}", f"{expected}, as its head was trained", "--text-pair" * pairs)
    if text_pairs is not None and len(text_pairs) != len(texts):
        raise UserError(f"got {len(text_pairs)} second texts for {len(texts)} texts", "as many")
    for text in (*texts, *(text_pairs or ())):
        if not text.strip():
            raise UserError("got an empty text", "a sentence", "one with a word in it")
    if (prompt := prompt_of(snapshots[0].meta, task)) is not None:
        return _in_prompts(prompt, task, texts, text_pairs)
    return Examples(list(texts), None if text_pairs is None else list(text_pairs), np.zeros(len(texts)))


def _in_prompts(prompt: PromptSpec, task: str, texts: Sequence[str], text_pairs: Sequence[str] | None) -> Examples:
    """Put texts into the columns of a prompt whose candidates are always the same."""
    if not prompt.candidates or len(prompt.columns) > 2:
        what = f"{len(prompt.columns)} columns" if prompt.candidates else "no fixed candidates"
        raise UserError(
            f"got texts for {task}, whose prompt has {what}",
            "a prompt of one or two columns with candidates",
            "the page Try it, which takes the prompt as it is",
        )
    rows = [
        dict(zip(prompt.columns, (text, *(() if text_pairs is None else (text_pairs[at],))), strict=True))
        for at, text in enumerate(texts)
    ]
    written = [prompt.prompt_of(row) for row in rows]
    candidates = [prompt.continuations(text, row, prompt.candidates) for text, row in zip(written, rows, strict=True)]
    return Examples(written, None, np.zeros(len(texts), np.int64), candidates)
