"""The oracle of adapters: a plain loop of PEFT and PyTorch, without any code of the lab."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from plain_loop import TorchAdamW
from tiny_models import VOCABULARY
from transformers import AutoModelForSequenceClassification, DynamicCache

from beft_core.adapter_methods import ADAPTERS
from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.training.batches.encoded import Encoded
from beft_core.training.methods.adapters import peft_settings
from beft_core.training.observer import Observer

peft = pytest.importorskip("peft")


def even(n: int, seed: int) -> Encoded:
    """Random rows of six tokens, of which none is padded."""
    rng = np.random.default_rng(seed)
    ids = rng.integers(3, VOCABULARY, (n, 6))
    return Encoded.of(list(ids), None, (ids.mean(1) > VOCABULARY / 2).astype(np.int64))


def classifier(model: LoadedModel) -> Any:
    """Transformers' own classifier around a copy of a tiny backbone, in evaluation mode."""
    settings = copy.deepcopy(model.config)
    settings.num_labels = 2
    if settings.pad_token_id is None:
        settings.pad_token_id = 0
    whole = AutoModelForSequenceClassification.from_config(settings, attn_implementation="sdpa")
    getattr(whole, whole.base_model_prefix).load_state_dict(model.backbone.state_dict(), strict=False)
    return whole.eval()


def own_config(whole: Any, model: LoadedModel, one: RunConfig) -> Any:
    """PEFT's configuration of a run for a whole classifier, of which no module but the head is trained beside."""
    settings = {**peft_settings(model, one), "task_type": "SEQ_CLS"}
    return getattr(peft, ADAPTERS[one.mode].config_class)(**settings)


def logits_of(wrapped: Any, one: RunConfig, rows: dict[str, torch.Tensor]) -> torch.Tensor:
    """Logits of PEFT's model. Its classifiers know no prefixes where a model's argument for them is called ``cache``,
    so that here the vectors of its encoder are given to the backbone.
    """
    base = wrapped.get_base_model()
    if one.mode != "prefix":
        return wrapped(**rows).logits
    size = base.config
    vectors = wrapped.prompt_encoder["default"](torch.arange(3).expand(len(rows["input_ids"]), -1))
    heads, count = size.num_attention_heads, size.num_hidden_layers
    pairs = vectors.view(len(vectors), 3, 2 * count, heads, -1).permute(2, 0, 3, 1, 4)
    cache = DynamicCache(config=size)
    for layer in range(count):
        cache.update(pairs[2 * layer], pairs[2 * layer + 1], layer)
    mask = torch.nn.functional.pad(rows["attention_mask"], (3, 0), value=1)
    if hasattr(base, "score"):
        return base.score(base.model(input_ids=rows["input_ids"], attention_mask=mask, cache=cache)[0][:, -1])
    hides = torch.zeros(mask.shape).masked_fill(mask == 0, -1e30)[:, None, None]
    hides = hides.expand(-1, 1, rows["input_ids"].shape[1], -1)
    return base.classifier(base.bert(input_ids=rows["input_ids"], attention_mask=hides, cache=cache)[1])


def plain_loop(model: LoadedModel, one: RunConfig, data: Encoded) -> tuple[Any, dict[str, torch.Tensor]]:
    """Fine-tune with PEFT and PyTorch alone. Returns PEFT's model and what it saves, by its names."""
    whole = classifier(model)
    head = whole.classifier if hasattr(whole, "classifier") else whole.score
    torch.manual_seed(one.seed)
    wrapped = peft.get_peft_model(whole, own_config(whole, model, one)).eval()
    head = next(m for name, m in wrapped.named_modules() if name.endswith("modules_to_save.default"))
    spread = float(getattr(model.config, "initializer_range", 0.02))
    with torch.no_grad():
        head.weight.copy_(
            torch.normal(0.0, spread, head.weight.shape, generator=torch.Generator().manual_seed(one.seed))
        )
        if head.bias is not None:
            head.bias.zero_()
    trained = [p for p in wrapped.parameters() if p.requires_grad]
    assert one.lr is not None and one.epochs is not None and one.adam_epsilon is not None
    optimizer = TorchAdamW(trained, one.adam_epsilon)
    per_epoch = math.ceil(len(data) / one.batch_size)
    for step in range(one.epochs * per_epoch):
        epoch, at = divmod(step, per_epoch)
        order = np.random.default_rng([one.seed, 1, epoch]).permutation(len(data))
        chosen = order[at * one.batch_size : (at + 1) * one.batch_size]
        rows = [data.ids[i] for i in chosen]
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        given = {"input_ids": ids, "attention_mask": mask}
        loss = torch.nn.functional.cross_entropy(logits_of(wrapped, one, given), torch.as_tensor(data.labels[chosen]))
        wrapped.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, one.clip)
        optimizer.step(one.lr * (1 - step / (one.epochs * per_epoch)))
    return wrapped, peft.get_peft_model_state_dict(wrapped)


class StopAfter(Observer):
    """Asks to stop after some steps."""

    def __init__(self, steps: int) -> None:
        self.left = steps

    def should_stop(self) -> bool:
        self.left -= 1
        return self.left < 0
