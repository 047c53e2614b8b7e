"""Step time and peak memory of fine-tuning v / all biases / everything, against the peers that make the same updates.

One run, one table: BEFT lab, transformers' Trainer (padding each batch to its longest) and PEFT's BEFT tuner, each in a
process of its own, on the same examples with batch 16, AdamW, clipping 1.0 and dropout on. Times are medians over
steps, data loading included. Start from the repository:

    BEFT_GLUE_DIR=... python tests/benchmarks/bench_training.py                        # bundled model, this CPU
    BEFT_GLUE_DIR=... python tests/benchmarks/bench_training.py --model bert-base --device cuda --precision bfloat16
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

METHODS: dict[str, dict[str, Any]] = {
    "lab v": {"mode": "terms"},
    "lab v, padded to longest": {"mode": "terms", "pad": "longest"},
    "lab v, padded to 128": {"mode": "terms", "pad": "max", "share": 0.4},
    "lab all biases": {"mode": "all"},
    "lab full": {"mode": "full"},
    "lab rand uniform": {"mode": "random"},
    "Trainer v": {"peer": "trainer", "train": "v"},
    "Trainer all biases": {"peer": "trainer", "train": "all"},
    "Trainer full": {"peer": "trainer", "train": "full"},
    "PEFT BEFT v": {"peer": "peft", "train": "v"},
}
"""Row of the table -> what it runs."""


def main() -> None:
    """Run every method in its own process and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="bundled", help="bundled, bert-base (random weights), or a folder")
    parser.add_argument("--task", default="sst2" if os.environ.get("BEFT_GLUE_DIR") else "demo-sentiment")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--only", nargs="*", default=list(METHODS))
    parser.add_argument("--method", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.method:
        print(json.dumps(measure(args)))
        return
    with tempfile.TemporaryDirectory() as folder:
        model = bert_base(Path(folder)) if args.model == "bert-base" else args.model
        print(f"{args.model}, {args.task}, {args.precision}, batch 16, {args.steps} steps; {machine(args)}")
        rows = {}
        for method in args.only:
            command = [
                sys.executable,
                __file__,
                "--method",
                method,
                "--model",
                str(model),
                "--task",
                args.task,
                "--device",
                args.device,
                "--precision",
                args.precision,
                "--steps",
                str(args.steps),
            ]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                sys.exit(f"{method} failed:\n{done.stderr[-3000:]}")
            rows[method] = json.loads(done.stdout.strip().splitlines()[-1])
            show(method, rows[method], rows)


def show(method: str, row: dict[str, float], rows: dict[str, dict[str, float]]) -> None:
    """One line of the table, with the ratio to the lab's own v."""
    name, first = next(iter(rows.items()))
    ratio = f"{row['ms'] / first['ms']:6.2f} x {name}"
    print(f"{method:26s} {row['ms']:8.1f} ms/step  {row['mb']:8.0f} MB peak  {ratio}", flush=True)


def measure(args: argparse.Namespace) -> dict[str, float]:
    """Milliseconds per step and peak memory of one method."""
    settings = dict(METHODS[args.method])
    import torch

    steps = max(8, int(args.steps * settings.pop("share", 1.0)))
    peer = settings.pop("peer", None)
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = run_peer(args, steps, peer, settings["train"]) if peer else run_lab(args, steps, settings)
    gaps = [b - a for a, b in itertools.pairwise(times)]
    peak = (
        torch.cuda.max_memory_allocated() / 2**20
        if args.device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    )
    return {"ms": 1000 * statistics.median(gaps[2:]), "mb": peak}


def now(device: str) -> float:
    """The time, once the device has caught up."""
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
    return time.perf_counter()


def run_lab(args: argparse.Namespace, steps: int, settings: dict[str, Any]) -> list[float]:
    """The lab's trainer: the time after each step."""
    from beft_core.config import RunConfig
    from beft_core.training.observer import Observer
    from beft_core.training.workflow import train

    times: list[float] = []

    class Clock(Observer):
        running = False

        def stage(self, name: str, total: int | None = None) -> None:
            self.running = name == "train"

        def advance(self, n: int = 1) -> None:
            if self.running and n == 1:
                times.append(now(args.device))

    train(
        RunConfig(
            model=args.model,
            task=args.task,
            n_train=16 * steps,
            epochs=1,
            lr=1e-3,
            evaluate="never",
            device=args.device,
            precision=args.precision,
            **settings,
        ),
        Clock(),
    )
    return times


def run_peer(args: argparse.Namespace, steps: int, peer: str, train: str) -> list[float]:
    """transformers' Trainer, with or without PEFT's BEFT: the time after each step."""
    from transformers import (
        AutoModelForSequenceClassification,
        DataCollatorWithPadding,
        Trainer,
        TrainerCallback,
        TrainingArguments,
    )

    from beft_core.models.load import load_tokenizer
    from beft_core.models.source import locate
    from beft_core.tasks.examples import subsample
    from beft_core.tasks.load import load_task

    source = locate(args.model).folder
    tokenizer = load_tokenizer(args.model)
    model = AutoModelForSequenceClassification.from_pretrained(source, num_labels=2)
    if peer == "peft":
        from peft import BeftConfig, TaskType, get_peft_model

        model = get_peft_model(model, BeftConfig(task_type=TaskType.SEQ_CLS, target_modules=["value"]))
        model.base_model.model.bert.pooler.dense.bias.requires_grad_()
    elif train != "full":
        for name, parameter in model.named_parameters():
            bias = name.endswith("bias") if train == "all" else name.endswith(("value.bias", "pooler.dense.bias"))
            parameter.requires_grad_(bias or name.startswith("classifier"))
    examples = subsample(load_task(args.task).train, 16 * steps, 0)
    rows = [
        {**tokenizer(text, truncation=True, max_length=128), "labels": int(label)}
        for text, label in zip(examples.text, examples.labels, strict=True)
    ]
    times: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            times.append(now(args.device))

    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            model,
            TrainingArguments(
                folder,
                per_device_train_batch_size=16,
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
            ),
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[Clock()],
        ).train()
    return times


def bert_base(folder: Path) -> Path:
    """BERT-base's shape with random weights: times do not depend on the values."""
    import shutil

    import torch
    from transformers import BertConfig, BertModel

    from beft_core.models.source import locate

    torch.manual_seed(0)
    BertModel(BertConfig()).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        shutil.copy(locate("bundled").folder / name, folder)
    return folder


def machine(args: argparse.Namespace) -> str:
    """Words for where this runs."""
    import torch

    name = torch.cuda.get_device_name() if args.device == "cuda" else f"{torch.get_num_threads()} CPU threads"
    return f"{name}, torch {torch.__version__}"


if __name__ == "__main__":
    main()
