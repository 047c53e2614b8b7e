"""Conversion between PEFT's BEFT adapters and snapshots, in both directions; numpy only.

PEFT (``peft/tuners/beft``) adds a vector ``beft_bias`` [1, out] to the output of a linear module, on top
of the module's own bias if it has one. So ``post = base bias + vector`` and ``vector = post - pre``. Its
adapter folder is ``adapter_config.json`` and ``adapter_model.safetensors``, whose tensors are named
``base_model.model.{module}.beft_bias``, with the head (``modules_to_save``) beside them.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from beft_core.architectures.layout import BiasSlot, Layout
from beft_core.errors import UserError
from beft_core.exchange.checkpoints import imported, model_info
from beft_core.files.paths import user_path
from beft_core.files.safe_io import read_json_file
from beft_core.files.safetensors_file import SafetensorsFile
from beft_core.models.bias_reader import ModelWeights, bound_elements, parameter_sizes
from beft_core.models.source import BUNDLED
from beft_core.snapshots.adapter_folder import CONFIG, WEIGHTS, AdapterFolder
from beft_core.snapshots.snapshot import Key, Snapshot

ROOT = "base_model.model."
VECTOR = ".beft_bias"
BUNDLED_ID = "sentence-transformers/all-MiniLM-L6-v2"
"""Id under which others know the bundled model."""

NAMED_BASE = "named_base"
"""Key, in the provenance of an imported adapter, of the base model that its configuration names."""

HEADS: dict[str, tuple[str | None, ...]] = {
    **dict.fromkeys(("bert", "albert", "vit"), (None, "classifier")),
    **dict.fromkeys(("roberta", "electra"), ("classifier.dense", "classifier.out_proj")),
    **dict.fromkeys(("deberta", "deberta-v2"), ("pooler.dense", "classifier")),
    "distilbert": ("pre_classifier", "classifier"),
    "modernbert": ("head.dense", "classifier", "head.norm"),
    **dict.fromkeys(("opt", "gpt2", "gptj", "gpt_neox", "bloom", "qwen2", "qwen3", "llama"), (None, "score")),
    **dict.fromkeys(("mistral", "falcon", "phi3", "gemma", "gemma2", "gemma3_text"), (None, "score")),
}
"""Names, by model type, of the modules of transformers' classifier that are our head's hidden layer, its output and its
LayerNorm.
"""

MAX_HEAD = 2**24
"""Most elements of one weight of a head: 4,000 by 4,000, or 4,000 classes of a large model."""

CONV1D = ("gpt2",)
"""Model types whose projections are Conv1D instead of linear modules, which PEFT's BEFT does not wrap."""


