"""R fine-tunes in one pass against one after another: milliseconds per run-step, and against the chip's own limit.

One run, one table. Every method makes the same updates (b_v, pooler bias and head; batch 16, AdamW, clipping 1.0,
dropout on): the bank, the lab's trainer run by run, transformers' Trainer, PEFT's BEFT. Weights are random, since times
do not depend on them; nothing is downloaded. Start from the repository:

    python tests/benchmarks/bench_bank.py --shape bert-base --runs 27 --device cuda --precision bfloat16
    BEFT_GLUE_DIR=... python tests/benchmarks/bench_bank.py --shape bundled --runs 30 --device cuda --precision bfloat16
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.models.load import wrap
from beft_core.tasks.registry import get_task
from beft_core.training.acceleration.session import Accelerated
from beft_core.training.batches.encoded import Encoded
from beft_core.training.job import Job
from beft_core.training.methods.bias_bank import Bank, slot_name
from beft_core.training.objectives.registry import objective_of
from beft_core.training.observer import Observer
from beft_core.training.precision import Precision
from beft_core.training.trainer import Trainer

BATCH, LENGTH = 16, 128
SHAPES = {
    "bert-base": {},
    "bundled": {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536},
}
"""Name -> what differs from BertConfig's defaults."""
METHODS: dict[str, Callable[[BertConfig, list[Encoded], argparse.Namespace], float]] = {
    "bank, compiled": lambda *on: lab(*on, compile=True),
    "bank": lambda *on: lab(*on),
    "bank, launched": lambda *on: lab(*on, record=False),
    "sequential": lambda *on: lab(*on, runs=1),
    "sequential, launched": lambda *on: lab(*on, runs=1, record=False),
    "transformers": lambda *on: peer(*on, peft=False),
    "peft": lambda *on: peer(*on, peft=True),
}
"""Name -> seconds per run-step. "Launched": every operation on its own instead of a CUDA graph of the whole step."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="bert-base", choices=SHAPES)
    parser.add_argument("--runs", type=int, default=27)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--lengths", help="a .npy of token counts, for a machine without the data")
    parser.add_argument("--profile", action="store_true", help="also print where the bank's time goes")
    parser.add_argument("--only", nargs="*", default=list(METHODS), choices=METHODS)
    args = parser.parse_args()
    lengths = None
    if args.shape == "bundled":
        lengths = np.load(args.lengths) if args.lengths else sentence_lengths()
    config = BertConfig(**SHAPES[args.shape])
    name = torch.cuda.get_device_name() if args.device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{args.shape}, {args.runs} runs, batch {BATCH}, {args.precision}; {name}, torch {torch.__version__}")
    print(f"tokens per example: {'SST-2' if lengths is not None else LENGTH}")
    limit, sustained = matrix_rate(args.device, args.precision)
    print(f"matrix rate, measured: {limit / 1e12:.0f} TFLOP/s at once, {sustained / 1e12:.0f} after a second")
    data = examples(config, args.runs, args.steps, lengths)
    work, nominal = (flops(config, data, needed) for needed in (True, False))
    print(f"arithmetic of a run-step: {work / 1e12:.3f} TFLOP are needed, {nominal / 1e12:.3f} are the whole model's")
    results = {}
    print(f"{'method':22}{'ms/run-step':>12}{'TFLOP/s':>10}{'of limit':>10}{'peak MB':>10}{'first is':>10}")
    for method in args.only:
        if args.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        seconds = METHODS[method](config, data, args)
        results[method] = seconds
        peak = torch.cuda.max_memory_allocated() / 2**20 if args.device == "cuda" else float("nan")
        rate, times = work / seconds, seconds / results[args.only[0]]
        print(
            f"{method:22}{1e3 * seconds:12.2f}{rate / 1e12:10.1f}{rate / limit:10.3f}{peak:10.0f}{times:9.1f}x",
            flush=True,
        )
    if args.profile:
        profile(config, data, args)


def sentence_lengths() -> np.ndarray:
    """Tokens of SST-2's sentences in their own order: words, more or less, and two special tokens."""
    from beft_core.models.load import load_tokenizer
    from beft_core.tasks.load import load_task
    from beft_core.training.batches.encoded import encode

    if "BEFT_GLUE_DIR" not in os.environ:
        raise SystemExit("BEFT_GLUE_DIR names no folder with SST-2")
    train = load_task("sst2").train
    some = train.take(np.random.default_rng(0).permutation(len(train))[:20_000])
    return encode(load_tokenizer(), some, LENGTH).lengths


def examples(config: BertConfig, runs: int, steps: int, lengths: np.ndarray | None) -> list[Encoded]:
    """As many examples per run as its steps take, with random tokens."""
    rng = np.random.default_rng(0)
    count = BATCH * steps
    out = []
    for _ in range(runs):
        drawn = np.full(count, LENGTH) if lengths is None else rng.choice(lengths, count)
        ids = [rng.integers(1000, config.vocab_size, size=n) for n in drawn]
        out.append(Encoded.of(ids, None, rng.integers(0, 2, count)))
    return out


def flops(config: BertConfig, data: list[Encoded], needed: bool = True) -> float:
    """Arithmetic of one run's step, without padding: products of forward, and of backward for the inputs only.

    ``needed``: what the update depends on. Of the last layer one token of each example is read, so for the others only
    keys and values count; below the first layer's values nothing is trained. Otherwise: as if all of it were computed.
    """
    h, m, layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
    n = np.concatenate([one.lengths for one in data]).astype(float)
    whole, attention = 4 * h * h + 2 * h * m, 2 * 2 * h * n**2  # multiplications of a token, FLOP of an example
    if not needed:
        return float((2 * 2 * layers * whole * n + 3 * layers * attention).mean() * BATCH)
    assert layers > 1
    last = 2 * h * h * n + (2 * h * h + 2 * h * m) + 2 * h * n
    forward = 2 * ((layers - 1) * whole * n + last) + (layers - 1) * attention
    backward = 2 * ((layers - 2) * whole * n + (h * h + 2 * h * m) * n + last) + (2 * (layers - 2) + 0.5) * attention
    return float((forward + backward).mean() * BATCH)


