"""Plain model folders: a fine-tune's biases and head in place, as transformers and whatever reads its folders open it.

Tensors go from the base model's files into the new ones a block at a time, in the type that they have there; only
biases and the head, which are small, are ever in memory, so that a model may be larger than it. What the folder must
hold, and under which names, is asked of transformers' own class, made without values.

A model without such a bias gets it by its own configuration, where its code in transformers reads one (Llama's
``attention_bias``): the other biases that this brings are zeros. Where the code reads none, a bias that was trained has
no place, and the adapter is the way (:mod:`beft_core.exchange.peft_adapter`).
"""

from __future__ import annotations

import copy
import errno
import json
import math
import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from beft_core.architectures.layout import Layout
from beft_core.architectures.table import ROWS
from beft_core.errors import UserError
from beft_core.exchange.checkpoints import model_info
from beft_core.exchange.peft_adapter import head_names
from beft_core.files.paths import free_folder
from beft_core.files.safe_io import read_json_file
from beft_core.files.safetensors_file import Piece, as_bytes, as_float32, parts_of
from beft_core.files.scratch import whole_folder
from beft_core.inference.merged_weights import merged_weights
from beft_core.merging.config import recorded
from beft_core.models.bias_reader import ModelWeights, parameter_sizes
from beft_core.models.biases import LoadedModel
from beft_core.models.load import described, load_model, load_tokenizer, quiet_transformers, read_config
from beft_core.models.source import MAX_CONFIG, MAX_FILE, TOKENIZER_FILES, ModelSource
from beft_core.snapshots.changed_weights import refuse_changed_weights
from beft_core.snapshots.snapshot import Snapshot
from beft_core.training.methods.bias_bank import outside_modules
from beft_core.training.observer import Observer
from beft_core.training.preconditions import head_of

DTYPES: dict[str, str] = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}
"""Types of weights that can be written, by their names in a file: their names in a configuration."""
KEPT, FLOAT32 = "base", "float32"
"""Choices of the type of what is written: that of the base, tensor by tensor, or float32."""

MAX_SHARD = 5 * 10**9
"""Most bytes of one file of weights, as the Hub advises; a tensor that is larger has a file of its own."""

BESIDE = (
    *("LICENSE*", "LICENCE*", "NOTICE*", "*_TERMS*", "USE_POLICY*"),
    *("generation_config.json", "chat_template.jinja", "*.model", "vocab.*", "merges.txt"),
)
"""Patterns of what is copied from the base's folder: what its licence wants beside the weights, how it writes, and its
tokenizer in the forms that other programs read.
"""


@dataclass(frozen=True)
class Merged:
    """Folder of a plain model that was written."""

    folder: Path
    dtype: str
    """Type of most of its weights, as configurations write it."""
    rounding: float
    """Largest share of a trained bias term's change that rounding to its type took: 0 for float32."""
    bytes: int
    """Size of the weights."""


@dataclass
class Plan:
    """Model that is to be written: what transformers' class wants, and where each tensor comes from."""

    settings: Any
    """Configuration of transformers."""
    pieces: dict[str, Piece]
    """Tensors by their names in the class."""
    dtype: str
    """As in :class:`Merged`, like ``rounding``."""
    rounding: float

    @property
    def bytes(self) -> int:
        """Size of all tensors."""
        return sum(piece.nbytes for piece in self.pieces.values())