def import_peft(folder: str | os.PathLike[str], base: str | os.PathLike[str], *, task: str = "imported") -> Snapshot:
    """Import a PEFT BEFT adapter with its base model as a snapshot (folder, file, "bundled" or Hub id).

    The head is stored under `task`, so that the snapshot can be evaluated on it.

    Raises:
        UserError: not a BEFT adapter in safetensors, another base, or trained parts that a snapshot
        cannot hold.
    """
    folder = user_path(folder, "the adapter")
    config = _adapter_config(folder)
    kind = config.get("peft_type")
    if kind != "BEFT":
        raise UserError(f"{folder.name} is a PEFT adapter of type {str(kind)[:40]}", "BEFT")
    adapter = SafetensorsFile(folder / WEIGHTS)
    weights = ModelWeights(base)
    layout = _layout(weights)
    pre = weights.biases(layout)
    info = model_info(weights, layout, pre)
    left = set(adapter.tensors)

    def take(names: Iterable[str], width: int) -> np.ndarray | None:
        """Take the first tensor of these names, flat, of as many elements."""
        name = next((name for name in names if name in left), None)
        if name is None:
            return None
        left.remove(name)
        found = math.prod(adapter.tensors[name].shape)
        if found != width:
            raise UserError(f"{adapter.name}: {name} has {found} elements", f"{width}, as the base")
        values = adapter.read(name).ravel()
        if not np.isfinite(values).all():
            raise UserError(f"{adapter.name}: {name} holds a NaN or an infinite value", "finite numbers")
        return values

    wanted = [
        (parameter, [f"{ROOT}{name.removesuffix('.bias')}{VECTOR}" for name in names], width)
        for parameter, names, width in _linear_parameters(layout)
    ]
    bound_elements(adapter.name, (width for _, names, width in wanted if not left.isdisjoint(names)))
    vectors = {parameter: take(names, width) for parameter, names, width in wanted}
    post = {key: array.copy() for key, array in pre.items()}
    for slot in (*layout.slots, *layout.addable):
        vector = vectors.get(slot.parameter)
        if vector is not None:
            key = (slot.stack, slot.term)
            if key not in pre:  # the base has no such bias: zero
                pre[key] = np.zeros((layout.layers, slot.width), np.float32)
                post[key] = pre[key].copy()
            post[key][slot.layer] += vector[slot.index]
    extra = _import_head(adapter, left, layout, task)
    pooler = layout.head.pooler_module
    if pooler is not None:
        vector = take([f"{ROOT}{prefix}{pooler}{VECTOR}" for prefix in (f"{layout.prefix}.", "")], layout.hidden_size)
        if vector is not None:
            extra[f"extra.{task}.pooler.bias"] = _pooler_bias(weights, layout) + vector
    if left:
        raise UserError(
            f"the adapter also trains {sorted(left)[0]} ({len(left)} such tensors)",
            "vectors of bias terms and a classification head, all that a snapshot can hold",
        )
    if all(vector is None for vector in vectors.values()):
        raise UserError(f"{adapter.name} holds no {VECTOR[1:]} of a {layout.model_type} model", "its own base model")
    weight = extra.get(f"extra.{task}.head.weight")
    kind = "regression" if weight is not None and len(weight) == 1 else "classification"
    heads = {task: {"kind": kind, "labels": None}} if weight is not None else {}
    origin = {"adapter": folder.resolve().name, "base": weights.id}
    if isinstance(named := config.get("base_model_name_or_path"), str) and named.strip():
        origin[NAMED_BASE] = "".join(char for char in named if char.isprintable())[:200]
    return imported(info, layout, pre, post, task, origin, extra=extra, heads=heads)


class NoAdapter(UserError):
    """Error of a fine-tune that PEFT's BEFT cannot hold, although nothing is wrong with it."""


def export_peft(
    snapshot: Snapshot,
    folder: str | os.PathLike[str],
    *,
    base: str | os.PathLike[str] | None = None,
    task: str | None = None,
) -> None:
    """Write a snapshot as a PEFT BEFT adapter that ``PeftModel.from_pretrained`` loads with the same logits.

    `base` is the base model's folder, by default what the snapshot names. `task` chooses the head; by
    default the snapshot's own task, if it has a head for it.

    Raises:
        UserError: as :func:`adapter_of`, or the folder cannot be written.
    """
    target = user_path(folder)
    adapter_of(snapshot, base=base, task=task).write(target)


