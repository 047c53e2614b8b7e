"""Bank of the trained biases (or low-rank factors) and heads of R fine-tunes that share one frozen model.

All values stand in one matrix [runs, parameters], so that clipping, AdamW, checkpoints and snapshots are each one
operation. A module whose bias is trained computes its product once for everybody and then adds the bias of the run
that owns the row. A single fine-tune is a bank of one, and the exact per-example gradients that the Fisher
information needs are a bank with one run per example.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers.activations import ACT2FN
from transformers.pytorch_utils import Conv1D

from beft_core.architectures.layout import BiasSlot, HeadSpec
from beft_core.errors import UserError
from beft_core.models.biases import LoadedModel, get_bias
from beft_core.models.lm_head import LmHead
from beft_core.terms import STACKS
from beft_core.training.batches.arrange import DevicePass
from beft_core.training.batches.reader import Reader
from beft_core.training.batches.run_index import RunIndex
from beft_core.training.methods.bank_linear import OfRuns, OwnAffine, SharedAffine
from beft_core.training.methods.low_rank import DOWN, UP, LowRank, LowRankShared, factor_name
from beft_core.training.module_swap import standing_in
from beft_core.training.precision import Precision


def activation(name: str | None) -> Callable[[Tensor], Tensor]:
    """Look up transformers' activation of a name; None for None.

    Raises:
        UserError: transformers does not know the name.
    """
    if name is None:
        return lambda x: x
    if name not in ACT2FN:
        raise UserError(f"got the activation {name[:40]!r} of the classification head", f"one of {', '.join(ACT2FN)}")
    return ACT2FN[name]


@dataclass(frozen=True)
class Part:
    """Named block of columns of the bank: one bias of one module, one low-rank factor, or one tensor of the head."""

    name: str
    """Name of the part: ``{stack}.{term}.{layer}``, or ``pooler.bias``, ``outside.0.bias``, ``head.weight``, ..., of a
    factor as :func:`beft_core.training.methods.low_rank.factor_name` has it.
    """
    start: int
    shape: tuple[int, ...]
    """Shape for one run."""
    module: nn.Module | None = None
    """Module whose bias the part replaces; None for tensors of the head and factors."""
    index: slice | np.ndarray | None = None
    """Elements of the module's bias that the part holds; None: all of it."""
    per_example: bool = False
    """Whether the module sees one vector per example (the pooler, most of the last layer) instead of rows of tokens."""

    @property
    def size(self) -> int:
        """Number of elements of the part."""
        return int(np.prod(self.shape))

    @property
    def columns(self) -> slice:
        """Columns of the bank that hold the part."""
        return slice(self.start, self.start + self.size)


def slot_name(slot: BiasSlot) -> str:
    """Name the part of a bank that holds a slot."""
    return f"{slot.stack}.{slot.term}.{slot.layer}"


def can_hold(model: LoadedModel, slot: BiasSlot) -> bool:
    """Say whether a bank can hold a slot: the bias of a projection or norm that it knows, not a bare vector, as DeBERTa
    v1 has them for q and v, and no norm of a model's own.
    """
    return slot.attribute == "bias" and Precision.knows(model.backbone.get_submodule(slot.module))


def is_slot(name: str) -> bool:
    """Say whether a part of this name is a bias term of a layer."""
    return name.split(".")[0] in STACKS


