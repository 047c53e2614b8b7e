"""Adapters of the PEFT library in our loop: what it puts into a model is trained beside the bank, and left as its own
folder.

PEFT makes the modules and their first values, in place; batches, loss, optimizer, checkpoints and evaluation are those
of every other method. The head is trained in the bank, without the pooler's bias, which no adapter trains. Several runs
of LoRA in one pass are those of :mod:`beft_core.training.methods.lora_bank`.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor

from beft_core.architectures.targets import target_slots
from beft_core.config import SETTINGS_OF_METHODS, RunConfig
from beft_core.errors import UserError
from beft_core.exchange.peft_adapter import BUNDLED_ID, HEADS, ROOT, head_names
from beft_core.extras import install_command
from beft_core.models.biases import LoadedModel
from beft_core.models.source import BUNDLED
from beft_core.snapshots.adapter_folder import AdapterFolder
from beft_core.snapshots.snapshot import Snapshot
from beft_core.training.methods.base import Adam, Information, Method, TrainedWeights
from beft_core.training.methods.low_rank import factor_name
from beft_core.training.methods.virtual_tokens import VirtualTokens
from beft_core.training.preconditions import require_targets


class AdapterMethod(Method):
    """Method of the PEFT library, as its row of :data:`beft_core.adapter_methods.ADAPTERS` says."""

    pooler_in_bank = False

    def weights(self, model: LoadedModel, information: Information) -> AdapterWeights:
        """Put the adapter into a model on its device.

        Raises:
            UserError: the model cannot have it.
        """
        return AdapterWeights(model, self.config)


class AdapterWeights(TrainedWeights):
    """Parameters that PEFT put into a model, float32; the model's own stay frozen."""

    def __init__(self, model: LoadedModel, config: RunConfig) -> None:
        """Put them in, with first values drawn by the seed of a resolved configuration.

        Raises:
            UserError: the model cannot have them.
        """
        from peft import get_peft_model

        self._model, self._config = model, config
        backbone: Any = model.backbone
        self._settings = peft_settings(model, config)
        with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a base without a bias cannot be merged, and the like
            torch.manual_seed(config.seed)
            self.peft: Any = get_peft_model(backbone, peft_config(model, config))
        self._named: dict[str, torch.nn.Parameter] = {
            name: parameter for name, parameter in self.peft.named_parameters() if parameter.requires_grad
        }
        for parameter in self._named.values():
            parameter.data = parameter.data.float()
        super().__init__(Adam.of(config))

    @classmethod
    def of(cls, snapshot: Snapshot, model: LoadedModel, max_length: int) -> AdapterWeights:
        """Put the adapter that a snapshot has in memory into its base model, for texts of up to ``max_length`` tokens.

        Its settings are those that the snapshot records; the adapter's own configuration is not read.

        Raises:
            UserError: its settings are no method's, or it does not fit the model or texts of that length.
        """
        from peft import set_peft_model_state_dict

        assert snapshot.adapter is not None, "with_adapter reads it"
        fields = ("targets", *SETTINGS_OF_METHODS)
        settings = {name: value for name, value in snapshot.meta.hyperparameters.items() if name in fields}
        layers = {"layers": list(snapshot.meta.layers)} if snapshot.meta.layers is not None else {}
        recorded = {"mode": snapshot.meta.mode, "terms": [], "max_length": max_length, **settings, **layers}
        config = RunConfig.from_dict(recorded).resolved()
        weights = cls(model, config)
        shapes = {name: value.shape for name, value in weights.adapter({}).tensors.items()}
        found = {name: value for name, value in snapshot.adapter.tensors.items() if name in shapes}
        if any(name not in found or found[name].shape != shape for name, shape in shapes.items()):
            weights.take_out()
            raise UserError(
                f"got an adapter whose tensors are not those of {snapshot.meta.mode} on {model.id}",
                "the adapter that the fine-tune wrote",
            )
        inner = weights._inner
        state = {f"{ROOT}{name.removeprefix(inner)}" if name.startswith(inner) else name: found[name] for name in found}
        set_peft_model_state_dict(weights.peft, {name: torch.tensor(value) for name, value in state.items()})
        return weights

    def parameters(self) -> list[Tensor]:
        return list(self._named.values())

    @property
    def _inner(self) -> str:
        """Beginning of the names of the backbone's modules in a whole model under PEFT."""
        prefix = self._model.layout.prefix
        return f"{ROOT}{prefix}." if prefix else ROOT

    def installed(self) -> AbstractContextManager[None]:
        """Put vectors before the text while the context is open, if the method has such; wrapped modules stay."""
        return VirtualTokens(self._model, self.peft).installed() if self._config.method.before_text else nullcontext()

    def take_out(self) -> None:
        """Take the adapter out of the model, whose modules are then the very ones that it had before."""
        if not self._config.method.before_text:  # vectors before the text are in no module
            self.peft.unload()

    def layers(self) -> list[int]:
        """List the layers whose modules are wrapped, from 0; none where vectors stand before the text."""
        return sorted(self._wrapped())

    @contextmanager
    def without(self, layer: int) -> Iterator[None]:
        """Have the modules of one layer compute what they did without the adapter while the context is open."""
        modules: list[Any] = [self._model.backbone.get_submodule(name) for name in self._wrapped()[layer]]
        for module in modules:
            module.enable_adapters(False)
        try:
            yield
        finally:
            for module in modules:
                module.enable_adapters(True)

    def _wrapped(self) -> dict[int, list[str]]:
        """Name the modules that are wrapped, by layer."""
        config, adapter = self._config, self._config.method.adapter
        assert adapter is not None
        found: dict[int, list[str]] = {}
        if adapter.wraps:
            targets = config.targets or adapter.targets
            for slot in target_slots(self._model.layout, targets, config.layers, config.mode):
                found.setdefault(slot.layer, []).append(slot.module)
        return found

    def factors(self) -> dict[str, torch.nn.Parameter]:
        """Find the low-rank factors, each by the name of the part of a bank that holds it."""
        found = {}
        for name, parameter in self._named.items():
            path, factor, *_ = name.removeprefix(ROOT).rsplit(".", 3)  # of <module>.lora_A.default.weight
            found[factor_name(path, factor)] = parameter
        return found

    def adapter(self, head: Mapping[str, np.ndarray], run: int = 0) -> AdapterFolder:
        """Give the adapter as PEFT saves it, for the model as transformers opens it with its head."""
        from peft import get_peft_model_state_dict

        layout = self._model.layout
        inner = self._inner
        saved = get_peft_model_state_dict(self.peft, save_embedding_layers=False)
        tensors = {
            f"{inner}{name.removeprefix(ROOT)}" if name.startswith(ROOT) else name: value.detach().float().cpu().numpy()
            for name, value in saved.items()
        }
        modules: list[str] = []
        if head and layout.model_type in HEADS:
            # PEFT wraps the model itself for vectors before the text, and else through a tuner, a level further down.
            outer = "base_model." if self._config.method.before_text else ROOT
            names = head_names(layout)
            tensors |= {f"{outer}{names[part]}": value for part, value in head.items() if part in names}
            modules = sorted({names[part].split(".")[0] for part in head if part in names})
        config = json.loads(json.dumps(self.peft.peft_config["default"].to_dict(), default=_plain))
        config |= {
            **json.loads(json.dumps(self._settings, default=_plain)),
            "auto_mapping": None,
            "base_model_name_or_path": BUNDLED_ID if self._model.id == BUNDLED else self._model.id,
            "revision": self._model.info.revision,
            "inference_mode": True,
            "modules_to_save": modules or None,
            "task_type": "SEQ_CLS" if head else "CAUSAL_LM",
        }
        return AdapterFolder(config, tensors)