def adapter_of(
    snapshot: Snapshot, *, base: str | os.PathLike[str] | None = None, task: str | None = None
) -> AdapterFolder:
    """Make the PEFT BEFT adapter of a snapshot of biases; `base` and `task` as in :func:`export_peft`.

    Raises:
        NoAdapter: a moved term that is not a linear module's bias (LayerNorms), none that moved, biases outside of the
            layers that moved, a head that transformers' classifier does not have, or a base that was rewritten, which
            no file holds.
        UserError: another base model, or one that is not here.
    """
    task = task or snapshot.meta.task
    scale = snapshot.meta.hyperparameters.get("rewrite_scale")
    if scale is not None:
        raise NoAdapter(
            f"{snapshot.source} started from a model that was rewritten (--rewrite-scale {scale}), which no file holds",
            "a fine-tune of a model as its files have it: PEFT puts an adapter on that",
            "beft export FILE --merged FOLDER, a plain model with weights and biases in place",
        )
    named = snapshot.meta.model.folder or snapshot.meta.model.id
    weights = ModelWeights(base if base is not None else named)
    layout = _layout(weights)
    if not model_info(weights, layout, weights.biases(layout)).shares_base(snapshot.meta.model):
        expected = snapshot.meta.model.id
        raise UserError(f"{weights.id} is not the base model of {snapshot.source}", expected, "--base FOLDER")
    tensors = _vectors(snapshot, layout)
    prefix = f"extra.{task}."
    extra = {name.removeprefix(prefix): array for name, array in snapshot.extra.items() if name.startswith(prefix)}
    if "outside.bias" in extra:
        raise NoAdapter(
            f"{snapshot.source} moved biases outside of the layers, too, with the head of {task}",
            "the biases of linear modules alone, all that PEFT's BEFT can hold",
            "beft export FILE --merged FOLDER, a plain model with the biases in place",
        )
    if "pooler.bias" in extra:
        vector = extra["pooler.bias"] - _pooler_bias(weights, layout)
        tensors[f"{ROOT}{layout.prefix}.{layout.head.pooler_module}{VECTOR}"] = vector[None]
    targets = [name.removeprefix(ROOT).removesuffix(VECTOR) for name in tensors]
    head = {part: array for part, array in extra.items() if part.startswith("head.")}
    for part, array in head.items():
        tensors[f"{ROOT}{head_names(layout)[part]}"] = array
    config = {
        "auto_mapping": None,
        "base_model_name_or_path": BUNDLED_ID if weights.id == BUNDLED else weights.id,
        "inference_mode": True,
        "init_weights": True,
        "modules_to_save": sorted({head_names(layout)[part].split(".")[0] for part in head}) or None,
        "peft_type": "BEFT",
        "revision": snapshot.meta.model.revision,
        "target_modules": sorted(targets),
        # Of a prompt the model's own language-model head is read; else the class that takes the adapter is not known.
        "task_type": "SEQ_CLS" if head else "CAUSAL_LM" if snapshot.meta.is_prompted(task) else None,
    }
    return AdapterFolder(config, tensors)


def _adapter_config(folder: Path) -> dict:
    if not (folder / CONFIG).is_file():
        raise UserError(f"no {CONFIG} in {folder}", "a folder that PEFT's save_pretrained wrote")
    if not (folder / WEIGHTS).is_file():
        pickled = (folder / "adapter_model.bin").exists()
        only = ", only adapter_model.bin, a pickle, which is never read" if pickled else ""
        raise UserError(
            f"no {WEIGHTS} in {folder}{only}",
            "an adapter in the safetensors format",
            "saving it again with save_pretrained(safe_serialization=True)" if pickled else "",
        )
    return read_json_file(folder / CONFIG)


def _layout(weights: ModelWeights) -> Layout:
    layout = weights.layout()
    if layout is None:
        raise UserError(f"no config.json beside {weights.file.name}", "the folder of the base model")
    return layout


def _linear_parameters(layout: Layout) -> list[tuple[str, tuple[str, ...], int]]:
    """List (parameter, names that its module may have, elements) of each bias that an adapter may hold."""
    sizes = parameter_sizes(layout)
    slots = {slot.parameter: slot for slot in (*layout.slots, *layout.addable) if _is_linear(slot)}
    return [(name, layout.checkpoint_names(slot), sizes[name]) for name, slot in slots.items()]


def _is_linear(slot: BiasSlot) -> bool:
    return slot.attribute == "bias" and slot.term not in ("ln1", "ln2")


