"""Steps of prompted fine-tunes on a GPU: one bias term, all of them and a bank of eight, against plain loops.

python tests/benchmarks/bench_decoder_steps.py [--shape 1.3b] [--batch 16x128 8x256] [--only "v" "plain v" ...]

Random weights of OPT's shapes in bfloat16, prompts of random tokens of one length, two candidates of one token each,
no dropout, AdamW and clipping. The alternatives are loops over transformers that compute the logits of the last token
alone: the same biases, every weight, and PEFT's LoRA of rank 8 on q and v. Step times are means over steps that follow
one another without waiting; those of a bank are divided by its runs. The share is that of the products' rate that this
GPU reaches on a matrix of 8,192 by 8,192, counting what the layers' products and attention need and nothing that is
computed twice.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import re
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_decoders import Numbers, prompts_of
from bench_training import now
from torch import nn
from torch.nn import functional as F
from transformers import OPTConfig, OPTForCausalLM, OPTModel

from beft_core.config import RunConfig
from beft_core.models.biases import LoadedModel
from beft_core.models.load import load_model, wrap
from beft_core.models.null_certificate import null_certificate
from beft_core.models.placement import Placement
from beft_core.snapshots.snapshot import write_snapshot
from beft_core.tasks.examples import TaskData
from beft_core.tasks.prompts.spec import PromptSpec
from beft_core.tasks.registry import get_task
from beft_core.tasks.targets import Classes
from beft_core.training.objectives.candidates import Candidates
from beft_core.training.observer import Observer
from beft_core.training.workflow import fit_bank

SHAPES = {
    "tiny": {"hidden_size": 64, "ffn_dim": 256, "num_hidden_layers": 2, "num_attention_heads": 4},
    "1.3b": {"hidden_size": 2048, "ffn_dim": 8192, "num_hidden_layers": 24, "num_attention_heads": 32},
    "6.7b": {"hidden_size": 4096, "ffn_dim": 16384, "num_hidden_layers": 32, "num_attention_heads": 32},
}
WARM, TIMED = 6, 20
"""Steps before those that are timed (a shape is computed, then recorded, then replayed), and those."""
LABELS = ("no", "yes")
WAYS: dict[str, dict[str, Any]] = {
    "v": {"terms": ("v",)},
    "v, compiled": {"terms": ("v",), "compile": True},
    "v, checkpointing": {"terms": ("v",), "gradient_checkpointing": True},
    "v, checkpointing, from files": {"terms": ("v",), "gradient_checkpointing": True, "files": True},
    "v, nothing accelerated": {"terms": ("v",), "plain": True},
    "q": {"terms": ("q",)},
    "all biases": {"mode": "all", "terms": ()},
    "bank of 8 v": {"terms": ("v",), "runs": 8},
    "bank of 8 v, compiled": {"terms": ("v",), "runs": 8, "compile": True},
    "plain v": {"trains": lambda name: name.endswith("v_proj.bias")},
    "plain q": {"trains": lambda name: name.endswith("q_proj.bias")},
    "plain all biases": {"trains": lambda name: name.endswith("bias")},
    "plain full": {"trains": lambda name: True},
    "PEFT LoRA r 8": {"lora": True},
}
"""What a row of the table runs, by its name."""


class Clock(Observer):
    """Observer that times steps which follow one another without waiting."""

    def __init__(self, device: str) -> None:
        self.device, self.steps, self.training = device, 0, False
        self.began = self.ended = 0.0

    def stage(self, name: str, total: int | None = None) -> None:
        self.training = name == "train"

    def advance(self, n: int = 1) -> None:
        if not self.training or n == 0:
            return
        self.steps += 1
        if self.steps == WARM:
            self.began = now(self.device)
        elif self.steps == WARM + TIMED:
            self.ended = now(self.device)

    def should_stop(self) -> bool:
        return self.steps == WARM + TIMED

    def message(self, text: str) -> None:
        print("   ", text, flush=True)

    @property
    def seconds(self) -> float:
        """Seconds of a step."""
        return (self.ended - self.began) / TIMED


def shape_of(name: str, **more: Any) -> OPTConfig:
    """OPT's configuration without dropout."""
    return OPTConfig(**{**SHAPES[name], "word_embed_proj_dim": SHAPES[name]["hidden_size"], "dropout": 0.0, **more})