@contextmanager
def put_in(model: LoadedModel, config: RunConfig) -> Iterator[AdapterWeights]:
    """Put an adapter that wraps modules into a model while the context is open, with the first values of its seed.

    Raises:
        UserError: the model cannot have it.
    """
    weights = AdapterWeights(model, config)
    try:
        yield weights
    finally:
        weights.take_out()


def peft_settings(model: LoadedModel, config: RunConfig) -> dict[str, Any]:
    """List the fields of PEFT's configuration that a resolved configuration fills in.

    Raises:
        UserError: the model has no such modules, no room for vectors before the text, or nothing that takes them.
    """
    adapter = config.method.adapter
    assert adapter is not None, "only methods of the PEFT library have its settings"
    settings = dict(adapter.fixed) | {one.argument: getattr(config, one.field) for one in adapter.settings}
    if not adapter.wraps:
        VirtualTokens.require(model, config)
        return settings | {"task_type": "FEATURE_EXTRACTION"} | VirtualTokens.sizes(model, adapter.alone_in_row)
    require_targets(config, model.layout)
    slots = target_slots(model.layout, config.targets or adapter.targets, config.layers, config.mode)
    settings["target_modules"] = [slot.module for slot in slots]
    if adapter.scales_inputs_of:
        settings["feedforward_modules"] = [slot.module for slot in slots if slot.term in adapter.scales_inputs_of]
    if model.layout.inputs_first and not adapter.norms:
        settings["fan_in_fan_out"] = True
    return settings


def peft_config(model: LoadedModel, config: RunConfig) -> Any:
    """Make PEFT's configuration of a resolved configuration, for the model without its head.

    Raises:
        UserError: as :func:`peft_settings`, or a release of PEFT that does not know the method or a setting of it.
    """
    import peft

    adapter = config.method.adapter
    assert adapter is not None
    settings = peft_settings(model, config)
    try:
        return getattr(peft, adapter.config_class)(**settings)
    except (AttributeError, TypeError) as error:  # a method, or a setting, that this release does not know
        raise UserError(
            f"got --method {config.mode} in peft {peft.__version__}: {error}",
            "peft 0.21 or later",
            install_command("methods"),
        ) from None


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, set | frozenset) else str(getattr(value, "value", value))