def _vectors(snapshot: Snapshot, layout: Layout) -> dict[str, np.ndarray]:
    """Changes ``post - pre`` of every term and layer that moved, as vectors [1, out]; zero for others of a fused
    module.
    """
    sizes = parameter_sizes(layout)
    moved: dict[Key, np.ndarray] = {}
    for stack, term in snapshot.keys():  # noqa: SIM118 - a method of Snapshot, not of a dict
        delta = _difference(snapshot.pre(stack, term), snapshot.post(stack, term))
        if delta.any():
            moved[stack, term] = delta
    tensors: dict[str, np.ndarray] = {}
    for (stack, term), delta in moved.items():
        slots = [s for s in (*layout.slots, *layout.addable) if (s.stack, s.term) == (stack, term)]
        if layout.model_type in CONV1D:
            raise NoAdapter(
                f"{snapshot.source} moved {stack}.{term} in {layout.model_type}, whose projections are Conv1D",
                "linear modules, the only ones that PEFT's BEFT wraps",
                "beft export FILE --merged FOLDER, a plain model with the biases in place",
            )
        if not slots or not all(map(_is_linear, slots)):
            raise NoAdapter(
                f"{snapshot.source} moved {stack}.{term}, not a linear module's bias in {layout.model_type}",
                "terms that PEFT's BEFT can hold (q, k, v, o, mlp_in, mlp_out of linear modules)",
            )
        for slot in slots:
            if not delta[slot.layer].any():
                continue  # PEFT would put a trainable vector on every module that is named
            name = f"{ROOT}{layout.prefix}.{slot.module}{VECTOR}"
            vector = tensors.setdefault(name, np.zeros((1, sizes[slot.parameter]), np.float32))
            vector[0, slot.index] = delta[slot.layer]
    if not tensors:
        raise NoAdapter(f"{snapshot.source} moved no bias term", "a snapshot of a fine-tune")
    return tensors


def _difference(pre: np.ndarray, post: np.ndarray) -> np.ndarray:
    """Compute the vector that gives ``post`` when it is added to ``pre`` in float32, as whoever imports it does.

    Where the rounded difference misses by a last bit, a neighbour is taken that does not. Only where a value became
    much smaller than it was is there none, and the last bits of the difference are lost.
    """
    vector = (post.astype(np.float64) - pre).astype(np.float32)
    for end in (np.inf, -np.inf):
        neighbour = np.nextafter(vector, np.float32(end))
        vector = np.where((pre + vector != post) & (pre + neighbour == post), neighbour, vector)
    return vector


def head_names(layout: Layout) -> dict[str, str]:
    """Names of transformers' parameters, by the lab's parts of a head."""
    if layout.model_type not in HEADS:
        raise NoAdapter(f"a head of a {layout.model_type} model", f"a model out of {', '.join(HEADS)}")
    names = zip(("head.dense", "head", "head.norm"), HEADS[layout.model_type], strict=False)
    modules = {part: module for part, module in names if module is not None}
    return {f"{part}.{kind}": f"{module}.{kind}" for part, module in modules.items() for kind in ("weight", "bias")}


def _import_head(adapter: SafetensorsFile, left: set[str], layout: Layout, task: str) -> dict[str, np.ndarray]:
    """Take the classification head of an adapter; what is taken is removed from `left`.

    Raises:
        UserError: a part of another shape than the head of this model has; it is not read then.
    """
    if layout.model_type not in HEADS:
        return {}
    names = {part: f"{ROOT}{name}" for part, name in head_names(layout).items()}
    found = {part: name for part, name in names.items() if name in left}
    left.difference_update(found.values())
    for part, name in found.items():
        _check_head(adapter, part, name, layout.hidden_size)
    return {f"extra.{task}.{part}": adapter.read(name) for part, name in found.items()}


def _check_head(adapter: SafetensorsFile, part: str, name: str, hidden: int) -> None:
    """Check by the header alone that a part of a head can be one."""
    shape = adapter.tensors[name].shape
    expected = ["classes" if part in ("head.weight", "head.bias") else hidden]
    if part in ("head.weight", "head.dense.weight"):
        expected.append(hidden)
    fits = len(shape) == len(expected) and all(
        want in ("classes", have) for want, have in zip(expected, shape, strict=True)
    )
    if not fits or not 0 < math.prod(shape) <= MAX_HEAD:
        raise UserError(
            f"{adapter.name}: {name} is {list(shape)}",
            f"[{', '.join(map(str, expected))}], as the base, with at most {MAX_HEAD:,} elements",
        )


def _pooler_bias(weights: ModelWeights, layout: Layout) -> np.ndarray:
    """Bias of the pooler, float32 [hidden size]. Without a pooler on disk everyone starts from a random one of their
    own.
    """
    name = f"{layout.head.pooler_module}.bias"
    found = weights.find((f"{layout.prefix}.{name}", name))
    if found is None:
        raise NoAdapter(f"{weights.file.name} has no {name}, which the fine-tune trained", "a base with a pooler")
    return weights.vector(found, layout.hidden_size).astype(np.float32)