def write_merged(
    snapshot: Snapshot,
    folder: str | os.PathLike[str],
    *,
    base: str | None = None,
    task: str | None = None,
    dtype: str = KEPT,
    observer: Observer | None = None,
) -> Merged:
    """Write a fine-tune as a folder that ``from_pretrained`` of transformers opens with the same outputs.

    ``base``: the base model, by default the one that the snapshot names. ``task`` chooses the head; by default the
    snapshot's own task, if there is a head for it. Without a head, a decoder is written with its language-model head
    and an encoder without any. ``dtype``: :data:`KEPT` or :data:`FLOAT32`. An adapter that the snapshot has in memory
    is merged into the weights by PEFT. The folder appears whole or not at all.

    Raises:
        UserError: the folder exists and is not empty, another base model, more than biases and adapters was trained, no
            head for a ``task`` that is named, what has no place in transformers' model, or a head that is not that of
            transformers' classifier.
        NoRoom: the disk is full.
    """
    observer = observer or Observer()
    target = free_folder(folder)
    if snapshot.adapter is None:
        refuse_changed_weights(snapshot)
    if task is not None:
        head_of(snapshot, task)
    observer.stage("read the base model")
    weights = ModelWeights(base or recorded([snapshot])["model"])
    plan = plan_of(snapshot, weights, task, dtype)
    with whole_folder(target, plan.bytes) as made:
        observer.stage("write the model", len(plan.pieces))
        _write_weights(made, plan.pieces, observer)
        with quiet_transformers():
            plan.settings.save_pretrained(made)
            _write_tokenizer(weights.folder, made)
        _copy_beside(weights.folder, made)
    return Merged(target, plan.dtype, plan.rounding, plan.bytes)


def plan_of(snapshot: Snapshot, weights: ModelWeights, task: str | None = None, dtype: str = KEPT) -> Plan:
    """Plan the model of a snapshot and its base; no weight is read, unless an adapter or a rewriting changes them.

    Raises:
        UserError: as :func:`write_merged`.
    """
    if dtype not in (KEPT, FLOAT32):
        raise UserError(f"got the type {dtype!r}", f"{KEPT} or {FLOAT32}")
    layout = weights.layout()
    if layout is None:
        raise UserError(f"no config.json beside {weights.file.name}", "the folder of the base model")
    info = model_info(weights, layout, weights.biases(layout))
    memory = merged_weights(snapshot, str(weights.folder.resolve()))  # of the base that it checks itself
    if memory is None and not info.shares_base(snapshot.meta.model):
        raise UserError(
            f"got the base model {weights.id}, whose {info.told_by} differ from those the snapshot started from",
            snapshot.meta.model.id,
            f"--base {snapshot.meta.model.id}",
        )
    source = ModelSource(
        weights.id, weights.revision, weights.folder, read_json_file(weights.folder / "config.json", MAX_CONFIG), layout
    )
    settings = read_config(source)
    bare = LoadedModel(described(source, settings), None, layout, settings, info)
    biases = _biases(snapshot, weights, layout, memory or {}) if snapshot.adapter is None else {}
    biases |= _added(layout, memory)
    task = task or snapshot.meta.task
    prefix = f"extra.{task}."
    parts = {name.removeprefix(prefix): value for name, value in snapshot.extra.items() if name.startswith(prefix)}
    if "pooler.bias" in parts and layout.head.pooler_module is not None:
        biases[f"{layout.head.pooler_module}.bias"] = parts["pooler.bias"]
    if "outside.bias" in parts:
        biases |= _outside(bare, parts["outside.bias"])
    flags = _flags(layout, biases)
    for name in flags:
        setattr(settings, name, True)
    settings.use_cache = True  # the lab keeps no keys and values, whoever serves the model does
    head = {name: value for name, value in parts.items() if name.startswith("head.")}
    if head:
        _describe_head(settings, weights, head, snapshot.meta.heads.get(task, {}))
        kind: Any = AutoModelForSequenceClassification
    else:
        kind = AutoModel if layout.lm is None else AutoModelForCausalLM
        if layout.lm is not None:
            settings.tie_word_embeddings = _is_tied(weights, bare)
    with torch.device("meta"), quiet_transformers():  # names and shapes only, so any attention does
        whole = kind.from_config(copy.deepcopy(settings), dtype=torch.float32, attn_implementation="eager")
    settings.architectures = [type(whole).__name__]
    settings.name_or_path = weights.id
    inner = "" if kind is AutoModel else f"{whole.base_model_prefix}."
    given = {f"{inner}{name}": value for name, value in biases.items()}
    given |= _head(whole, layout, head)
    return _pieces(_Sources(weights, layout, inner, memory, bool(flags), dtype), settings, whole, given)


