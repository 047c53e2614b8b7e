"""Rows of many tasks answered together, against switching between the fine-tunes: rows per second, and what each takes.

One run, one table for each number of rows that every task has waiting. All ways read the same rows under the same
biases and heads, which lie on the device; the largest difference of their logits is printed. A last table has every
example of a validation set under every fine-tune, as a merge or a comparison reads it.

- together: :class:`beft_core.inference.resident.Resident`, all rows in passes that they share;
- switching: rows in the order in which they arrive, one after another, by a bank of one into which the biases and the
  head of the next row's fine-tune are copied in one operation where it is another than the last one's;
- transformers, switching: the same by transformers' classifier, whose parameters are overwritten;
- a pass per task: rows sorted by task, all rows of a task in one pass by the bank of one.

The shape `bundled` has biases and heads of real fine-tunes (the samples that come with the lab: seven tasks, several of
some, those beyond their number with noise of a tenth of their change), on products with random weights; `bert-base` has
made-up ones. Times do not depend on weights; nothing is downloaded. Start from the repository:

    python tests/benchmarks/bench_tasks.py --shape bundled --device cuda
    python tests/benchmarks/bench_tasks.py --shape bert-base --device cuda
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import BertConfig, BertForSequenceClassification, BertModel

from beft_core.inference.resident import Resident
from beft_core.inference.variants import Variant
from beft_core.models.biases import LoadedModel, biases, write_biases
from beft_core.models.load import wrap
from beft_core.snapshots.snapshot import Snapshot, SnapshotMeta, read_snapshot
from beft_core.training.acceleration.session import session_for
from beft_core.training.batches.encoded import Encoded
from beft_core.training.batches.plan import by_length, cheapest_by_length, plan
from beft_core.training.forward import arranged, logits_of, pass_arrays
from beft_core.training.methods.bias_bank import Bank
from beft_core.training.precision import Precision
from beft_core.training.preconditions import head_of, outputs_of
from beft_core.training.predict import EVAL_TOKENS

SAMPLES = Path(__file__).parents[2] / "sample_snapshots"
BUNDLED = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
SHAPES = {"bundled": BUNDLED, "bert-base": {}}
"""Name -> what differs from BertConfig's defaults."""
SHORTEST, LONGEST = 8, 48
"""Tokens of a row, drawn evenly; SST-2's sentences have 25 in the mean."""
RESIDENT = 1000


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", default="bundled", choices=SHAPES)
    parser.add_argument("--tasks", type=int, default=16)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 4, 16, 64], help="rows that each task has waiting")
    parser.add_argument("--examples", type=int, default=872, help="of the validation set; 0: leave that out")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--seconds", type=float, default=1.0, help="of measuring, for each way")
    args = parser.parse_args()
    device = torch.device(args.device)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    print(f"{args.shape}, {args.tasks} tasks, {args.precision}; {where}, torch {torch.__version__}")
    torch.manual_seed(0)
    model, snapshots = (real if args.shape == "bundled" else made_up)(args.tasks)
    tasks = len({one.meta.task for one in snapshots})
    heads = sorted(outputs_of(head_of(one, one.meta.task)) or 0 for one in snapshots)
    terms = sorted({len(one.meta.trained_terms) for one in snapshots})
    print(f"{len(snapshots)} fine-tunes of {tasks} tasks, outputs {heads}, terms trained {terms}")
    precision = Precision(args.precision, device)
    precision.prepare(model.backbone.to(device))
    bench = Bench(model, snapshots, precision)
    for rows in args.rows:
        measure(bench, rows, args.seconds)
    if args.examples:
        encoded, of = bench.rows(-(-args.examples // len(snapshots)))
        print(f"\n{len(encoded)} examples under each of {len(snapshots)} fine-tunes")
        both: dict[str, Way] = {"together": bench.crossed, "one after another": bench.crossed_one_by_one}
        compare(bench, both, encoded, of, args.seconds)
    memory(model, snapshots, precision)


def real(count: int) -> tuple[LoadedModel, list[Snapshot]]:
    """The samples' fine-tunes of the bundled model, and more of the same by noise, on random products."""
    found = []
    for file in sorted(SAMPLES.glob("*.beft.safetensors")):
        one = read_snapshot(file)
        if one.meta.model.id == "bundled" and "rewrite_scale" not in one.meta.hyperparameters:
            found.append(one)
    base = found[0].meta.model.base
    found = [one for one in found if one.meta.model.base == base and f"extra.{one.meta.task}.head.weight" in one.extra]
    # One of each task first, then their other fine-tunes.
    seen: dict[str, int] = {}
    order = []
    for one in found:
        order.append((seen.setdefault(one.meta.task, 0), one))
        seen[one.meta.task] += 1
    chosen = [one for _, one in sorted(order, key=lambda item: item[0])][:count]
    chosen += [noisy(chosen[number % len(chosen)], number) for number in range(count - len(chosen))]
    backbone = BertModel(BertConfig(**BUNDLED, vocab_size=30522))
    first = wrap(backbone, id="bundled")
    write_biases(first, {key: chosen[0].pre(*key) for key in chosen[0].keys()})  # noqa: SIM118
    return wrap(backbone, id="bundled"), chosen


def noisy(snapshot: Snapshot, seed: int) -> Snapshot:
    """The same fine-tune with noise of a tenth of each term's change."""
    rng = np.random.default_rng(seed)
    pre = {key: snapshot.pre(*key) for key in snapshot.keys()}  # noqa: SIM118
    post = {}
    for key, before in pre.items():
        after = snapshot.post(*key)
        post[key] = after + 0.1 * np.abs(after - before).mean() * rng.standard_normal(after.shape).astype(np.float32)
    return Snapshot.build(snapshot.meta, pre, post, extra=dict(snapshot.extra))


def made_up(count: int) -> tuple[LoadedModel, list[Snapshot]]:
    """Fine-tunes of BERT-base's shape by noise: b_v, b_q, both or all biases, with heads of 1 to 3 outputs."""
    model = wrap(BertModel(BertConfig()), id="random")
    pre = biases(model)
    hidden = model.layout.hidden_size
    snapshots = []
    for number in range(count):
        rng = np.random.default_rng(number)
        terms = (("v",), ("q",), ("q", "v"), model.layout.terms)[number % 4]
        outputs, task = (2, 2, 3, 1)[number // 4 % 4], f"task{number}"
        post = {
            key: value + 0.05 * rng.standard_normal(value.shape).astype(np.float32) if key[1] in terms else value
            for key, value in pre.items()
        }
        kind = (
            {"kind": "regression"} if outputs == 1 else {"kind": "classification", "labels": ["a", "b", "c"][:outputs]}
        )
        meta = SnapshotMeta(model.info, task, trained_terms=terms, heads={task: kind})
        extra = {
            f"extra.{task}.head.weight": rng.standard_normal((outputs, hidden)),
            f"extra.{task}.head.bias": rng.standard_normal(outputs),
            f"extra.{task}.pooler.bias": rng.standard_normal(hidden),
        }
        snapshots.append(Snapshot.build(meta, pre, post, extra=extra))
    return model, snapshots


class Bench:
    """Everything that the ways share: fine-tunes on the device, and a bank of one."""

    def __init__(self, model: LoadedModel, snapshots: list[Snapshot], precision: Precision) -> None:
        self.model, self.precision = model, precision
        self.resident = Resident(model, [Variant(one, one.meta.task) for one in snapshots], precision=precision)
        bank = self.resident.bank
        assert bank is not None
        self.session = session_for(model, precision)
        slots = [slot for slot in model.layout.slots if f"{slot.stack}.{slot.term}.{slot.layer}" in bank.parts]
        self.one = Bank(
            model,
            slots,
            runs=1,
            classes=bank.parts["head.weight"].shape[0],
            precision=precision,
            outside_biases=any(name.startswith("outside.") for name in bank.parts),
            reader=self.session.reader,
            trains=False,
        )
        assert list(self.one.parts) == list(bank.parts)
        self.stack = bank.values
        self.peer = Peer(self.one, model) if not precision.low else None

    def rows(self, each: int, seed: int = 0) -> tuple[Encoded, np.ndarray]:
        """So many rows of each fine-tune, in random order."""
        rng = np.random.default_rng(seed)
        of = rng.permutation(np.repeat(np.arange(len(self.stack)), each))
        ids = [rng.integers(1000, 30000, rng.integers(SHORTEST, LONGEST + 1)) for _ in of]
        return Encoded.of(ids, None, np.zeros(len(of))), of

    def together(self, encoded: Encoded, of: np.ndarray) -> np.ndarray:
        return self.resident.logits(encoded, of)

    def switching(self, encoded: Encoded, of: np.ndarray) -> np.ndarray:
        return self._one_by_one(encoded, of, [np.array([row]) for row in range(len(of))])

    def per_task(self, encoded: Encoded, of: np.ndarray) -> np.ndarray:
        return self._one_by_one(encoded, of, [np.flatnonzero(of == number) for number in range(len(self.stack))])

    @torch.no_grad()
    def _one_by_one(self, encoded: Encoded, of: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
        """Passes of rows of one fine-tune each, which is copied into the bank of one where it is another."""
        bank, session = self.one, self.session
        out: list[tuple[np.ndarray, torch.Tensor]] = []
        last = -1
        with bank.installed():
            for rows in groups:
                if of[rows[0]] != last:
                    last = int(of[rows[0]])
                    bank.values[0].copy_(self.stack[last])
                part = encoded.take(rows)
                runs = [0] * len(part)
                host = arranged(bank, session, part, runs, plan(part.lengths.tolist(), runs, "longest", 0)[0])
                arrays = pass_arrays(bank, session, host, host.run_of_row, host.run_of_example)
                forward = partial(logits_of, bank, session, host.shape, tokens=encoded.tokens)
                out.append((rows[host.examples], session.run("one", arrays, forward).float().cpu()))
        logits = np.empty((len(of), out[0][1].shape[1]), np.float32)
        for rows, found in out:
            logits[rows] = found.numpy()
        return logits

    def crossed(self, encoded: Encoded, of: np.ndarray) -> np.ndarray:
        """Every example under every fine-tune together, [examples * fine-tunes, outputs]; ``of`` is not looked at."""
        count = len(self.stack)
        number, example = np.tile(np.arange(count), len(encoded)), np.repeat(np.arange(len(encoded)), count)
        return self.resident.logits(encoded, number, example)

    def crossed_one_by_one(self, encoded: Encoded, of: np.ndarray) -> np.ndarray:
        """The same by one fine-tune after the other, in passes of similar length, as an evaluation has them."""
        split = cheapest_by_length if self.precision.device.type == "cpu" else by_length
        groups = split(encoded.lengths, EVAL_TOKENS[self.precision.device.type])
        whole = [self._one_by_one(encoded, np.full(len(encoded), at), groups) for at in range(len(self.stack))]
        return np.stack(whole, axis=1).reshape(len(encoded) * len(whole), -1)

    def transformers(self, encoded: Encoded, of: np.ndarray) -> np.ndarray:
        assert self.peer is not None
        return self.peer.switching(encoded, of, self.stack)


class Peer:
    """transformers' classifier whose parameters are overwritten by the fine-tune of the next row."""

    def __init__(self, bank: Bank, model: LoadedModel) -> None:
        self.bank = bank
        config = model.config
        config.num_labels = bank.parts["head.weight"].shape[0]
        self.whole: Any = BertForSequenceClassification(config).to(bank.precision.device).eval()
        self.whole.bert.load_state_dict(model.backbone.state_dict())
        named = dict(self.whole.bert.named_modules())
        of_backbone = {module: named[path] for path, module in model.backbone.named_modules()}
        self.places: list[tuple[Any, slice]] = []
        for name, part in bank.parts.items():
            if part.module is None:
                parameter = getattr(self.whole.classifier, name.removeprefix("head."))
            else:
                parameter = of_backbone[part.module].bias
            self.places.append((parameter, part.columns))

    @torch.no_grad()
    def switching(self, encoded: Encoded, of: np.ndarray, stack: torch.Tensor) -> np.ndarray:
        device, out, last = stack.device, [], -1
        for ids, number in zip(encoded.ids, of, strict=True):
            if number != last:
                last = number
                for parameter, columns in self.places:
                    parameter.copy_(stack[number, columns].view_as(parameter))
            out.append(self.whole(input_ids=torch.as_tensor(ids[None], device=device)).logits[0].cpu().numpy())
        return np.stack(out)


Way = Callable[[Encoded, np.ndarray], np.ndarray]


def measure(bench: Bench, each: int, seconds: float) -> None:
    """Measure so many rows of each task."""
    encoded, of = bench.rows(each)
    ways: dict[str, Way] = {
        "together": bench.together,
        "a pass per task": bench.per_task,
        "switching": bench.switching,
    }
    if bench.peer is not None:
        ways["transformers, switching"] = bench.transformers
    print(f"\n{each} rows of each task, {len(of)} in all")
    compare(bench, ways, encoded, of, seconds)


def compare(bench: Bench, ways: dict[str, Way], encoded: Encoded, of: np.ndarray, seconds: float) -> None:
    """Print rows per second of every way, the median over repetitions; the first is compared with the others."""
    print(f"{'way':26}{'rows/s':>10}{'ms':>10}{'first is':>13}{'difference':>12}")
    reference = next(iter(ways.values()))(encoded, of)
    kept = np.isfinite(reference)
    rate = 0.0
    for name, way in ways.items():
        found = way(encoded, of)  # warms up too
        difference = float(np.abs(found - reference)[kept].max())
        took: list[float] = []
        while not took or sum(took) < (seconds if len(took) >= 3 else 3 * seconds):
            with clock(bench.precision.device, took):
                way(encoded, of)
        middle = statistics.median(took)
        rate = rate or len(reference) / middle
        times = rate * middle / len(reference)
        print(
            f"{name:26}{len(reference) / middle:10.0f}{1e3 * middle:10.1f}{times:12.1f}x{difference:12.1e}", flush=True
        )


@contextmanager
def clock(device: torch.device, took: list[float]) -> Iterator[None]:
    """Add the seconds of this context, the device's work included."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    began = time.perf_counter()
    yield
    if device.type == "cuda":
        torch.cuda.synchronize()
    took.append(time.perf_counter() - began)


def memory(model: LoadedModel, snapshots: list[Snapshot], precision: Precision) -> None:
    """Print what a thousand resident fine-tunes take, and how fast they answer 64 rows of as many of them."""
    print(f"\n{RESIDENT} resident fine-tunes")
    of_model = sum(parameter.nbytes for parameter in model.backbone.parameters())
    for name, wanted in (("b_v", ("v",)), ("every bias", None)):
        chosen = next(one for one in snapshots if wanted is None or one.meta.trained_terms == wanted)
        if wanted is None:
            chosen = max(snapshots, key=lambda one: len(one.meta.trained_terms))
        before = torch.cuda.memory_allocated() if precision.device.type == "cuda" else 0
        term = chosen.meta.trained_terms[0]
        several = [Variant(chosen, chosen.meta.task, {term: 1 + number / RESIDENT}) for number in range(RESIDENT)]
        began = time.perf_counter()
        resident = Resident(model, several, precision=precision)
        seconds = time.perf_counter() - began
        held = f", {(torch.cuda.memory_allocated() - before) / 1e6:.1f} MB allocated" * bool(before)
        rng = np.random.default_rng(0)
        ids = [rng.integers(1000, 30000, rng.integers(SHORTEST, LONGEST + 1)) for _ in range(64)]
        encoded, of = Encoded.of(ids, None, np.zeros(64)), rng.permutation(RESIDENT)[:64]
        resident.logits(encoded, of)
        took: list[float] = []
        for _ in range(5):
            with clock(precision.device, took):
                resident.logits(encoded, of)
        print(
            f"{name}: {resident.nbytes / 1e6:.1f} MB{held} beside the model's {of_model / 1e6:.0f} MB, put there in "
            f"{seconds:.1f} s; 64 rows of 64 of them in {1e3 * statistics.median(took):.1f} ms"
        )
        del resident


if __name__ == "__main__":
    main()
