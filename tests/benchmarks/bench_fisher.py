"""Exact per-example Fisher information of every bias in batched passes, against a loop over single examples.

BEFT_GLUE_DIR=... python tests/benchmarks/bench_fisher.py [--model bert-base] [--device cuda] [--examples 512]
"""

from __future__ import annotations

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from bench_training import bert_base, machine, now
from torch.nn import functional as F

from beft_core.models.biases import LoadedModel
from beft_core.models.load import load_model
from beft_core.tasks.examples import subsample
from beft_core.tasks.load import load_task
from beft_core.tasks.registry import get_task
from beft_core.training.acceleration.session import Accelerated
from beft_core.training.batches.encoded import Encoded, encode
from beft_core.training.fisher import information
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.objectives.registry import objective_of
from beft_core.training.precision import Precision, pick_device


def single_examples(
    model: LoadedModel, data: Encoded, head: dict[str, np.ndarray], device: torch.device
) -> torch.Tensor:
    """Mean squared gradient of every bias term, one backward pass per example; [elements]."""
    biases = [model.backbone.get_submodule(slot.module).bias.requires_grad_() for slot in model.layout.slots]
    weight, offset = (torch.as_tensor(head[name], device=device) for name in ("head.weight", "head.bias"))
    total = torch.zeros(sum(b.numel() for b in biases), dtype=torch.float64, device=device)
    for ids, label in zip(data.ids, data.labels, strict=True):
        pooled = model.backbone(torch.as_tensor(ids, device=device)[None]).pooler_output
        likelihood = F.log_softmax(F.linear(pooled, weight, offset), 1)[0, int(label)]
        total += torch.cat(torch.autograd.grad(likelihood, biases)).square()
    for bias in biases:
        bias.requires_grad_(False)
    return total / len(data)


def main() -> None:
    """Time both ways on the same examples and compare what they find."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled")
    parser.add_argument("--task", default="sst2" if os.environ.get("BEFT_GLUE_DIR") else "demo-sentiment")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--examples", type=int, default=256)
    args = parser.parse_args()
    device = pick_device(args.device)
    with tempfile.TemporaryDirectory() as folder:
        model = load_model(str(bert_base(Path(folder)) if args.model == "bert-base" else args.model))
    model.backbone.to(device)
    data = encode(model.tokenizer, subsample(load_task(args.task).train, args.examples, 0), 128)
    precision = Precision("float32", device)
    bank = Bank(model, [], runs=1, classes=2, precision=precision)
    bank.init_head(0, 0)
    head = {name: bank.value(name) for name in bank.parts if name.startswith("head.")}

    likelihood = objective_of(get_task(args.task)).log_likelihood
    reader = Accelerated(model, precision).reader

    def batched() -> information.FisherInformation:
        slots = model.layout.slots
        return information.fisher_information(model, slots, data, head, likelihood, precision, reader=reader)

    few = data.take(range(32))
    single_examples(model, few, head, device)  # warm-up
    started = now(args.device)
    looped = single_examples(model, data, head, device)
    loop_seconds = now(args.device) - started
    batched()
    seconds = []
    for _ in range(3):
        started = now(args.device)
        result = batched()
        seconds.append(now(args.device) - started)
    ours = np.concatenate(
        [row for slot in model.layout.slots for row in [result.exact[slot.stack, slot.term][slot.layer]]]
    )
    reference = looped.cpu().numpy()
    error = np.abs(ours - reference).max() / reference.max()
    total = abs(ours.sum() / reference.sum() - 1)
    print(f"{args.model} on {args.task}, {args.examples} examples, float32; {machine(args)}")
    print(f"loop of single examples  {loop_seconds:8.2f} s  {1000 * loop_seconds / args.examples:7.2f} ms/example")
    print(f"batched, exact + batch   {min(seconds):8.2f} s  {1000 * min(seconds) / args.examples:7.2f} ms/example")
    print(
        f"ratio {loop_seconds / min(seconds):.1f}; largest difference {error:.1e} of the largest value, sum {total:.1e}"
    )


if __name__ == "__main__":
    main()
