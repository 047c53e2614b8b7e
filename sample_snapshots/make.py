"""Make the sample snapshots again, from the official GLUE files and the bundled model.

    BEFT_GLUE_DIR=... python sample_snapshots/make.py [--device cuda] [--only sst2-low-seed0-probe ...]
    BEFT_GLUE_DIR=... python sample_snapshots/make.py --complete
    python sample_snapshots/make.py --pushes
    BEFT_GLUE_DIR=... python sample_snapshots/make.py --dials
    BEFT_GLUE_DIR=... python sample_snapshots/make.py --evaluate
    BEFT_GLUE_DIR=... python sample_snapshots/make.py --from FOLDER

The second trains nothing: it adds to the files that are there what can be measured afterwards: the Fisher information
at the fine-tuned models of one term, by which the page Merge can weigh them, the relative output change of probes, and
what a constant answer gets. The third writes what the page Why shows where no model can be opened. The fourth writes
``*.dial.json``, what the page The dial shows of the samples in ``DIALS``, each on the whole validation set of its task,
on the CPU. The fifth scores merges of the pairs in ``MERGED``, a line and a plane around them, into
``evaluations.json``, so that the page Merge opens with numbers; half a minute on a GPU. The last takes what is missing
here from snapshots in a folder that were trained with the settings of their row, as those of Gemma were on a GPU.

Every row of ``SAMPLES`` becomes one ``*.beft.safetensors`` beside this file; ``index.json`` says what each shows, in
words that are derived from the numbers. On one GPU all of them take a few minutes, on two CPU cores about two hours.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

from beft_core.models.gguf.packaged import GEMMA
from beft_core.scores.table import score_snapshot
from beft_core.snapshots.snapshot import SUFFIX, Snapshot, read_snapshot, write_snapshot
from beft_core.tasks.constant_answer import constant_answer, uncertainty
from beft_core.tasks.load import load_task
from beft_core.tasks.registry import get_task
from beft_core.terms import CANDIDATES, TERMS

HERE = Path(__file__).parent
CHECKPOINTS = 8
"""Points of a probe's trajectory: the samples stay small."""
DEFAULT = "sst2-low-seed0-probe"
DIALS = (
    *(f"{task}-low-seed0-{term}-only" for task in ("stsb", "sst2") for term in "vqk"),
    *(f"demo-{task}-low-seed0-v-only" for task in ("sentiment", "similarity")),
    DEFAULT,
    *(f"{GEMMA}-prompt-sst2-low-seed0-{term}-only" for term in "vqk"),
)
"""Samples whose dials can be made; those whose file lies here are shipped."""
LAMBDAS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0)
"""Values of λ of these dials."""


@dataclass(frozen=True)
class Sample:
    """One fine-tune to keep."""

    task: str
    mode: str
    """``all`` for a probe, or ``terms``."""
    lr: float
    epochs: int
    regime: str = "low"
    seed: int = 0
    terms: tuple[str, ...] = ()
    train_null: bool = False
    """Train b_k too, which cannot act: what its score is then, is rounding noise."""
    precision: str = "float32"
    authors_epsilon: bool = False
    """AdamW's epsilon as the ``paper`` preset has it, and where it is added; everything else stays. Of such a sample
    only the end counts, so it has no trajectory and no Fisher information."""
    rewrite_scale: float | None = None
    """Train on the model written down with W_v, b_v and W_k, b_k times this, which computes the same."""
    model: str = "bundled"
    max_length: int = 128

    @property
    def prompted(self) -> bool:
        """Whether a language model is asked in words. Its biases are added ones, of all three candidates in a probe.

        Such a sample is small: it has no trajectory, and nothing of it is measured that needs the model once more.
        """
        return get_task(self.task).prompt is not None

    @property
    def name(self) -> str:
        """File name without suffix."""
        what = "probe" if self.mode == "all" else "-".join(self.terms) + "-only"
        null = f"-null-{self.precision}" if self.train_null else ""
        scale = f"-scale{self.rewrite_scale:g}" if self.rewrite_scale else ""
        epsilon = "-authors-epsilon" * self.authors_epsilon
        model = "" if self.model == "bundled" else f"{self.model}-"
        return f"{model}{self.task}-{self.regime}-seed{self.seed}-{what}{null}{scale}{epsilon}"