@dataclass
class _Sources:
    """Places that tensors come from."""

    weights: ModelWeights
    layout: Layout
    inner: str
    """Beginning of the backbone's names in the whole model."""
    memory: Mapping[str, torch.Tensor] | None
    """Weights of the backbone that are not those on disk, by name; None: they are."""
    flagged: bool
    """Whether the configuration brings biases that the base does not have, which are zeros."""
    dtype: str

    def on_disk(self, name: str) -> str | None:
        """Find a tensor of the whole model in the base's files, under any of the names that it may have there."""
        lm = self.layout.lm
        heads = () if lm is None else (*lm.weight, *([lm.bias] if lm.bias else []))
        if name in heads:
            return self.weights.find(lm.weight if lm is not None and name != lm.bias else (name,))
        return self.weights.find((name, *self.layout.names_on_disk(name.removeprefix(self.inner))))

    def out(self, dtype: str) -> str:
        """Choose the type in which a tensor is written. Raises UserError for weights that are packed in some way."""
        if "F" in dtype and dtype not in DTYPES:
            raise UserError(
                f"got weights of type {dtype}", f"one of {', '.join(DTYPES)}", "the model before quantisation"
            )
        return "F32" if self.dtype == FLOAT32 and dtype in DTYPES else dtype

    def is_zero(self, name: str) -> bool:
        """Say whether a tensor that the files lack is one of zeros: of a flag, or the bias of a tied head."""
        lm = self.layout.lm
        return (self.flagged and name.endswith(".bias")) or (lm is not None and name == lm.bias)


def _pieces(sources: _Sources, settings: Any, whole: Any, given: Mapping[str, np.ndarray]) -> Plan:
    """Say of each tensor of the whole model where it comes from. ``given``: those that the fine-tune trained."""
    shared = dict(whole.named_parameters(remove_duplicate=False))
    once = {name for name, _ in whole.named_parameters()}
    wanted = {n: tuple(v.shape) for n, v in whole.state_dict().items() if n in once or n not in shared}
    if lost := [name for name in given if name not in wanted]:
        raise _no_place(lost[0].removeprefix(sources.inner), sources.layout)
    disk = {name: found for name in wanted if (found := sources.on_disk(name)) is not None}
    infos = {name: sources.weights.info(found) for name, found in disk.items()}
    sizes: Counter[str] = Counter()
    for info in infos.values():
        sizes[info.dtype] += math.prod(info.shape)
    main = sources.out(max(sizes, key=sizes.__getitem__, default=""))
    if main not in DTYPES:
        found = f"weights of type {main}" if main else "none of the weights"
        raise UserError(
            f"got {sources.weights.file.name} with {found} of a {sources.layout.model_type} model",
            f"weights of type {', '.join(DTYPES)}",
            "the model before quantisation" if main else "",
        )
    terms = parameter_sizes(sources.layout)
    pooler: Mapping[str, torch.Tensor] | None = None
    pieces: dict[str, Piece] = {}
    rounding = 0.0
    for name, shape in wanted.items():
        own = name.removeprefix(sources.inner)
        dtype = sources.out(infos[name].dtype) if name in infos else main
        blocks: Callable[[], Iterable[bytes | memoryview]]
        if name in given:
            value = given[name]
            if value.shape != shape:
                raise UserError(f"got {own} of shape {value.shape}", f"{shape}, as the model has it")
            if own in terms:
                start = _start(own, len(value), sources.weights, sources.layout, sources.memory or {})
                rounding = max(rounding, _rounded_away(value, start, dtype))
            blocks = partial(_encoded, value, dtype)
        elif sources.memory is not None and own in sources.memory:
            blocks = partial(_encoded, sources.memory[own].numpy(), dtype)
        elif name in infos:
            if infos[name].shape != shape:
                raise UserError(
                    f"{sources.weights.file.name}: {disk[name]} is {list(infos[name].shape)}",
                    f"{list(shape)}, as in config.json",
                )
            blocks = partial(_copied, sources.weights, disk[name], infos[name].dtype, dtype)
        elif sources.is_zero(name):
            blocks = partial(_encoded, np.zeros(shape, np.float32), dtype)
        elif own.startswith("pooler."):
            if pooler is None:  # drawn at random, always the same, by who loads a model without one
                pooler = load_model(str(sources.weights.folder.resolve())).backbone.state_dict()
            blocks = partial(_encoded, pooler[own].numpy(), dtype)
        else:
            raise UserError(
                f"{sources.weights.file.name} has no {own}", f"all weights of a {sources.layout.model_type} model"
            )
        pieces[name] = Piece(dtype, shape, blocks)
    settings.dtype = DTYPES[main]
    return Plan(settings, pieces, DTYPES[main], rounding)