def task() -> TaskData:
    """A task of prompts whose texts nobody reads."""
    spec = dataclasses.replace(
        get_task("demo-sentiment"),
        name="prompts",
        objective="candidates",
        labels=LABELS,
        prompt=PromptSpec("{text}", candidates=LABELS),
    )
    nothing = prompts_of(np.random.default_rng(0), 0, 100, (8, 8, 2, 1))
    return TaskData(spec, nothing, {}, "made up")


def ours(model: LoadedModel, batch: int, length: int, device: str, runs: int = 1, **how: Any) -> dict[str, float]:
    """Train with BEFT lab; what the row shows."""
    examples = prompts_of(
        np.random.default_rng(0), batch * (WARM + TIMED + 1), model.config.vocab_size, (length, length, 2, 1)
    )
    encoded = Candidates(Classes(LABELS)).encode(model, examples, 2048, training=True)
    settings = {"lr": 1e-3, "schedule": "constant", "batch_size": batch, "epochs": 1, "dropout": False}
    configs = [
        RunConfig(
            device=device, precision="bfloat16", evaluate="never", regime="all", seed=seed, **{**settings, **how}
        ).resolved()
        for seed in range(runs)
    ]
    clock = Clock(device)
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "checkpoint"
        reset_peak(device)
        trained = fit_bank(model, task(), configs, trains=[encoded] * runs, evals={}, observer=clock, checkpoint=state)
        most = peak(device)
        write_snapshot(Path(folder) / "snapshot", trained[0].sound())
        sizes = [path.stat().st_size for path in (state, Path(folder) / "snapshot")]
    values = trained[0].snapshot.meta.trained_parameters or 0
    return {
        "ms": 1000 * clock.seconds / runs,
        "gb": most / 1e9,
        "values": values,
        "state": sizes[0] / runs,
        "file": sizes[1],
    }


def theirs(config: OPTConfig, batch: int, length: int, device: str, how: dict[str, Any]) -> dict[str, float]:
    """Train by a loop over transformers in bfloat16; what the row shows."""
    reset_peak(device)
    torch.manual_seed(0)
    with torch.device(device):
        model: nn.Module = OPTForCausalLM._from_config(config, dtype=torch.bfloat16, attn_implementation="sdpa")
    model.requires_grad_(False)
    if "lora" in how:
        from peft import LoraConfig, get_peft_model

        model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))  # type: ignore[arg-type, assignment]
    else:
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(how["trains"](name))
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-5, weight_decay=0.0, fused=device == "cuda")
    rng = np.random.default_rng(0)
    candidates = torch.tensor([11, 12], device=device)
    began = 0.0
    for step in range(WARM + TIMED):
        if step == WARM:
            began = now(device)
        ids = torch.from_numpy(rng.integers(10, config.vocab_size, (batch, length))).to(device, non_blocking=True)
        labels = torch.from_numpy(rng.integers(0, 2, batch)).to(device, non_blocking=True)
        logits = model(input_ids=ids, logits_to_keep=1).logits[:, -1].float()
        F.cross_entropy(logits.log_softmax(-1)[:, candidates], labels).backward()
        nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        optimizer.zero_grad()
    seconds = (now(device) - began) / TIMED
    values = sum(parameter.numel() for parameter in trained)
    moments = sum(value.nbytes for state in optimizer.state.values() for value in state.values())
    file = sum(parameter.nbytes for parameter in trained)
    return {"ms": 1000 * seconds, "gb": peak(device) / 1e9, "values": values, "state": moments + file, "file": file}


def reset_peak(device: str) -> None:
    """Forget what was in memory before."""
    gc.collect()
    if device == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()


