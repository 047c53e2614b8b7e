"""Fine-tunes of LoRA in one pass against one after another: milliseconds per run-step, and the chip's own limit.

One run, one table. Every method makes the same updates (LoRA of rank 8 on q and v, and the head; batch 16, AdamW,
clipping 1.0, dropout on): banks of several sizes, the lab's own fine-tunes one by one (PEFT's modules in its loop), and
a plain loop over PEFT's model, padded to each batch's longest example. A bank of b_v beside them says what the factors
cost. Weights are random, since times do not depend on them; nothing is downloaded. ``--check`` compares what a bank and
the fine-tunes alone leave, without dropout. Start from the repository:

    python tests/benchmarks/bench_lora_bank.py --shape bert-base --device cuda --precision bfloat16 --check
    python tests/benchmarks/bench_lora_bank.py --shape bundled --device cpu --precision float32 --steps 12

On a CPU it is processor time of one thread that is measured, so that other programs may be at work beside it.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from bench_bank import BATCH, LENGTH, SHAPES, examples, flops, matrix_rate, now, sentence_lengths
from torch import nn
from transformers import BertConfig, BertForSequenceClassification, BertModel

from beft_core.config import RunConfig
from beft_core.models.load import wrap
from beft_core.tasks.examples import Examples, TaskData
from beft_core.tasks.registry import get_task
from beft_core.training.batches.encoded import Encoded
from beft_core.training.observer import Observer
from beft_core.training.workflow import Trained, fit_bank

RANK, ALPHA, RATE = 8, 16.0, 1e-3
PASSES = 10
"""Reads and writes of a token's vector for each changed matrix, where each product and sum is an operation of its own.
Forward: the input for ``A``, the output read and written for the sum. Backward: the output's gradient for ``B``'s and
for ``A``'s, the input for ``A``'s, and its own gradient, written, and read with the frozen product's to write the sum.
The rest has the width of the rank.
"""

Measure = Callable[[BertConfig, list[Encoded], argparse.Namespace], float]


def methods(sizes: list[int], device: str) -> dict[str, Measure]:
    """Name the methods; each gives seconds per run-step."""
    table: dict[str, Measure] = {}
    for size in sizes:
        table[f"bank of {size}"] = lambda *on, n=size: lab(*on, runs=n)
        if device == "cuda":
            table[f"bank of {size}, compiled"] = lambda *on, n=size: lab(*on, runs=n, compile=True)
    table[f"bank of {sizes[-1]}, b_v"] = lambda *on: lab(*on, runs=sizes[-1], mode="terms")
    table["one by one"] = lambda *on: lab(*on, runs=1)
    table["PEFT loop"] = peft_loop
    return table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="bert-base", choices=SHAPES)
    parser.add_argument("--runs", type=int, nargs="+", default=[8, 16], help="sizes of the banks")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--lengths", help="a .npy of token counts; without it 128 tokens, or SST-2's for bundled")
    parser.add_argument("--check", action="store_true", help="also compare what they leave, in float32")
    parser.add_argument("--compile", action="store_true", help="compile layers for --check")
    parser.add_argument("--only", nargs="*")
    args = parser.parse_args()
    lengths = np.load(args.lengths) if args.lengths else sentence_lengths() if args.shape == "bundled" else None
    config = BertConfig(**SHAPES[args.shape])
    if args.device == "cpu":
        torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if args.device == "cuda" else "one CPU thread"
    print(f"{args.shape}, LoRA of rank {RANK} on q and v, batch {BATCH}, {args.precision}; {name}, {torch.__version__}")
    print(f"tokens per example: {LENGTH if lengths is None else f'{lengths.mean():.1f} on average'}")
    limit, sustained = matrix_rate(args.device, args.precision) if args.device == "cuda" else (product_rate(),) * 2
    print(f"matrix rate, measured: {limit / 1e12:.2f} TFLOP/s at once, {sustained / 1e12:.2f} after a second")
    copying = copy_rate(args.device)
    print(f"copies, measured: {copying / 1e9:.0f} GB/s, read and written")
    data = examples(config, max(args.runs), args.steps, lengths)
    frozen, factors = flops(config, data), flops_of_factors(config, data)
    moved = bytes_of_factors(config, data, 2 if args.precision == "bfloat16" else 4)
    least, added = (frozen + factors) / sustained, moved / copying
    print(f"a run-step needs {frozen / 1e9:.1f} GFLOP as for b_v and {factors / 1e9:.1f} more: {1e3 * least:.2f} ms")
    print(f"changed matrices move {moved / 1e6:.1f} MB besides: {1e3 * added:.2f} ms, where nothing stays in a cache")
    if args.check:
        check(config, lengths, args)
    table = methods(args.runs, args.device)
    results: dict[str, float] = {}
    print(f"{'method':24}{'ms/run-step':>12}{'TFLOP/s':>10}{'of limit':>10}{'peak MB':>10}{'PEFT takes':>12}")
    peer = None if args.only and "PEFT loop" not in args.only else "PEFT loop"
    for method in sorted(args.only or table, key=lambda one: one != peer):
        if args.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = results[method] = table[method](config, data, args)
        peak = torch.cuda.max_memory_allocated() / 2**20 if args.device == "cuda" else float("nan")
        rate = (frozen + (factors if "b_v" not in method else 0)) / seconds
        times = f"{results[peer] / seconds:11.1f}x" if peer else ""
        print(
            f"{method:24}{1e3 * seconds:12.2f}{rate / 1e12:10.2f}{rate / sustained:10.3f}{peak:10.0f}{times:>12}",
            flush=True,
        )


def flops_of_factors(config: BertConfig, data: list[Encoded]) -> float:
    """Arithmetic that LoRA adds to a run's step: forward, and twice that backward, of every token.

    The first layer's attention has a whole backward pass, too, where queries are trained and not values alone.
    """
    n = np.concatenate([one.lengths for one in data]).astype(float)
    low = 3 * 2 * 2 * RANK * 2 * config.hidden_size * config.num_hidden_layers * n
    return float((low + 1.5 * 4 * config.hidden_size * n**2).mean() * BATCH)


def bytes_of_factors(config: BertConfig, data: list[Encoded], width: int) -> float:
    """Bytes that the changes of q and v read and write in a run's step, numbers of so many bytes each."""
    n = np.concatenate([one.lengths for one in data]).mean()
    return float(BATCH * n * 2 * config.num_hidden_layers * PASSES * config.hidden_size * width)