SAMPLES = (
    *(Sample("sst2", "all", 2e-3, 8, seed=seed) for seed in range(3)),
    # The first of them again, on the same model written down differently: see the page What it depends on.
    Sample("sst2", "all", 2e-3, 8, rewrite_scale=10.0),
    Sample("sst2", "all", 2e-3, 8, "medium"),
    Sample("sst2", "all", 2e-3, 8, "high"),
    Sample("stsb", "all", 5e-3, 15),
    Sample("mrpc", "all", 2e-3, 10),
    Sample("cola", "all", 2e-3, 10),
    Sample("rte", "all", 2e-3, 15),
    *(Sample("sst2", "terms", 1e-2, 8, terms=(term,)) for term in ("v", "q", "k")),
    *(Sample("stsb", "terms", 1e-2, 15, terms=(term,)) for term in ("v", "q", "k")),
    # Data that every machine can generate: a merge of these two can be scored anywhere.
    Sample("demo-sentiment", "terms", 1e-2, 6, terms=("v",)),
    Sample("demo-similarity", "terms", 2e-2, 10, terms=("v",)),
    # One experiment five times: b_k frozen, b_k trained, b_k trained with coarser rounding, and the latter two with the
    # authors' epsilon.
    Sample("demo-sentiment", "all", 2e-3, 6),
    *(
        Sample("demo-sentiment", "all", 2e-3, 6, train_null=True, precision=precision, authors_epsilon=authors)
        for authors in (False, True)
        for precision in ("float32", "bfloat16")
    ),
    # A language model, which has no biases: those that are added begin at zero.
    *(
        Sample("prompt-sst2", "terms", 1e-2, 3, terms=(term,), model=GEMMA, max_length=512, precision="bfloat16")
        for term in ("v", "q", "k")
    ),
    Sample("prompt-sst2", "all", 3e-3, 3, model=GEMMA, max_length=512, precision="bfloat16"),
)


MERGED: tuple[tuple[str, str], ...] = (
    ("sst2-low-seed0-v-only", "stsb-low-seed0-v-only"),
    ("demo-sentiment-low-seed0-v-only", "demo-similarity-low-seed0-v-only"),
)
"""Pairs of samples, by name, whose averages are scored."""
LINE, SIDE, EXAMPLES = 5, 7, 1500
"""Points of the line and on a side of the plane, and the most validation examples of a task."""


