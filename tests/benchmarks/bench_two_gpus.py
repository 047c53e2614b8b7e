"""How a sweep uses two GPUs of one host: against one, with a worker killed half way, and a model split over both.

    BEFT_GLUE_DIR=... python tests/benchmarks/bench_two_gpus.py --parts sweep --precision bfloat16
    BEFT_GLUE_DIR=... python tests/benchmarks/bench_two_gpus.py --parts sweep --precision float32 --epochs 3
    BEFT_GLUE_DIR=... python tests/benchmarks/bench_two_gpus.py --parts kill split

``sweep``: 240 fine-tunes of the bundled model on SST-2 and STS-B (v, q, k, all; three learning rates), by the command
``beft sweep`` on one GPU and on two, start-up counted, in the same banks; the two tables are compared row by row.
One epoch of them goes before, on two GPUs, so that neither side compiles kernels.
``kill``: the same in short on two GPUs, undisturbed and with one worker killed (SIGKILL) half way.
``split``: a step of OPT-6.7B's shape with random weights, v, 8 x 256 tokens, all on one GPU and its layers on two.
On a CPU (``--device cpu``, few examples) the parts but the last do the same with two processes, to try them out.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from beft_core.sweeps.sharing.workers import Worker, workers_in
from beft_core.sweeps.table import read_table

TASKS = ("sst2", "stsb")
TERMS = ("v", "q", "k", "all")
RATES = ("2e-3", "5e-3", "1e-2")


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="*", default=["sweep", "kill", "split"], choices=["sweep", "kill", "split"])
    parser.add_argument("--precision", nargs="*", default=["bfloat16", "float32"])
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tasks", nargs="*", default=list(TASKS))
    parser.add_argument("--n-train", type=int, default=5000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--kill-epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--bank-size", type=int, default=30)
    parser.add_argument("--n-eval", type=int, help="validation examples that are scored; default: all")
    parser.add_argument("--no-dropout", action="store_true")
    parser.add_argument("--out", type=Path, help="folder that keeps the sweeps; without it they are removed")
    args = parser.parse_args()
    print(f"{_devices(args.device)}; {os.cpu_count()} cores", flush=True)
    with tempfile.TemporaryDirectory() as scratch:
        out = args.out or Path(scratch)
        if "sweep" in args.parts:
            for precision in args.precision:
                scale(args, out, precision)
        if "kill" in args.parts:
            kill(args, out)
    if "split" in args.parts:
        split()


def _devices(device: str) -> str:
    if device == "cpu":
        return "CPU"
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    return ", ".join(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")).strip(", ")


# --- sweeps --------------------------------------------------------------------------------------------------------


def sweep(
    args: argparse.Namespace,
    folder: Path,
    workers: int,
    precision: str,
    epochs: int,
    disturb: Callable[[Path], bool] = lambda folder: False,
) -> float:
    """Run ``beft sweep`` to its end and return its seconds. ``disturb``: called often until it returns True."""
    words = ["sweep", "--tasks", *args.tasks, "--terms", *TERMS, "--lrs", *RATES, "--seeds", str(args.seeds)]
    words += ["--n-train", str(args.n_train), "--epochs", str(epochs), "--precision", precision]
    words += ["--evaluate", "last", "--bank-size", str(args.bank_size), "--no-snapshots", "--out", str(folder)]
    words += ["--device", args.device, *(["--no-dropout"] if args.no_dropout else [])]
    words += ["--n-eval", str(args.n_eval)] if args.n_eval else []
    places = [f"cuda:{number}" for number in range(workers)]
    words += ["--devices", *places] if args.device == "cuda" else ["--workers", str(workers)]
    began = time.monotonic()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f"{folder.name}.txt").open("w") as log:
        process = subprocess.Popen([sys.executable, "-m", "beft_core", *words], stdout=log, stderr=log)
        disturbed = False
        while process.poll() is None:
            disturbed = disturbed or disturb(folder)
            time.sleep(0.05)
    seconds = time.monotonic() - began
    if process.returncode != 0:
        raise SystemExit((folder.parent / f"{folder.name}.txt").read_text()[-4000:])
    return seconds


def scale(args: argparse.Namespace, out: Path, precision: str) -> None:
    """One GPU against two."""
    count = len(args.tasks) * len(TERMS) * len(RATES) * args.seeds
    print(
        f"\n{count} fine-tunes, {precision}, {args.n_train} examples, {args.epochs} epochs, banks of {args.bank_size}, "
        f"dropout {'off' if args.no_dropout else 'on'}"
    )
    print(f"{'workers':8}{'seconds':>9}{'a minute':>10}{'waiting':>9}  peak MB per GPU", flush=True)
    took: dict[int, float] = {}
    sweep(args, out / f"{precision}-first", 2, precision, 1)
    for workers in (2, 1):  # two first: what the first command warms up helps the other side
        folder = out / f"{precision}-{workers}"
        took[workers] = sweep(args, folder, workers, precision, args.epochs)
        seen = workers_in(folder / "workers")
        waiting = 1 - sum(one.busy for one in seen) / (workers * took[workers])
        peaks = " ".join(f"{one.peak_bytes / 2**20:.0f}" for one in seen)
        rate = 60 * count / took[workers]
        print(f"{workers:<8}{took[workers]:9.1f}{rate:10.1f}{waiting:9.1%}  {peaks}", flush=True)
        print(json.dumps([_said(one) for one in seen]), flush=True)
    print(f"two GPUs are {took[1] / took[2]:.2f} times as fast as one; start-up is counted", flush=True)
    compare(out / f"{precision}-1", out / f"{precision}-2", count)


def _said(worker: Worker) -> dict[str, object]:
    names = ("device", "banks", "trained", "busy", "waited", "began", "time")
    return {name: getattr(worker, name) for name in names}


def compare(one: Path, other: Path, count: int) -> None:
    """Compare two tables row by row, and fail where they are not of the same fine-tunes in the same banks."""
    first, second = read_table(one).set_index("run"), read_table(other).set_index("run")
    assert list(first.index) == list(second.index) and len(first) == count == first.index.nunique(), "rows are missing"
    assert set(first["state"]) == set(second["state"]) == {"done"}, "fine-tunes failed"
    assert (first["bank_runs"] == second["bank_runs"]).all(), "banks differ"
    differ = {name: (first[name] - second[name]).abs() for name in ("value", "train_loss")}
    scores = [name for name in first if name.startswith("projection_ratio.")]
    relative = ((first[scores] - second[scores]).abs() / first[scores].abs().clip(lower=1e-9)).max().max()
    equal = int((differ["value"] == 0).sum())
    print(
        f"tables: {equal} of {count} metrics equal, largest difference {differ['value'].max():.2e} "
        f"(standard deviation over seeds: {_spread(first):.2e}); of the training loss "
        f"{differ['train_loss'].max():.2e}, of a projection ratio {relative:.1e} of it",
        flush=True,
    )


def _spread(table: pd.DataFrame) -> float:
    """Standard deviation of a metric over seeds, the mean over cells."""
    return float(table.groupby(["task", "trains", "lr"])["value"].std().mean())


def kill(args: argparse.Namespace, out: Path) -> None:
    """Two workers, one of which is killed half way."""
    count = len(args.tasks) * len(TERMS) * len(RATES) * args.seeds
    precision = args.precision[0]
    print(f"\n{count} fine-tunes, {precision}, {args.kill_epochs} epochs, two workers, one killed half way", flush=True)
    killed: list[Worker] = []

    def disturb(folder: Path) -> bool:
        at_work = [one for one in workers_in(folder / "workers") if one.state == "working" and one.done > 0]
        rows = len(list((folder / "rows").glob("*.json"))) if (folder / "rows").is_dir() else 0
        if rows < count // 2 - args.bank_size or len(at_work) < 2:
            return False
        os.kill(at_work[0].identity.process.pid, signal.SIGKILL)
        killed.append(at_work[0])
        return True

    whole = sweep(args, out / "undisturbed", 2, precision, args.kill_epochs)
    disturbed = sweep(args, out / "killed", 2, precision, args.kill_epochs, disturb)
    assert killed, "the sweep was over before a worker could be killed"
    (one,) = killed
    taken = [other for other in workers_in(out / "killed" / "workers") if other.identity.id != one.identity.id]
    print(f"undisturbed {whole:.1f} s; with {one.device} killed after {one.banks} banks {disturbed:.1f} s", flush=True)
    print(f"the other one did {sum(other.banks for other in taken)} banks", flush=True)
    compare(out / "undisturbed", out / "killed", count)


# --- one model on two GPUs -----------------------------------------------------------------------------------------


def split() -> None:
    """Time a step of a large model on one GPU and with its layers on two."""
    import torch
    from bench_decoder_steps import Numbers, ours, reset_peak, shape_of
    from transformers import OPTModel

    from beft_core.models.load import load_model
    from beft_core.models.placement import Placement, is_spread

    config = shape_of("6.7b")
    layers = config.num_hidden_layers
    print(f"\nOPT-6.7B's shape, random weights, v, 8 x 256, bfloat16, torch {torch.__version__}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        with torch.device("cuda"):
            made = OPTModel._from_config(config, dtype=torch.float16)
        made.save_pretrained(folder, max_shard_size="2GB")
        del made
        _add_tokenizer(Path(folder))
        for cards in (1, 2):
            torch.cuda.empty_cache()
            for card in range(cards):
                torch.cuda.reset_peak_memory_stats(card)
            first = ("decoder.embed_tokens", "decoder.embed_positions", "decoder.final_layer_norm")
            parts = dict.fromkeys(first, 0)
            parts |= {f"decoder.layers.{layer}": layer * cards // layers for layer in range(layers)}
            placement = Placement(torch.device("cuda"), bfloat16=True, parts=parts if cards > 1 else None)
            began = time.monotonic()
            model = load_model(folder, placement=placement)
            read = time.monotonic() - began
            assert is_spread(model.backbone) == (cards > 1)
            model.tokenizer, model.files = Numbers(), None
            row = ours(model, 8, 256, "cuda", terms=("v",))
            peaks = " ".join(f"{torch.cuda.max_memory_allocated(card) / 1e9:.1f}" for card in range(cards))
            print(
                f"{cards} GPU: {row['ms']:.1f} ms per step, peak GB per GPU {peaks}, read in {read:.1f} s", flush=True
            )
            del model
            reset_peak("cuda")


def _add_tokenizer(folder: Path) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    Tokenizer(WordLevel({"a": 0}, unk_token="a")).save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')


if __name__ == "__main__":
    main()