def matrix_rate(device: str, precision: str) -> tuple[float, float]:
    """FLOP/s of a large matrix product: at once, and after a second of nothing else.

    The second is what a GPU's power and temperature allow; the first lasts for some hundredths of a second.
    """
    n = 8192 if device == "cuda" else 1024
    dtype = torch.bfloat16 if precision == "bfloat16" and device == "cuda" else torch.float32
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))

    def rate() -> float:
        began = now(device)
        for _ in range(20):
            a @ b
        return 20 * 2 * n**3 / (now(device) - began)

    for _ in range(5):
        a @ b
    first, began = rate(), now(device)
    while now(device) - began < 1:
        rate()
    return first, statistics.median(rate() for _ in range(9))


def now(device: str) -> float:
    """The time, once the device has caught up."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


class Clock(Observer):
    """Seconds per step of the second half of a fine-tune: what is compiled or warmed up lies before."""

    def __init__(self, device: str, steps: int) -> None:
        self.device, self.half, self.steps, self.at = device, steps // 2, 0, 0.0

    def advance(self, n: int = 1) -> None:
        self.steps += n
        if self.steps == self.half:
            self.at = now(self.device)

    def seconds(self) -> float:
        return (now(self.device) - self.at) / (self.steps - self.half)


def lab(
    config: BertConfig, data: list[Encoded], args: argparse.Namespace, runs: int | None = None, **how: bool
) -> float:
    """Seconds per run-step of the lab's trainer with a bank of so many runs."""
    runs = runs or args.runs
    clock = Clock(args.device, args.steps)
    fit(config, data[:runs], args, clock, **how)
    return clock.seconds() / runs


def fit(config: BertConfig, data: list[Encoded], args: argparse.Namespace, observer: Observer, **how: bool) -> None:
    torch.manual_seed(0)
    model: LoadedModel = wrap(BertModel(config), id="random")
    device = torch.device(args.device)
    model.backbone.to(device)
    precision = Precision(args.precision, device)
    slots = model.layout.slots_of("v")
    pad = "packed" if args.shape == "bundled" and len(data) > 1 else "longest"
    session = Accelerated(model, precision, pad=pad, **how)
    bank = Bank(model, slots, runs=len(data), classes=2, precision=precision, reader=session.reader)
    precision.prepare(model.backbone)
    owned = {slot_name(slot) for slot in slots} | {"pooler.bias", "head.weight", "head.bias"}
    jobs = []
    for run, encoded in enumerate(data):
        bank.init_head(run, run)
        settings = RunConfig(
            lr=1e-3, epochs=1, schedule="constant", n_train=len(encoded), seed=run, batch_size=BATCH, evaluate="never"
        )
        jobs.append(Job(settings.resolved(model.layout), encoded, owned))
    Trainer(
        bank,
        jobs,
        evals={},
        metrics={},
        objective=objective_of(get_task("demo-sentiment")),
        pad=pad,
        session=session,
        observer=observer,
    ).fit()


def peer(config: BertConfig, data: list[Encoded], args: argparse.Namespace, peft: bool) -> float:
    """Seconds per step of transformers' Trainer, with or without PEFT's BEFT, padding each batch to its longest."""
    from transformers import Trainer as HuggingFaceTrainer
    from transformers import TrainerCallback, TrainingArguments

    model: Any = BertForSequenceClassification(config)
    if peft:
        from peft import BeftConfig, TaskType, get_peft_model

        model = get_peft_model(model, BeftConfig(task_type=TaskType.SEQ_CLS, target_modules=["value"]))
        model.base_model.model.bert.pooler.dense.bias.requires_grad_()
    else:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name.endswith(("value.bias", "pooler.dense.bias")) or "classifier" in name)
    rows = [{"input_ids": i, "labels": int(y)} for i, y in zip(data[0].ids, data[0].labels, strict=True)]
    clock = Clock(args.device, args.steps)

    class Tick(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.advance()

    def collate(batch: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        width = max(len(row["input_ids"]) for row in batch)
        ids = np.zeros((len(batch), width), np.int64)
        for line, row in zip(ids, batch, strict=True):
            line[: len(row["input_ids"])] = row["input_ids"]
        return {
            "input_ids": torch.from_numpy(ids),
            "attention_mask": torch.from_numpy((ids > 0).astype(np.int64)),
            "labels": torch.tensor([row["labels"] for row in batch]),
        }

    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            per_device_train_batch_size=BATCH,
            num_train_epochs=1,
            learning_rate=1e-3,
            weight_decay=0.0,
            max_grad_norm=1.0,
            lr_scheduler_type="constant",
            save_strategy="no",
            logging_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=args.device == "cpu",
            bf16=args.precision == "bfloat16",
        )
        HuggingFaceTrainer(model, arguments, train_dataset=rows, data_collator=collate, callbacks=[Tick()]).train()
        return clock.seconds()


def profile(config: BertConfig, data: list[Encoded], args: argparse.Namespace) -> None:
    """Where the bank's time goes: operators by time on the device."""
    from torch.profiler import ProfilerActivity

    few = [one.take(range(6 * BATCH)) for one in data]
    with torch.profiler.profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        fit(config, few, args, Observer(), compile="bank, compiled" in args.only)
    print(profiler.key_averages().table(sort_by="self_cuda_time_total", row_limit=25, max_name_column_width=70))


if __name__ == "__main__":
    main()