def peak(device: str) -> int:
    """Most bytes that tensors took since; of a CPU nothing is known."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else 0


def product_rate(device: str) -> float:
    """Floating-point operations per second of a large product in bfloat16."""
    n = 8192 if device == "cuda" else 512
    a, b = (torch.randn(n, n, device=device, dtype=torch.bfloat16) for _ in range(2))
    for _ in range(3):
        a @ b
    began = now(device)
    for _ in range(20):
        a @ b
    return 20 * 2 * n**3 / (now(device) - began)


def operations(config: OPTConfig, batch: int, length: int, full: bool) -> float:
    """Operations that a step needs: products forward and for the gradient of their input, and causal attention.

    ``full``: also for the gradients of weights.
    """
    h, layers = config.hidden_size, config.num_hidden_layers
    products = layers * (4 * h * h + 2 * h * config.ffn_dim) * batch * length
    attention = layers * batch * length * length * h  # two products, of which half is masked
    return (6 if full else 4) * products + 2 * attention * 3.5


def random_model(config: OPTConfig, device: str) -> LoadedModel:
    """Random weights on the device, in float32 until a fine-tune rounds them."""
    torch.manual_seed(0)
    with torch.device(device):
        backbone = OPTModel._from_config(config, dtype=torch.float32, attn_implementation="sdpa")
    return wrap(backbone, Numbers(), id="random OPT")


def read_model(config: OPTConfig, device: str) -> LoadedModel:
    """Write random weights in half precision, in shards, and read them straight to the device; says what that took."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        with torch.device(device):
            made = OPTModel._from_config(config, dtype=torch.float16)
        made.save_pretrained(folder, max_shard_size="2GB")
        Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(f"{folder}/tokenizer.json")
        (Path(folder) / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
        del made
        reset_peak(device)
        began = now(device)
        with main_memory() as most:
            model = load_model(folder, placement=Placement(torch.device(device), bfloat16=True))
        took = now(device) - began
        print(f"    read in {took:.1f} s: most memory {peak(device) / 1e9:.1f} GB on the device, ", end="")
        print(f"{most[0] / 1e9:.1f} GB more in main memory without the pages of the files", flush=True)
    model.tokenizer, model.files = Numbers(), None  # whose head is the embedding, and whose files are gone
    reset_peak(device)
    began = now(device)
    null = [term for term, report in null_certificate(model).items() if report.null]
    print(f"    certified null: {null} in {now(device) - began:.1f} s, {peak(device) / 1e9:.1f} GB", flush=True)
    return model


@contextmanager
def main_memory() -> Iterator[list[int]]:
    """Watch how many bytes of main memory, without pages of files, this process takes more than before: [the most]."""

    def taken() -> int:
        found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024 if found else 0

    before, most, ended = taken(), [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            most[0] = max(most[0], taken() - before)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield most
    finally:
        ended.set()
        watcher.join()


def main() -> None:
    """Time every way at every batch and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="1.3b", choices=SHAPES)
    parser.add_argument("--batch", nargs="*", default=["16x128", "8x256"], help="examples x tokens")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--only", nargs="*", default=list(WAYS))
    args = parser.parse_args()
    config = shape_of(args.shape)
    rate = product_rate(args.device)
    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    print(f"OPT-{args.shape} shape, random weights, bfloat16; {name}, torch {torch.__version__}, ", end="")
    print(f"{rate / 1e12:.0f} TFLOP/s in products", flush=True)
    header = "ms per run-step  tokens/s  share  peak GB  trained values  resumable state  result"
    for shape in args.batch:
        batch, length = map(int, shape.split("x"))
        print(f"{shape:26} {header}", flush=True)
        for way in args.only:
            how = dict(WAYS[way])
            if "lora" in how or "trains" in how:
                row = theirs(config, batch, length, args.device, how)
            else:
                make = read_model if how.pop("files", False) else random_model
                row = ours(make(config, args.device), batch, length, args.device, **how)
            needed = operations(config, batch, length, way == "plain full")
            print(
                f"{way:26} {row['ms']:15.1f} {1000 * batch * length / row['ms']:9,.0f}"
                f" {needed / row['ms'] * 1000 / rate:6.2f} {row['gb']:8.1f} {row['values']:15,}"
                f" {row['state'] / 1e6:13.2f} MB {row['file'] / 1e6:.2f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