def main() -> None:
    """Train what is asked for and write the index over everything that is there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--only", nargs="*", default=[sample.name for sample in SAMPLES])
    parser.add_argument("--complete", action="store_true", help="only measure, for the files that are there")
    parser.add_argument("--pushes", action="store_true", help="only write three-pushes.json")
    parser.add_argument("--dials", action="store_true", help="only turn the dials, of the files that are there")
    parser.add_argument("--evaluate", action="store_true", help="only score the merges of the files that are there")
    parser.add_argument("--from", type=Path, dest="trained", metavar="FOLDER", help="take what is missing from there")
    args = parser.parse_args()
    if args.pushes:
        write_pushes(args.out)
        return
    if args.dials:
        for name in [name for name in DIALS if name in args.only]:
            if (path := args.out / f"{name}{SUFFIX}").is_file():
                turn(path, "cpu" if args.device == "auto" else args.device)
        return
    if args.trained is not None:
        take(args.trained, args.out)
        write_index(args.out)
        return
    if args.evaluate:
        evaluate(args.out, args.device)
        return
    for sample in SAMPLES:
        if sample.name in args.only:
            path = args.out / f"{sample.name}{SUFFIX}"
            trained = read_snapshot(path) if args.complete else run(sample, args.device)
            snapshot = completed(sample, trained, args.device)
            write_snapshot(path, snapshot)
            print(sample.name, snapshot.meta.metrics[-1], flush=True)
    write_index(args.out)


def take(trained: Path, folder: Path) -> None:
    """Take the samples that are missing from snapshots below a folder, such as those of runs, each with its row."""
    found = [read_snapshot(path) for path in sorted(trained.rglob(f"*{SUFFIX}"))]
    for sample in SAMPLES:
        path = folder / f"{sample.name}{SUFFIX}"
        fitting = [snapshot for snapshot in found if not path.exists() and is_of(sample, snapshot)]
        if fitting:
            snapshot = Snapshot.build(
                fitting[0].meta,
                {key: fitting[0].pre(*key) for key in fitting[0].keys()},  # noqa: SIM118
                {key: fitting[0].post(*key) for key in fitting[0].keys()},  # noqa: SIM118
                **measured(fitting[0]),
                extra=dict(fitting[0].extra),
            )
            write_snapshot(path, completed(sample, snapshot, "cpu"))
            print(sample.name, snapshot.meta.metrics[-1], flush=True)


def is_of(sample: Sample, snapshot: Snapshot) -> bool:
    """Whether a snapshot was trained with the settings of a sample."""
    meta = snapshot.meta
    settings = meta.hyperparameters
    terms = CANDIDATES if sample.mode == "all" else sample.terms
    return (
        (meta.model.id, meta.task, meta.mode, meta.seed) == (sample.model, sample.task, sample.mode, sample.seed)
        and set(meta.trained_terms) == set(terms)
        and meta.n_train == get_task(sample.task).regimes[sample.regime]
        and (settings.get("lr"), settings.get("epochs")) == (sample.lr, sample.epochs)
        and settings.get("max_length") == sample.max_length
        and meta.model.folder is None
    )


def measured(snapshot: Snapshot) -> dict[str, object]:
    """The Fisher information of a snapshot, which a small copy without its trajectory keeps."""
    fisher = {key: snapshot.fisher(*key) for key in snapshot.keys()}  # noqa: SIM118
    return {"fisher": {key: values for key, values in fisher.items() if values is not None}}


def write_pushes(folder: Path) -> None:
    """``three-pushes.json``: the question that the page Why opens with, and its answer by the bundled model."""
    from beft_core.models.attention_experiments import HeldModel

    asked = {"model": "bundled", "sentence": "The film was surprisingly good, but far too long.", "pair": ""}
    asked |= {"layer": 2, "size": 10.0, "seed": 0}
    example = {"asked": asked, "answer": HeldModel().prove(**asked)}
    (folder / "three-pushes.json").write_text(json.dumps(example) + "\n", encoding="utf-8")


def evaluate(folder: Path, device: str) -> None:
    """Score the averages of the pairs that are in a folder."""
    from beft_core.merging.config import MergeConfig
    from beft_core.merging.evaluate import evaluate_merge
    from beft_core.merging.shipped import Evaluated, write_evaluations

    titles = {sample.name: title(sample) for sample in SAMPLES}
    found = []
    for pair in MERGED:
        snapshots = [read_snapshot(folder / f"{name}{SUFFIX}") for name in pair]
        config = MergeConfig.of(
            snapshots, [titles[name] for name in pair], points=LINE, plane=SIDE, limit=EXAMPLES, device=device
        )
        checkpoint = folder / f"{pair[0]}.evaluation"  # what an interrupted evaluation goes on from
        result = evaluate_merge(snapshots, config, checkpoint=checkpoint).result
        checkpoint.unlink(missing_ok=True)
        if result.left_out:
            raise SystemExit(f"{' and '.join(pair)}: {result.left_out}")
        print(*pair, dict(result.rows), flush=True)
        found.append(Evaluated(replace(config, device="auto"), result))  # who scores them again may lack this device
        write_evaluations(folder, found)


def merges(sample: Sample) -> bool:
    """Whether the sample is one term's fine-tune, as the page Merge takes it; b_k is null and moved nothing."""
    return sample.mode == "terms" and sample.terms != ("k",)


def completed(sample: Sample, snapshot: Snapshot, device: str) -> Snapshot:
    """The same fine-tune with everything that can be measured once it has ended, where it is missing."""
    from beft_core.config import RunConfig
    from beft_core.models.bias_reader import ModelWeights
    from beft_core.training.fisher.of_snapshots import with_tuned_fisher
    from beft_core.training.result import constant_of
    from beft_core.training.scores.output_change import with_output_change

    where = RunConfig(device=device)
    if merges(sample) and not sample.prompted:
        snapshot = with_tuned_fisher([snapshot], where)[0]
    if followed(sample) and not sample.prompted:
        snapshot = with_output_change(snapshot, where)
    weights = ModelWeights(sample.model)
    layout = weights.layout()
    assert layout is not None
    model = replace(snapshot.meta.model, weights=weights.weights_fingerprint(layout))
    constant = constant_of(load_task(sample.task))
    return snapshot.with_meta(replace(snapshot.meta, model=model, constant_answer=constant))


def followed(sample: Sample) -> bool:
    """Whether a sample is a probe of which more than the end counts."""
    return sample.mode == "all" and not sample.authors_epsilon


def turn(path: Path, device: str) -> None:
    """Measure the dial of a sample and write it beside the sample."""
    from beft_core.dials.config import DialConfig
    from beft_core.dials.in_words import verdict
    from beft_core.dials.measure import measure
    from beft_core.dials.result import beside

    snapshot = read_snapshot(path)
    dial = measure(snapshot, DialConfig.of(snapshot, snapshot.meta.task, lambdas=LAMBDAS, device=device))
    dial.write(beside(path))
    print(path.name, f"{dial.seconds:.0f} s:", verdict(dial), flush=True)


