"""Grouping of a sweep's runs into those that are trained in one pass: those that share a model, a task and all but what
a run owns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

from beft_core.adapter_methods import Wrapped
from beft_core.architectures.layout import Layout
from beft_core.config import RunConfig
from beft_core.sweeps.planning import work
from beft_core.training.preconditions import stands_alone

MAX_AT_ONCE = {"cpu": 16, "cuda": 128, "mps": 16}
"""Most runs of a bank, by device. A CPU has no idle cores to fill, and small banks leave finished work behind
sooner.
"""
KEPT = {"plain": (12, 3), "gated": (16, 5)}
"""Tensors that a layer keeps for the backward pass, by its MLP: so many as wide as a hidden state, so many as the MLP.

A gated MLP keeps gate, its activation, values and their product, and such layers normalise twice as often.
"""
LEAST_AT_ONCE = 4
"""Fewest runs of a bank that is made smaller so that several workers have something to do."""
ENOUGH_BANKS = 4
"""Banks for each worker from which on none has to be made smaller: whoever is done first takes the next."""
SHARE_OF_MEMORY = 0.7
"""Share of the free memory that a bank may take when a sweep is planned."""


def group(
    configs: Sequence[RunConfig], most: int | Callable[[RunConfig], int], workers: int = 1
) -> list[list[RunConfig]]:
    """Split resolved runs into banks of at most ``most``, or of at most what each of its runs allows.

    Runs of similar length share a bank, so that it does not empty early; runs that train weights stand alone, and those
    of LoRA with others of the same rank, targets and layers. Where there are few banks for so many ``workers``, each
    gets its part of every group of runs that could share one. The bank with most work comes first: whoever works beside
    others would else wait for it alone at the end.
    """
    groups: dict[tuple[object, ...], list[RunConfig]] = {}
    for number, config in enumerate(configs):
        alone = None if config.method.shares_pass else number
        groups.setdefault((config.shared_key(), alone), []).append(config)
    counts = [
        -(-len(members) // (most if isinstance(most, int) else min(map(most, members)))) for members in groups.values()
    ]
    few = sum(counts) < ENOUGH_BANKS * workers
    banks = []
    for members, least in zip(groups.values(), counts, strict=True):
        members = sorted(members, key=lambda c: (c.n_train is None, c.n_train or 0, c.epochs or 0), reverse=True)
        even = -(-least // workers) * workers
        count = max(least, min(even, len(members) // LEAST_AT_ONCE)) if few else least
        size = -(-len(members) // count)  # banks of equal size: a remainder of one run costs a whole pass
        banks += [members[start : start + size] for start in range(0, len(members), size)]
    return sorted(banks, key=lambda bank: sum(map(work.order, bank)), reverse=True)


def bytes_per_run(layout: Layout, config: RunConfig, device: str, longest: int | None = None) -> int:
    """Upper bound of the memory, in bytes, that one more run takes while it trains: activations of a batch of longest
    examples, and what is trained.

    Counted, not measured: tensors of the hidden size and of the MLP's per token and layer (:data:`KEPT`), at two bytes
    a number in bfloat16, the attention weights, which only a CPU stores, and what changed matrices are multiplied with.
    OPT's shapes took half of that on a GPU, in bfloat16, with biases. ``longest``: tokens of the longest example; None:
    as many as the run allows.
    """
    first = next((slot for slot in (*layout.slots, *layout.addable) if slot.term == "mlp_in"), None)
    inner = 4 * layout.hidden_size if first is None else first.width
    hidden, wide = KEPT["gated" if first is not None and "gate" in first.module else "plain"]
    tokens = config.max_length if longest is None else min(longest, config.max_length)
    size = 2 if config.precision == "bfloat16" else 4
    per_token = (hidden * layout.hidden_size + wide * inner) * size
    if device == "cpu":
        per_token += layout.heads * tokens * 12
    wrapped = _wrapped(layout, config, inner)
    activations = config.batch_size * tokens * layout.layers * per_token
    activations += config.batch_size * tokens * sum(one.inputs + (config.rank or 0) for one in wrapped) * size
    if config.method.shares_pass:  # of each row its run's own factors, whatever its length
        factors = (config.rank or 0) * sum(one.inputs + one.outputs for one in wrapped)
        activations += config.batch_size * factors * size
    values = sum(slot.width for slot in layout.slots)
    if config.method.adapter is not None:
        values += config.method.adapter.count(wrapped, config, layout)
    return activations + values * 4 * 8  # values, gradients, two moments, temporaries


def _wrapped(layout: Layout, config: RunConfig, inner: int) -> list[Wrapped]:
    """List the matrices that an adapter changes, none smaller than it is: what several terms share counts for each.

    ``inner``: width of the MLP.
    """
    adapter = config.method.adapter
    if adapter is None:
        return []
    widest = max(layout.hidden_size, layout.heads * layout.head_dim)
    return [
        Wrapped(slot.term, slot.width, inner if slot.term == "mlp_out" else widest)
        for slot in (*layout.slots, *layout.addable)
        if slot.term in (config.targets or adapter.targets) and (config.layers is None or slot.layer in config.layers)
    ]


def beside_model(free_bytes: int, layout: Layout, config: RunConfig, device: str, parameters: int) -> int:
    """Compute how many bytes of the free memory are left once the model is loaded: a sweep is planned before that.

    ``parameters``: of the model, at four bytes each, or two of a language model that a GPU holds in bfloat16.
    """
    halved = device == "cuda" and layout.lm is not None and config.precision == "bfloat16"
    return max(0, free_bytes - parameters * (2 if halved else 4))


def most_runs(layout: Layout, config: RunConfig, device: str, free_bytes: int, longest: int | None = None) -> int:
    """Number of runs that can share a bank: those that fit into memory at once, at least one.

    A run that can share no pass with others is alone. ``longest``: see :func:`bytes_per_run`.
    """
    if stands_alone(config, layout):
        return 1
    fit = int(free_bytes * SHARE_OF_MEMORY) // bytes_per_run(layout, config, device, longest)
    return max(1, min(MAX_AT_ONCE[device], fit))


def as_trained(config: RunConfig, steps: int | None, checkpoints: int) -> RunConfig:
    """Configuration of a run as the sweep trains it: a probe is followed, to see when its selection settles."""
    if not (config.method.every_bias and config.fisher) or steps is None:
        return config
    return dataclasses.replace(config, trajectory_every=max(1, steps // checkpoints))