def _biases(
    snapshot: Snapshot, weights: ModelWeights, layout: Layout, memory: Mapping[str, torch.Tensor]
) -> dict[str, np.ndarray]:
    """Values, float32, of each parameter of the backbone that a fine-tune's bias terms changed, by its name.

    ``memory``: weights that are not those of the files.

    Raises:
        UserError: terms that the model does not have, or of another shape.
    """
    sizes = parameter_sizes(layout)
    changed: dict[str, np.ndarray] = {}
    slots = (*layout.slots, *layout.addable)
    for stack, term in snapshot.keys():  # noqa: SIM118 - a method of Snapshot
        own = [slot for slot in slots if (slot.stack, slot.term) == (stack, term)]
        if not own:
            layout.require([term])
        post = snapshot.post(stack, term)
        if not own or post.shape != (len(own), own[0].width):
            shape = f" of shape {(len(own), own[0].width)}" if own else ""
            raise UserError(
                f"got {stack}.{term} of shape {post.shape}", f"{layout.stack}.{term}{shape}, as {weights.id}"
            )
        for slot, row in zip(own, post, strict=True):
            base = changed.get(slot.parameter)
            if base is None:
                base = _start(slot.parameter, sizes[slot.parameter], weights, layout, memory)
            if not np.array_equal(base[slot.index], row):
                base = base.copy()
                base[slot.index] = row
                changed[slot.parameter] = base
    return changed


def _start(
    parameter: str, size: int, weights: ModelWeights, layout: Layout, memory: Mapping[str, torch.Tensor]
) -> np.ndarray:
    """Read a bias of the base, float32 [size]: zeros where it has none."""
    if parameter in memory:
        return memory[parameter].numpy()
    name = weights.find(layout.names_on_disk(parameter))
    return np.zeros(size, np.float32) if name is None else weights.vector(name, size).astype(np.float32)


def _added(layout: Layout, memory: Mapping[str, torch.Tensor] | None) -> dict[str, np.ndarray]:
    """Biases, among weights in memory, that the base does not have and that are not zero."""
    names = {slot.parameter for slot in layout.addable} & set(memory or {})
    return {name: memory[name].numpy() for name in sorted(names) if memory is not None and memory[name].any()}


def _outside(bare: LoadedModel, values: np.ndarray) -> dict[str, np.ndarray]:
    """Split the biases outside of the layers, joined in the model's order, by parameter."""
    paths = {id(module): path for path, module in bare.backbone.named_modules()}
    modules: list[Any] = list(outside_modules(bare))
    sizes = [module.bias.numel() for module in modules]
    if values.shape != (sum(sizes),):
        raise UserError(f"got {values.size} biases outside of the layers", f"{sum(sizes)}")
    split = np.split(values, np.cumsum(sizes[:-1]))
    return {f"{paths[id(module)]}.bias": part for module, part in zip(modules, split, strict=True)}