def spent(device: str) -> float:
    """Processor time on a CPU; on a GPU the time, once it has caught up."""
    return time.process_time() if device == "cpu" else now(device)


class Clock(Observer):
    """Seconds per step of the second half of a training: what is compiled or warmed up lies before."""

    def __init__(self, device: str, steps: int, trains: bool = True) -> None:
        """``trains``: whether the training has begun; else the stage of this name begins it."""
        self.device, self.half, self.trains = device, steps // 2, trains
        self.steps, self.at, self.end = 0, 0.0, 0.0

    def stage(self, name: str, total: int | None = None) -> None:
        self.trains = name == "train"

    def advance(self, n: int = 1) -> None:
        if not self.trains:
            return  # stages before it advance, too
        self.steps += n
        if self.steps == self.half:
            self.at = spent(self.device)
        elif self.steps == 2 * self.half:
            self.end = spent(self.device)

    def seconds(self) -> float:
        return (self.end - self.at) / self.half


def product_rate() -> float:
    """FLOP/s of a large matrix product on one CPU thread."""
    a = torch.randn(1024, 1024)
    for warm in (True, False):
        began = spent("cpu")
        for _ in range(3 if warm else 12):
            a @ a
    return 12 * 2 * 1024**3 / (spent("cpu") - began)


def copy_rate(device: str) -> float:
    """Bytes per second that a large copy reads and writes."""
    clock = Clock(device, 20)
    x = torch.ones(2**28 if device == "cuda" else 2**24, device=device)
    y = torch.empty_like(x)
    for _ in range(20):
        y.copy_(x)
        clock.advance()
    return 2 * x.numel() * 4 / clock.seconds()