def run(sample: Sample, device: str) -> Snapshot:
    """One fine-tune."""
    from beft_core.config import RunConfig
    from beft_core.presets import PRESETS
    from beft_core.training.workflow import train

    examples = get_task(sample.task).regimes[sample.regime]
    assert examples is not None
    steps = sample.epochs * -(-examples // 16)
    optimizer = PRESETS["paper" if sample.authors_epsilon else "quick"]
    return train(
        RunConfig(
            task=sample.task,
            mode=sample.mode,
            terms=sample.terms or ("v",),
            regime=sample.regime,
            seed=sample.seed,
            lr=sample.lr,
            epochs=sample.epochs,
            device=device,
            fisher=followed(sample),
            record_wall_seconds=True,
            train_null=sample.train_null,
            precision=sample.precision,
            rewrite_scale=sample.rewrite_scale,
            fisher_tuned=merges(sample) and not sample.prompted,
            model=sample.model,
            add_bias=(CANDIDATES if sample.mode == "all" else sample.terms) if sample.prompted else (),
            max_length=sample.max_length,
            adam_epsilon=optimizer.adam_epsilon,
            adam_epsilon_at=optimizer.adam_epsilon_at,
            trajectory_every=-(-steps // CHECKPOINTS) if followed(sample) and not sample.prompted else None,
        )
    )


def write_index(folder: Path) -> None:
    """``index.json``: what there is and what it shows, read from the files themselves."""
    entries = []
    for sample in SAMPLES:
        path = folder / f"{sample.name}{SUFFIX}"
        if path.exists():
            snapshot = read_snapshot(path)
            entries.append(
                {
                    "file": path.name,
                    "title": title(sample),
                    "shows": shows(sample, snapshot),
                    "task": sample.task,
                    "kind": "probe" if sample.mode == "all" else "run",
                }
            )
    index = {"default": f"{DEFAULT}{SUFFIX}", "samples": entries}
    (folder / "index.json").write_text(json.dumps(index, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def title(sample: Sample) -> str:
    """Words for a menu."""
    what = "all-bias probe" if sample.mode == "all" else f"{TERMS[sample.terms[0]].symbol} only"
    task = get_task(sample.task)
    name = task.name if task.source == "demo" else task.title.split(":")[0]
    name = f"Gemma 3 270M, prompted {name}" if sample.model == GEMMA else name
    null = f", b_k trained in {sample.precision}" if sample.train_null else ""
    null += ", the authors' epsilon" if sample.authors_epsilon else ""
    null += f", value weights ×{sample.rewrite_scale:g}" if sample.rewrite_scale else ""
    return f"{name}, {sample.regime}, {what}{null}" + (f", seed {sample.seed}" if sample.seed else "")


def shows(sample: Sample, snapshot: Snapshot) -> str:
    """One or two sentences from the numbers: what was selected, what was learned and against what."""
    task = load_task(sample.task)
    validation = task.evals["validation"]
    metric = snapshot.meta.metric
    assert metric is not None
    value = snapshot.meta.metrics[-1][metric] or 0.0
    trivial = constant_answer(validation.labels, metric)
    learned = value > trivial + uncertainty(metric, value, len(validation))
    result = f"{metric} {100 * value:.1f} on {len(validation)} validation examples"
    against = f"a constant answer gets {100 * trivial:.1f}"
    verdict = "" if learned else " Bias-only training learned nothing that this set can show: the score ranks movement."
    if sample.mode != "all":
        if snapshot.meta.null_terms == ("k",) and sample.terms == ("k",):
            verdict = " b_k is null here and stays frozen: this is what the head and the pooler's bias do alone."
        return f"Fine-tuning {TERMS[sample.terms[0]].symbol} alone: {result} ({against}).{verdict}"
    table = score_snapshot(snapshot)
    scores = table.mean_scores("projection_ratio")
    order = ", ".join(f"{TERMS[t].symbol} {scores[t]:.2f}" for t in sorted("qkv", key=lambda t: -scores[t]))
    picks = {name: table.selected().get(name) for name in ("projection_ratio", "magnitude", "fisher")}
    chosen = ", ".join(
        f"{label} {TERMS[term].symbol}"
        for label, term in zip(("projection ratio", "Magnitude", "Fisher"), picks.values(), strict=True)
        if term
    )
    if sample.prompted:
        return (
            "Biases that are added begin at zero, so every projection ratio is 1 and ranks nothing. Selected by "
            f"{chosen}. {result} ({against}).{verdict}"
        )
    null = [t for t in snapshot.meta.null_terms if t in snapshot.meta.trained_terms]
    if null:
        names = " and ".join(TERMS[t].symbol for t in null)
        verdict += f" {names} is null and was trained all the same: its score is rounding noise."
    return f"Projection ratio {order}. Selected by {chosen}. {result} ({against}).{verdict}"


if __name__ == "__main__":
    main()