def _flags(layout: Layout, biases: Mapping[str, np.ndarray]) -> list[str]:
    """List the keys of a configuration that give the model those biases that the base does not have.

    Raises:
        UserError: a bias for which transformers' model has no place.
    """
    row = ROWS[layout.model_type]
    found: list[str] = []
    terms = dict.fromkeys(slot.term for slot in layout.addable if slot.parameter in biases)
    for term in terms:
        flag = next((one for one in row.flags if term in one.terms.split()), None)
        if flag is None or flag.key is None:
            raise UserError(
                f"got a trained {term} bias for {layout.model_type}, whose model in transformers never has one",
                "a term that it has, or can have by its configuration",
                "beft peft export, whose adapter adds the bias",
            )
        found.append(flag.key)
    return list(dict.fromkeys(found))


def _no_place(name: str, layout: Layout) -> UserError:
    return UserError(
        f"got {name} of a {layout.model_type} model, for which transformers' model has no place",
        "terms that it has, or can have by its configuration",
        "beft peft export, whose adapter adds the bias",
    )


def _describe_head(
    settings: Any, weights: ModelWeights, head: Mapping[str, np.ndarray], known: Mapping[str, Any]
) -> None:
    """Put into a configuration what it says of a classifier. ``known``: what the snapshot says about its labels."""
    if "head.weight" not in head:
        raise UserError(f"got a head of {', '.join(sorted(head))}", "one with head.weight")
    settings.num_labels = len(head["head.weight"])
    labels = known.get("labels")
    if isinstance(labels, Sequence) and len(labels) == settings.num_labels:
        settings.id2label = dict(enumerate(map(str, labels)))
        settings.label2id = {label: number for number, label in settings.id2label.items()}
    settings.problem_type = "regression" if known.get("kind") == "regression" else "single_label_classification"
    if settings.pad_token_id is None and _has_tokenizer(weights.folder):
        # Decoders find by it an example's last token.
        settings.pad_token_id = load_tokenizer(str(weights.folder.resolve()), local_only=True).pad_token_id


