"""The oracle of fine-tunes of BERT: transformers' own classifier in a plain loop, without any code of the lab."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from beft_core.config import RunConfig
from beft_core.training.batches.encoded import Encoded

Parameters = list[nn.Parameter]


class AuthorsAdamW:
    """The formula of transformers 4.41's AdamW with ``correct_bias`` and without decay, which the authors use."""

    def __init__(self, parameters: Sequence[nn.Parameter], epsilon: float) -> None:
        self.parameters, self.epsilon, self.t = list(parameters), epsilon, 0
        self.m = [torch.zeros_like(p) for p in self.parameters]
        self.v = [torch.zeros_like(p) for p in self.parameters]

    @torch.no_grad()
    def step(self, lr: float) -> None:
        self.t += 1
        step_size = lr * math.sqrt(1 - 0.999**self.t) / (1 - 0.9**self.t)
        for p, m, v in zip(self.parameters, self.m, self.v, strict=True):
            if p.grad is None:
                continue
            m.copy_(0.9 * m + 0.1 * p.grad)
            v.copy_(0.999 * v + 0.001 * p.grad**2)
            p -= step_size * m / (v.sqrt() + self.epsilon)


class TorchAdamW:
    """torch.optim.AdamW without decay, with the learning rate given at each step."""

    def __init__(self, parameters: Sequence[nn.Parameter], epsilon: float) -> None:
        self.optimizer = torch.optim.AdamW(parameters, eps=epsilon, weight_decay=0.0)

    def step(self, lr: float) -> None:
        self.optimizer.param_groups[0]["lr"] = lr
        self.optimizer.step()


@dataclass
class Plain:
    """What a plain loop left."""

    peer: nn.Module
    """BertForSequenceClassification."""
    losses: list[float]
    norms: list[float]
    """Of the gradient at each step, before clipping."""

    def bias(self, term: str) -> np.ndarray:
        """Bias of the queries, keys or values, [layers, width]."""
        path = {"q": "query", "k": "key", "v": "value"}[term]
        layers: Any = self.peer.bert.encoder.layer
        return np.stack([getattr(layer.attention.self, path).bias.detach().numpy() for layer in layers])


def terms_and_head(*terms: str) -> Callable[[Any], Parameters]:
    """What a fine-tune of bias terms trains of a classifier."""
    paths = {"q": "query", "k": "key", "v": "value"}
    return lambda peer: [
        *(getattr(layer.attention.self, paths[term]).bias for term in terms for layer in peer.bert.encoder.layer),
        peer.bert.pooler.dense.bias,
        *peer.classifier.parameters(),
    ]


def plain_run(
    peer: Any,
    run: RunConfig,
    data: Encoded,
    trains: Callable[[Any], Parameters],
    *,
    only: Callable[[Any], None] = lambda peer: None,
    pad: int = 0,
) -> Plain:
    """Fine-tune ``peer``, a BertForSequenceClassification in evaluation mode, without dropout.

    ``trains``: its trained parameters. ``only``: sets the gradients to zero that shall not count.
    """
    generator = torch.Generator().manual_seed(run.seed)
    with torch.no_grad():
        peer.classifier.weight.copy_(torch.normal(0.0, 0.02, peer.classifier.weight.shape, generator=generator))
        peer.classifier.bias.zero_()
    peer.requires_grad_(False).eval()
    trained = trains(peer)
    for parameter in trained:
        parameter.requires_grad_()
    assert run.lr is not None and run.epochs is not None and run.adam_epsilon is not None
    optimizer = {"before": AuthorsAdamW, "after": TorchAdamW}[str(run.adam_epsilon_at)](trained, run.adam_epsilon)
    per_epoch = math.ceil(len(data) / run.batch_size)
    total = run.epochs * per_epoch
    result = Plain(peer, [], [])
    for step in range(total):
        epoch, at = divmod(step, per_epoch)
        order = np.random.default_rng([run.seed, 1, epoch]).permutation(len(data))
        chosen = order[at * run.batch_size : (at + 1) * run.batch_size]
        rows = [data.ids[i] for i in chosen]
        width = max(map(len, rows))
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows])
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
        loss: Tensor = peer(input_ids=ids, attention_mask=mask, labels=torch.as_tensor(data.labels[chosen])).loss
        peer.zero_grad()
        loss.backward()
        only(peer)
        result.norms.append(float(torch.nn.utils.clip_grad_norm_(trained, run.clip or math.inf)))
        optimizer.step(run.lr * (1 - step / total if run.schedule == "linear" else 1))
        result.losses.append(float(loss.detach()))
    return result
