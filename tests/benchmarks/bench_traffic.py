"""What a compiled layer of a bank moves between its products: bytes per token and hidden unit, forward and backward.

Counted in the program that Inductor makes, not timed, so that it needs no GPU; products and attention are left out.
BERT-base's layer, b_v trained, bfloat16, dropout of hidden states on: once with the LayerNorm of autocast, whose result
stays in float32, and once with the lab's, which rounds it. Start from the repository (needs a C++ compiler):

    python tests/benchmarks/bench_traffic.py
"""

from __future__ import annotations

import argparse
import os
from contextlib import nullcontext
from typing import Any
from unittest import mock

os.environ["TORCHINDUCTOR_FORCE_DISABLE_CACHES"] = "1"  # a cached program is not compiled, and so not counted

import torch
from bench_bank import BATCH, LENGTH, examples, fit
from torch import nn
from torch._inductor import scheduler
from transformers import BertConfig

from beft_core.training import precision
from beft_core.training.acceleration import session
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision

RUNS = 2
CONFIG = BertConfig(num_hidden_layers=3, attention_probs_dropout_prob=0.0)  # of a CPU, flash attention has no dropout


def count() -> list[float]:
    """Bytes per token and hidden unit of every program that is made while a bank takes two steps."""
    found = []
    schedule = scheduler.Scheduler.codegen

    def counted(self: Any) -> Any:
        moved = sum(
            node.get_read_write_buffers_sizes()
            for node in self.nodes
            if not isinstance(node, scheduler.ExternKernelSchedulerNode)
        )
        found.append(moved / (RUNS * BATCH * LENGTH * CONFIG.hidden_size))
        return schedule(self)

    arguments = argparse.Namespace(device="cpu", precision="bfloat16", shape="bert-base")
    with (
        mock.patch.object(scheduler.Scheduler, "codegen", counted),
        mock.patch.object(precision, "cpu_has_bfloat16", lambda: True),
        mock.patch.object(session, "cpu_dropout", lambda backbone: nullcontext()),  # as on a GPU
        mock.patch.object(session, "HASHED", {"cpu"}),
    ):
        torch._dynamo.reset()
        fit(CONFIG, examples(CONFIG, RUNS, 2, None), arguments, Observer(), compile=True)
    return found


def main() -> None:
    """Count and print."""
    rounds = Precision.computes
    print(f"BERT-base layer, bfloat16, {RUNS} runs, batch {BATCH}, {LENGTH} tokens; torch {torch.__version__}")
    print(f"{'LayerNorm':16}{'forward':>10}{'backward':>10}{'together':>10}   bytes per token and hidden unit")
    for name, computes in {
        "of autocast": lambda self, module: not isinstance(module, nn.LayerNorm) and rounds(self, module),
        "rounded": rounds,
    }.items():
        with mock.patch.object(Precision, "computes", computes):
            forward, *_, backward, _ = count()  # the last program is the backward of the first layer, which is shorter
        print(f"{name:16}{forward:10.1f}{backward:10.1f}{forward + backward:10.1f}", flush=True)


if __name__ == "__main__":
    main()