class Bank:
    """Values and gradients of R runs, and the way they enter the forward pass.

    ``values``, ``grads``: float32 [runs, parameters]. ``owned``: bool [runs, parameters], the columns that a run
    trains; the others keep their pre-trained value. A bank that is only read has ``values`` alone, and applies the
    heads of those runs that a pass has examples of.
    """

    def __init__(
        self,
        model: LoadedModel,
        slots: Sequence[BiasSlot],
        *,
        runs: int,
        classes: int | None,
        precision: Precision,
        pooler_bias: bool = True,
        outside_biases: bool = False,
        low_rank: LowRank | None = None,
        reader: Reader | None = None,
        trains: bool = True,
    ) -> None:
        """Lay out the parts and fill them, for every run, with the model's own values; :meth:`init_head` draws heads.

        ``slots``: every bias term that some run trains. ``classes``: outputs of the head (1 for a regression); None:
        there is no head, and the model's own language-model head scores answers.
        ``outside_biases``: also the biases that belong to no term, as an all-bias fine-tune trains them. ``low_rank``:
        changes of matrices that all runs train, of two runs or more; their factors begin at zero. ``reader``: how
        vectors get out of the model; None: all hidden states are computed. ``trains``: False for a bank that is only
        read, of which only the values are held: ``grads`` and ``owned`` are empty.

        Raises:
            UserError: a term that is not the bias of a projection, an activation that transformers does not know, or a
                model without a language-model head where that is to be read.
        """
        self.model = model
        self.reader = reader or Reader()
        self.spec: HeadSpec = model.layout.head
        self.precision = precision
        self.runs = runs
        self.trains = trains
        device = precision.device
        self.parts: dict[str, Part] = {}
        initial: list[Tensor] = [torch.zeros(0, device=device)]  # a bank may be without parts

        def add(name: str, value: Tensor, **where: object) -> None:
            start = sum(part.size for part in self.parts.values())
            self.parts[name] = Part(name, start, tuple(value.shape), **where)  # type: ignore[arg-type]
            initial.append(value.detach().float().reshape(-1).to(device))

        for slot in slots:
            if not can_hold(model, slot):
                raise UserError(
                    f"got {model.layout.model_type}, whose {slot.term} bias is not the bias of a projection",
                    "a model of another type for training (its snapshots can be scored)",
                )
            if runs > 1 and slot.term in model.layout.reads_positions:
                raise UserError(
                    f"got {runs} fine-tunes of {slot.term} at once in {model.layout.model_type}, which reads relative "
                    "positions, the same for all rows, by the same projection",
                    "one at a time",
                )
            module = model.backbone.get_submodule(slot.module)
            add(
                slot_name(slot),
                torch.as_tensor(get_bias(model.backbone, slot)),
                module=module,
                index=slot.index,
                per_example=self.reader.sees_examples(slot),
            )
        self.slot_parts: dict[str, Part] = dict(self.parts)
        """Parts that are bias terms of layers: they come first, so their columns end at ``slots_end``."""
        self.slots_end = sum(part.size for part in self.parts.values())
        if outside_biases:
            for number, module in enumerate(outside_modules(model)):
                add(f"outside.{number}.bias", module.bias, module=module)  # type: ignore[arg-type]
        self.lm_head = LmHead.of(model) if classes is None else None
        self.pooler: nn.Module | None = None
        if classes is not None:
            self._add_head(add, classes, pooler_bias)
        self.low_rank = low_rank
        if low_rank is not None:
            assert runs > 1, "of a single run no rows are told apart"
            for name, shape in low_rank.shapes(model.backbone):
                add(name, torch.zeros(shape))

        self.values = torch.cat(initial).repeat(runs, 1)  # (R, P)
        trained = self.values if trains else self.values[:0]
        self.grads = torch.zeros_like(trained)
        self.owned = torch.ones_like(trained, dtype=torch.bool)
        # Leaves are views into one matrix, and so are their gradients: backward accumulates in place.
        self.leaves: dict[str, Tensor] = {}
        for name, part in self.parts.items():
            leaf = self.values[:, part.columns].view(runs, *part.shape).detach().requires_grad_(trains)
            if trains:
                leaf.grad = self.grads[:, part.columns].view(runs, *part.shape)
            self.leaves[name] = leaf
        self.rows: RunIndex | None = None
        self.examples: RunIndex | None = None
        self._of_runs: list[OfRuns] = []

    def _add_head(self, add: Callable[..., None], classes: int, pooler_bias: bool) -> None:
        """Add the parts of a trained head, and the pooler's bias, by ``add(name, value, ...)``."""
        if self.spec.pooler_module is not None:
            self.pooler = self.model.backbone.get_submodule(self.spec.pooler_module)
            if pooler_bias:
                add("pooler.bias", self.pooler.bias, module=self.pooler, per_example=True)
        hidden = self.model.layout.output_size
        activation(self.spec.dense_activation)  # a name that leads nowhere is reported here
        if self.spec.dense_activation is not None:
            add("head.dense.weight", torch.zeros(hidden, hidden))
            if self.spec.dense_bias:
                add("head.dense.bias", torch.zeros(hidden))
            if self.spec.norm_eps is not None:
                add("head.norm.weight", torch.ones(hidden))
                if self.spec.norm_bias:
                    add("head.norm.bias", torch.zeros(hidden))
        add("head.weight", torch.zeros(classes, hidden))
        if self.spec.classifier_bias:
            add("head.bias", torch.zeros(classes))

    # -- forward ---------------------------------------------------------------------------------------------------

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Make the model's modules add the biases of the bank instead of their own, while the context is open."""
        by_module: dict[nn.Module, list[Part]] = defaultdict(list)
        for part in self.parts.values():
            if part.module is not None:
                by_module[part.module].append(part)
        for module in self.model.backbone.modules():
            if self.precision.computes(module):
                by_module.setdefault(module, [])
        stand_ins = {module: self._stand_in(module, parts) for module, parts in by_module.items()}
        self._of_runs = [one for one in stand_ins.values() if isinstance(one, OfRuns)]
        for module, changed in self._changed(stand_ins):
            stand_ins[module] = changed
            self._of_runs.append(changed)
        self._hand_out_routes()
        backbone: Any = self.model.backbone
        layout = self.model.layout
        own_pooler, pooler = self.pooler, getattr(backbone, "pooler", None)
        self.pooler = stand_ins.get(own_pooler, own_pooler)  # type: ignore[arg-type]
        # The backbone would pool the first token of each row; the bank pools the vector of each example.
        if pooler is not None:
            backbone.pooler = None
        try:
            with ExitStack() as stack:
                stack.enter_context(self.reader.installed())
                stack.enter_context(standing_in([backbone], stand_ins))
                if layout.lm is not None and "ln1" not in layout.absent:
                    first = backbone.get_submodule(layout.layer_path(0))
                    stack.enter_context(self.precision.narrow_stream(first))
                stack.enter_context(warnings.catch_warnings())
                # Gradients are views into one matrix on purpose; PyTorch would rather have them contiguous.
                warnings.filterwarnings("ignore", message="grad and param do not obey")
                yield
        finally:
            if pooler is not None:
                backbone.pooler = pooler
            self.pooler, self._of_runs = own_pooler, []

    def _stand_in(self, module: nn.Module, parts: list[Part]) -> nn.Module:
        affine = self.precision.affine(module)
        if not parts:
            return OwnAffine(module, affine)
        own: Any = module.bias
        # Of a model on several devices, biases are put together where the bank is.
        base = None if own is None else own.detach().to(self.precision.device)
        pieces = [(self.leaves[part.name], self._index(part, base)) for part in parts]
        return SharedAffine(module, affine, base, pieces, self.runs, parts[0].per_example)

    def _changed(self, stand_ins: Mapping[nn.Module, nn.Module]) -> list[tuple[nn.Module, LowRankShared]]:
        """Pair each module whose matrix is changed with what computes it, on top of what stands in for it so far."""
        if self.low_rank is None:
            return []
        scales = torch.tensor(self.low_rank.scales, dtype=torch.float32, device=self.precision.device)
        found = []
        for slot in self.low_rank.slots:
            module = self.model.backbone.get_submodule(slot.module)
            inner = stand_ins.get(module) or OwnAffine(module, self.precision.affine(module))
            down, up = (self.leaves[factor_name(slot.module, factor)] for factor in (DOWN, UP))
            found.append((module, LowRankShared(inner, down, up, scales, self.reader.sees_examples(slot))))
        return found

    def _index(self, part: Part, base: Tensor | None) -> Tensor | None:
        if part.index is None or base is None:
            return None
        every = np.arange(len(base))
        chosen = every[part.index]
        if len(chosen) == len(every) and (chosen == every).all():
            return None
        return torch.as_tensor(chosen, dtype=torch.long, device=base.device)

    def route(self, rows: RunIndex | None, examples: RunIndex) -> None:
        """Say which run owns each row of tokens (None: there is one run) and each example of the coming pass."""
        self.rows, self.examples = rows, examples
        self._hand_out_routes()

    def _hand_out_routes(self) -> None:
        for module in self._of_runs:
            route = self.examples if module.per_example else self.rows
            if route is not None:
                module.run_of, module.items_of = route.run_of, route.items_of

    def vectors(self, one: DevicePass) -> Tensor:
        """Compute the vector of each example that its head reads, [examples, hidden], or of prompted examples the
        hidden states that predict answer tokens, [states, hidden]. The bank must be installed.
        """
        return self.reader.vectors(self.model.backbone, one)

    def outputs(self, one: DevicePass, relative: bool = False) -> Tensor:
        """Compute the logits of a pass: of each run's trained head, or the language-model head's scores of candidates.

        ``relative``: give scores without what the candidates of an example, single tokens after one state, share.
        Returns float32 [examples, classes or candidates]. The bank must be installed.
        """
        if self.lm_head is not None and one.answers is None:
            raise UserError("got a task of free text, whose answers are written", "one whose answers are chosen")
        vectors = self.vectors(one)
        if self.lm_head is None:
            return self.logits(vectors)
        assert one.answers is not None
        with torch.autocast(self.precision.device.type, enabled=False):
            score = self.lm_head.chosen_logits if relative else self.lm_head.log_probs
            return one.answers.scores(score(vectors, one.answers.target, one.answers.state))

    def logits(self, pooled: Tensor) -> Tensor:
        """Apply each run's head to ``pooled`` [examples, hidden], a vector per example: float32 [examples, classes]."""
        assert self.examples is not None
        training = self.model.backbone.training
        hidden = pooled
        if self.pooler is not None:
            hidden = activation(self.spec.pooler_activation)(self.pooler(hidden))
        with torch.autocast(self.precision.device.type, enabled=False):
            grouped = self.examples.group(hidden.float())  # (R, most, H); of a bank that is read, R is those present
            if self.spec.dense_activation is not None:
                grouped = self._dense(grouped, training)
            grouped = nn.functional.dropout(grouped, self.spec.dropout, training)
            logits = torch.bmm(grouped, self._of_present("head.weight").mT)  # (R, most, C)
            if "head.bias" in self.leaves:
                logits = logits + self._of_present("head.bias")[:, None]
            return self.examples.ungroup(logits)

    def _dense(self, grouped: Tensor, training: bool) -> Tensor:
        """Compute the hidden layer of the heads: [runs, most, hidden] -> the same."""
        spec = self.spec
        if spec.dense_dropout:
            grouped = nn.functional.dropout(grouped, spec.dropout, training)
        dense = torch.bmm(grouped, self._of_present("head.dense.weight").mT)
        if spec.dense_bias:
            dense = dense + self._of_present("head.dense.bias")[:, None]
        grouped = activation(spec.dense_activation)(dense)
        if spec.norm_eps is not None:
            normed = nn.functional.layer_norm(grouped, grouped.shape[-1:], eps=spec.norm_eps)
            grouped = normed * self._of_present("head.norm.weight")[:, None]
            if spec.norm_bias:
                grouped = grouped + self._of_present("head.norm.bias")[:, None]
        return grouped

    def _of_present(self, name: str) -> Tensor:
        """Take a part of the heads of the runs that the pass has examples of, [runs present, ...]."""
        assert self.examples is not None
        present = self.examples.present
        return self.leaves[name] if present is None else self.leaves[name].index_select(0, present)

    # -- values ----------------------------------------------------------------------------------------------------

    @torch.no_grad()
    def init_head(self, run: int, seed: int) -> None:
        """Draw a run's head as transformers does: normal weights, zero biases, a LayerNorm that changes nothing."""
        spread = float(getattr(self.model.config, "initializer_range", 0.02))
        generator = torch.Generator().manual_seed(seed)
        for name, std in zip(("head.dense.weight", "head.weight"), self.spec.stds or (spread, spread), strict=True):
            if name in self.leaves:
                draw = torch.empty(self.parts[name].shape)
                if self.spec.stds is None:
                    draw.normal_(0.0, std, generator=generator)
                else:
                    end = self.spec.cutoff * std
                    nn.init.trunc_normal_(draw, 0.0, std, -end, end, generator=generator)
                self.leaves[name][run].copy_(draw)

    @torch.no_grad()
    def own(self, run: int, names: set[str], frozen: Mapping[str, np.ndarray] | None = None) -> None:
        """Restrict what a run trains to the parts in ``names``.

        ``frozen``: part -> bool of the part's shape, elements of these parts that stay as they are.
        """
        for name, part in self.parts.items():
            self.owned[run, part.columns] = name in names
        for name, mask in (frozen or {}).items():
            columns = self.parts[name].columns
            self.owned[run, columns] &= torch.as_tensor(~mask.ravel(), device=self.owned.device)

    def by_run(self, items: Tensor) -> Tensor:
        """Group what the last routed pass has per example by run: [examples] -> [runs, most], padded with 0."""
        assert self.examples is not None
        return self.examples.group(items)

    def mask_grads(self) -> None:
        """Zero the gradients of what a run does not own: another run in the bank does, or it is null."""
        self.grads.masked_fill_(~self.owned, 0.0)

    def value(self, name: str, run: int = 0) -> np.ndarray:
        """Copy one part of one run to the CPU, float32 of the part's shape."""
        return self.leaves[name][run].detach().cpu().numpy().copy()

    @torch.no_grad()
    def set_value(self, name: str, value: np.ndarray, run: int = 0) -> None:
        """Replace one part of one run.

        Raises:
            ValueError: the shape differs.
        """
        part = self.parts[name]
        if tuple(value.shape) != part.shape:
            raise ValueError(f"{name}: got shape {value.shape}, expected {part.shape}")
        self.leaves[name][run].copy_(torch.tensor(np.asarray(value, np.float32)))

    def trained_parameters(self, run: int = 0) -> int:
        """Count the numbers that a run trains, its head included."""
        return int(self.owned[run].sum())


def outside_modules(model: LoadedModel) -> Iterator[nn.Module]:
    """Find the modules whose bias is no term of a layer: LayerNorms of the embeddings or at the end, projections."""
    inside = {slot.module for slot in (*model.layout.slots, *model.layout.addable)}
    for path, module in model.backbone.named_modules():
        affine = isinstance(module, nn.Linear | Conv1D | nn.LayerNorm) and module.bias is not None
        if affine and path not in inside and not path.startswith("pooler"):
            yield module
