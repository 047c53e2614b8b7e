"""Reader of the bias terms of a model on disk, from safetensors files of any size without loading the model.

A folder as ``save_pretrained`` writes it, one file of it, or the index of a sharded one. Only headers and
bias tensors are read, so a 13 GB checkpoint costs a few megabytes.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from beft_core.architectures.layout import BiasSlot, Layout
from beft_core.architectures.resolve import layout_for
from beft_core.errors import UserError
from beft_core.files.paths import user_path
from beft_core.files.safe_io import read_json_file
from beft_core.files.safetensors_file import SafetensorsFile, TensorInfo
from beft_core.models.source import BUNDLED, MAX_CONFIG, locate
from beft_core.snapshots.snapshot import Key, weights_fingerprint

WEIGHTS = ("model.safetensors.index.json", "model.safetensors")
MAX_ELEMENTS = 2**24
"""Most elements of all bias terms together. BLOOM has 11 million, OPT of 175 billion parameters 13."""
MAX_MATRIX = 2**30
"""Most elements of a matrix that is read."""
MAX_ROW = 2**20
"""Most elements of a row that is read of a matrix."""
COMPARED = ("F32", "BF16", "F16")
"""Types of weights by which a model can be told from others: quantised ones are not the model's own."""
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl")


class ModelWeights:
    """Tensors of a model: a folder, a safetensors file, an index of several, or a name that ``locate`` takes.

    Raises:
        UserError: no such model, a pickle, a broken file, or an index that names files outside of its folder.
    """

    def __init__(self, source: str | os.PathLike[str]) -> None:
        path = user_path(source, "the model")
        self.revision: str | None = None
        """Commit on the Hub, if the model is from there."""
        if str(source) == BUNDLED or path.suffix.lower() == ".gguf" or not path.exists():
            located = locate(str(source))
            path, self.id, self.revision = located.folder, located.id, located.revision
        else:
            self.id = (path.parent if path.name in WEIGHTS else path).resolve().name
        if path.suffix in PICKLES:
            raise UserError(f"{path.name} is a pickle, which can run code when read", "a .safetensors file")
        self.folder = path if path.is_dir() else path.parent
        self.file = self._weights_of(path) if path.is_dir() else path
        self._shards: dict[str, SafetensorsFile] = {}
        if self.file.suffix == ".json":
            self._where = self._read_index()
        else:
            self._where = dict.fromkeys(self._shard(self.file.name).tensors, self.file.name)

    def layout(self, config: str | os.PathLike[str] | None = None) -> Layout | None:
        """Layout of the biases, by the given ``config.json`` or the one beside the weights, if any."""
        path = user_path(config, "--config") if config is not None else self.folder / "config.json"
        if config is None and not path.is_file():
            return None
        return layout_for(read_json_file(path, MAX_CONFIG))

    def find(self, names: tuple[str, ...]) -> str | None:
        """Find the first of several names that a tensor here has."""
        return next((name for name in names if name in self._where), None)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of all tensors of numbers that are not whole, by name; only headers are read."""
        found = {name: self._shard(file).tensors.get(name) for name, file in self._where.items()}
        return {name: info.shape for name, info in found.items() if info is not None and "F" in info.dtype}

    def info(self, name: str) -> TensorInfo:
        """Read the type and the shape of a tensor; only a header is read.

        Raises:
            UserError: an index that names the wrong file.
        """
        shard = self._shard(self._where[name])
        if name not in shard.tensors:
            raise UserError(f"{shard.name}: {name} is nothing", f"the tensor that {self.file.name} says is there")
        return shard.tensors[name]

    def blocks(self, name: str) -> Iterator[bytes | memoryview]:
        """Read the bytes of a tensor as they are, a few at a time. Raises UserError as :meth:`info`."""
        self.info(name)
        return self._shard(self._where[name]).blocks(name)

    def vector(self, name: str, width: int) -> np.ndarray:
        """Read a bias: float32 or float64 [width]. Its shape is checked before it is read.

        Raises:
            UserError: another shape, values that are not finite, or an index that names the wrong file.
        """
        shard = self._shard(self._where[name])
        info = shard.tensors.get(name)
        if info is None or info.shape != (width,):
            found = list(info.shape) if info else "nothing"
            raise UserError(f"{shard.name}: {name} is {found}", f"a bias of {width} elements, as in config.json")
        values = shard.read(name)
        if not np.isfinite(values).all():
            raise UserError(f"{shard.name}: tensor {name} holds a NaN or an infinite value", "finite numbers")
        return values

    def matrix(self, name: str, shape: tuple[int, int]) -> np.ndarray:
        """Read a weight: float32 or float64 of the given shape, which is checked before it is read.

        Raises:
            UserError: another shape, too large a one, values that are not finite, or an index that names the wrong
                file.
        """
        shard = self._shard(self._where[name])
        info = shard.tensors.get(name)
        if info is None or info.shape != shape or math.prod(shape) > MAX_MATRIX:
            found = list(info.shape) if info else "nothing"
            raise UserError(f"{shard.name}: {name} is {found}", f"{list(shape)}, as in config.json")
        values = shard.read(name)
        if not np.isfinite(values).all():
            raise UserError(f"{shard.name}: tensor {name} holds a NaN or an infinite value", "finite numbers")
        return values

    def biases(self, layout: Layout) -> dict[Key, np.ndarray]:
        """Read every bias term of the layout that is here in all layers: (stack, term) -> float32 [layers, width].

        Terms that the architecture can do without (`Layout.addable`) are included where the files have them.

        Raises:
            UserError: a bias that the architecture has is missing or has another shape, or they are too many.
        """
        sizes = parameter_sizes(layout)
        rows: dict[Key, list[np.ndarray]] = {}
        found = [(slot, self.find(layout.checkpoint_names(slot))) for slot in (*layout.slots, *layout.addable)]
        bound_elements(self.file.name, (slot.width for slot, name in found if name is not None))
        for slot, name in found:
            if name is not None:
                values = self.vector(name, sizes[slot.parameter])[slot.index]
                rows.setdefault((slot.stack, slot.term), []).append(values.astype(np.float32))
            elif slot in layout.slots:
                raise UserError(
                    f"{self.file.name} has no {slot.parameter}",
                    f"the biases of a {layout.model_type} model of {layout.layers} layers",
                )
        return {key: np.stack(values) for key, values in rows.items() if len(values) == layout.layers}

    def weights_fingerprint(self, layout: Layout) -> str | None:
        """Name a model without biases by its weights (see `beft_core.snapshots.snapshot.weights_fingerprint`): of each
        matrix, its first row is read. None: the model has biases, or matrices that cannot be compared.

        Raises:
            UserError: an index that names the wrong file, or a file that has changed.
        """
        if layout.terms:
            return None
        rows = []
        for parameter in layout.matrices:
            name = self.find(layout.names_on_disk(parameter))
            info = self.info(name) if name is not None else None
            if name is None or info is None or info.dtype not in COMPARED:
                return None
            if len(info.shape) != 2 or info.shape[1] > MAX_ROW:
                return None
            rows.append(self._shard(self._where[name]).first_row(name))
        return weights_fingerprint(rows) if rows else None

    def output_change(self, layout: Layout, change: np.ndarray) -> np.ndarray:
        """Compute ``W_o c``, what a change c of the value bias adds to the attention's output at every token.

        Rows of attention sum to one, so it is the same whatever the attention. One matrix is read at a time.

        Args:
            layout: of the model.
            change: [layers, kv_heads * head_dim]; under grouped queries each value head serves several query heads.

        Returns:
            float64 [layers, hidden_size].

        Raises:
            UserError: another shape, or an output matrix that is missing, too large or not finite.
        """
        shape = (layout.layers, layout.kv_heads * layout.head_dim)
        if np.shape(change) != shape:
            raise UserError(f"got a change of the value bias of shape {np.shape(change)}", f"{shape} for {self.id}")
        heads = np.repeat(
            np.asarray(change, np.float64).reshape(layout.layers, layout.kv_heads, layout.head_dim),
            layout.heads // layout.kv_heads,
            axis=1,
        ).reshape(layout.layers, -1)
        outputs = [slot for slot in (*layout.slots, *layout.addable) if slot.term == "o"]
        rows = []
        for slot, row in zip(outputs, heads, strict=True):
            matrix = self._matrix(layout, slot, (layout.hidden_size, len(row)))
            rows.append(matrix @ row)
        return np.stack(rows)

    def _matrix(self, layout: Layout, slot: BiasSlot, shape: tuple[int, int]) -> np.ndarray:
        """Read the weight beside a bias: float64 [outputs, inputs]."""
        biases = layout.checkpoint_names(slot)
        name = self.find(tuple(f"{bias.removesuffix('.bias')}.weight" for bias in biases))
        if name is None:
            raise UserError(f"{self.file.name} has no weight of {slot.module}", "all weights of the model")
        values = self.matrix(name, shape[::-1] if layout.inputs_first else shape).astype(np.float64)
        return values.T if layout.inputs_first else values

    @staticmethod
    def _weights_of(folder: Path) -> Path:
        for name in WEIGHTS:
            if (folder / name).is_file():
                return folder / name
        pickled = next((file.name for file in sorted(folder.iterdir()) if file.suffix in PICKLES), None)
        raise UserError(
            f"no model.safetensors in {folder.name}" + (f", only the pickle {pickled}" if pickled else ""),
            "weights in the safetensors format",
            "saving the model again with save_pretrained" if pickled else "",
        )

    def _read_index(self) -> dict[str, str]:
        """Read the file name of each tensor, by the tensor's name. The index may be a stranger's: it may only name
        files of its folder.
        """
        table: Any = read_json_file(self.file).get("weight_map")
        if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
            raise UserError(f"{self.file.name}: no weight_map of names", "the index of a sharded safetensors model")
        for name in set(table.values()):
            if Path(name).name != name or "\\" in name or not name.endswith(".safetensors"):
                raise UserError(f"{self.file.name} names the file {name!r}", "plain .safetensors names beside it")
        return table

    def _shard(self, name: str) -> SafetensorsFile:
        if name not in self._shards:
            self._shards[name] = SafetensorsFile(self.folder / name)
        return self._shards[name]


def bound_elements(file: str, widths: Iterable[int]) -> None:
    """Refuse biases that are too many together, before any of them is read. ``widths``: elements of each.

    Raises:
        UserError: more than :data:`MAX_ELEMENTS`.
    """
    total = sum(widths)
    if total > MAX_ELEMENTS:
        raise UserError(f"{file}: biases of {total:,} elements", f"at most {MAX_ELEMENTS:,}")


def parameter_sizes(layout: Layout) -> Counter[str]:
    """Number of elements of each parameter: those of all terms that share it (a fused projection holds q, k and v)."""
    sizes: Counter[str] = Counter()
    for slot in (*layout.slots, *layout.addable):
        sizes[slot.parameter] += slot.width
    return sizes