def run_of(seed: int, count: int, args: argparse.Namespace, **changes: Any) -> RunConfig:
    """Give the configuration of one fine-tune."""
    own = {"mode": "lora", "terms": (), "rank": RANK, "alpha": ALPHA}
    if changes.get("mode") == "terms":
        own = {"terms": ("v",)}
    settings = {
        "lr": RATE,
        "epochs": 1,
        "schedule": "constant",
        "n_train": count,
        "seed": seed,
        "batch_size": BATCH,
        "evaluate": "never",
        "device": args.device,
        "precision": args.precision,
    }
    return RunConfig(**{**settings, **own, **changes}).resolved()


def fit(
    config: BertConfig, data: list[Encoded], args: argparse.Namespace, observer: Observer, first: int = 0, **how: Any
) -> Any:
    """Train as many runs as there are data, in one pass; seeds count from ``first``."""
    torch.manual_seed(0)
    backbone = BertModel(config, add_pooling_layer=True)
    backbone.set_attn_implementation("sdpa")
    runs = [run_of(seed, len(one), args, **how) for seed, one in enumerate(data, first)]
    none = TaskData(get_task("demo-sentiment"), Examples([], None, np.array([])), {}, "random tokens")
    return fit_bank(wrap(backbone, id="random"), none, runs, trains=data, evals={}, observer=observer)


def lab(config: BertConfig, data: list[Encoded], args: argparse.Namespace, runs: int, **how: Any) -> float:
    """Measure seconds per run-step of the lab's trainer with a bank of so many runs."""
    clock = Clock(args.device, args.steps, trains=False)
    fit(config, data[:runs], args, clock, **how)
    return clock.seconds() / runs


def peft_loop(config: BertConfig, data: list[Encoded], args: argparse.Namespace) -> float:
    """Measure seconds per step of a plain loop over PEFT's model, with its head trained beside."""
    from peft import LoraConfig, TaskType, get_peft_model

    device = torch.device(args.device)
    settings = LoraConfig(r=RANK, lora_alpha=int(ALPHA), target_modules=["query", "value"], task_type=TaskType.SEQ_CLS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model: Any = get_peft_model(BertForSequenceClassification(config), settings).to(device).train()  # type: ignore[arg-type]
    trained = [one for one in model.parameters() if one.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.0, fused=True)
    clock = Clock(args.device, args.steps)
    order = np.random.default_rng(0).permutation(len(data[0]))
    for step in range(args.steps):
        batch = data[0].take(order[step * BATCH : (step + 1) * BATCH])
        ids = np.zeros((BATCH, int(batch.lengths.max())), np.int64)
        for row, tokens in zip(ids, batch.ids, strict=True):
            row[: len(tokens)] = tokens
        given = torch.from_numpy(ids).to(device)
        labels = torch.from_numpy(batch.labels).to(device)
        with torch.autocast(args.device, torch.bfloat16, enabled=args.precision == "bfloat16"):
            logits = model(input_ids=given, attention_mask=(given > 0).long()).logits
        optimizer.zero_grad()
        nn.functional.cross_entropy(logits.float(), labels).backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        clock.advance()
    return clock.seconds()


def check(config: BertConfig, lengths: np.ndarray | None, args: argparse.Namespace) -> None:
    """Print how far a bank's factors are from those of the fine-tunes alone, in float32 without dropout."""
    data = examples(config, 3, 5, lengths)
    exact = argparse.Namespace(**{**vars(args), "precision": "float32"})

    def left(some: list[Encoded], first: int) -> list[Trained]:
        runs: list[Trained] = fit(config, some, exact, Observer(), first, dropout=False, compile=args.compile)
        return runs

    bank = left(data, 0)
    largest = moved = 0.0
    for run, one in enumerate(data):
        ours, alone = bank[run].sound().adapter, left([one], run)[0].sound().adapter
        assert ours is not None and alone is not None and set(ours.tensors) == set(alone.tensors)
        largest = max(largest, *(float(np.abs(ours.tensors[k] - v).max()) for k, v in alone.tensors.items()))
        moved = max(moved, *(float(np.abs(v).max()) for k, v in ours.tensors.items() if "lora_B" in k))
    print(f"bank of 3 against PEFT's modules alone, 5 steps: {largest:.1e} at most, where B moved by {moved:.1e}")


if __name__ == "__main__":
    main()