def _head(whole: Any, layout: Layout, head: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Name the parts of a trained head as transformers' classifier does.

    Raises:
        UserError: parts that are not those of the classifier.
    """
    if not head:
        return {}
    names = head_names(layout)
    own = dict(whole.named_parameters())
    wanted = {part for part, name in names.items() if name in own}
    if set(head) != wanted:
        raise UserError(
            f"got a head of {', '.join(sorted(head))}",
            f"{', '.join(sorted(wanted))}, as transformers' {layout.model_type} classifier has",
        )
    return {names[part]: value for part, value in head.items()}


def _is_tied(weights: ModelWeights, bare: LoadedModel) -> bool:
    """Say whether the language-model head is the embedding: as in transformers, a checkpoint that holds another one is
    believed, whatever its configuration says.
    """
    lm = bare.layout.lm
    assert lm is not None
    own = weights.find(lm.weight)
    backbone: Any = bare.backbone
    embedding = next(n for n, p in backbone.named_parameters() if p is backbone.get_input_embeddings().weight)
    name = weights.find(bare.layout.names_on_disk(embedding))
    if own is None or name is None:
        if not lm.tied:
            raise UserError(
                f"got a {bare.layout.model_type} model in {weights.folder.name} without {lm.weight[0]}",
                "weights with their language-model head",
                "saving it from AutoModelForCausalLM",
            )
        return True
    if not lm.tied or weights.info(own).shape != weights.info(name).shape:
        return False
    pair = (as_float32_blocks(weights, one) for one in (own, name))
    return all(np.array_equal(one, other) for one, other in zip(*pair, strict=True))


def as_float32_blocks(weights: ModelWeights, name: str) -> Iterator[np.ndarray]:
    """Read a tensor as float32 numbers, a flat part after the other."""
    dtype = weights.info(name).dtype
    for block in weights.blocks(name):
        yield as_float32(block, dtype)


def _copied(weights: ModelWeights, name: str, dtype: str, out: str) -> Iterator[bytes | memoryview]:
    if dtype == out:
        yield from weights.blocks(name)
    else:
        for values in as_float32_blocks(weights, name):
            yield as_bytes(values, out)


def _encoded(values: np.ndarray, dtype: str) -> Iterator[bytes]:
    """Write numbers in a type, some at a time; whole numbers as they are."""
    if values.dtype.kind != "f":
        yield values.tobytes()
        return
    flat = values.reshape(-1)
    for start in range(0, len(flat), 2**22):
        yield as_bytes(flat[start : start + 2**22], dtype)


def _rounded_away(value: np.ndarray, base: np.ndarray, dtype: str) -> float:
    """Compute the share of a change that is lost where the value is written in a type."""
    change = float(np.linalg.norm(value.astype(np.float64) - base))
    if dtype in ("F32", "F64") or change == 0:
        return 0.0
    lost = as_float32(as_bytes(value, dtype), dtype).astype(np.float64) - value
    return float(np.linalg.norm(lost)) / change


def _write_weights(folder: Path, pieces: Mapping[str, Piece], observer: Observer) -> None:
    """Write one file of weights, or several with their index, as transformers names them."""
    shards: list[dict[str, Piece]] = [{}]
    size = 0
    for name, piece in pieces.items():
        if shards[-1] and size + piece.nbytes > MAX_SHARD:
            shards.append({})
            size = 0
        shards[-1][name] = Piece(piece.dtype, piece.shape, partial(_counted, piece, observer))
        size += piece.nbytes
    if len(shards) == 1:
        _write(folder / "model.safetensors", shards[0])
        return
    files = [f"model-{number:05d}-of-{len(shards):05d}.safetensors" for number in range(1, len(shards) + 1)]
    for file, shard in zip(files, shards, strict=True):
        _write(folder / file, shard)
    index = {
        "metadata": {"total_size": sum(piece.nbytes for piece in pieces.values())},
        "weight_map": {name: file for file, shard in zip(files, shards, strict=True) for name in shard},
    }
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2, sort_keys=True) + "\n")


def _write(path: Path, pieces: Mapping[str, Piece]) -> None:
    with path.open("wb") as file:
        for block in parts_of(pieces, {"format": "pt"}, path.name):
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def _counted(piece: Piece, observer: Observer) -> Iterator[bytes | memoryview]:
    yield from piece.blocks()
    observer.advance()


def _has_tokenizer(folder: Path) -> bool:
    return any(any(folder.glob(pattern)) for pattern in TOKENIZER_FILES)


def _write_tokenizer(source: Path, target: Path) -> None:
    if not _has_tokenizer(source):
        return
    tokenizer = load_tokenizer(str(source.resolve()), local_only=True)
    try:
        tokenizer.save_pretrained(target)
    except OSError:
        raise
    except Exception as error:  # the library's half in Rust has no other class, whatever the system said
        number = errno.ENOSPC if "No space left" in str(error) else errno.EIO
        raise OSError(number, str(error)) from None


def _copy_beside(source: Path, target: Path) -> None:
    """Copy the small files that belong to a model besides its weights, where the new folder has none of that name.

    Links are followed only within the folder and into the Hub's cache: a stranger's folder names no file of ours.
    """
    own = (source.resolve(), source.resolve().parent.parent / "blobs")
    for file in sorted({file for pattern in BESIDE for file in source.glob(pattern)}):
        fits = file.is_file() and file.resolve().parent in own and file.stat().st_size <= MAX_FILE
        if fits and not (target / file.name).exists():
            shutil.copyfile(file, target / file.name)
