"""Examples, two per command, shown at the end of its help and run by the tests: at most 78 characters, to be copied."""

from __future__ import annotations

EXAMPLES: dict[str, tuple[str, ...]] = {
    "": (
        "beft select --task demo-sentiment --n-train 300",
        "beft train --task demo-sentiment --n-train 300 --terms v",
        "beft score sample_snapshots/sst2-low-seed0-probe.beft.safetensors",
    ),
    "select": (
        "beft select --n-train 300 --out probe.beft.safetensors",
        "beft select --train-file films.csv --text review --label stars --then-train",
    ),
    "train": (
        "beft train --n-train 300 --terms v --out v.beft.safetensors",
        "beft train --task rte --regime low --preset paper --terms q+v --layers 3-5",
    ),
    "score": (
        "beft score sample_snapshots/sst2-low-seed0-probe.beft.safetensors",
        "beft score probe-seed*.beft.safetensors --per-layer",
    ),
    "inspect": (
        "beft inspect sample_snapshots/sst2-low-seed0-probe.beft.safetensors",
        "beft inspect v.beft.safetensors --json",
    ),
    "rewrite": (
        "beft rewrite sample_snapshots/sst2-low-seed0-probe.beft.safetensors --shift 5",
        "beft rewrite probe.beft.safetensors --scale 10",
    ),
    "models": ("beft models", "beft models --json"),
    "tasks": ("beft tasks", "BEFT_GLUE_DIR=glue beft tasks"),
    "evaluate": (
        "beft evaluate v.beft.safetensors",
        "beft evaluate v.beft.safetensors --task sst2 --biases pre",
    ),
    "dial": (
        "beft dial v.beft.safetensors",
        "beft dial v.beft.safetensors --lambdas 0 0.5 1 1.5 --json",
    ),
    "predict": (
        'beft predict v.beft.safetensors --text "a fine film" --text "dull"',
        "beft predict *.beft.safetensors --file rows.csv --text text --snapshot who",
    ),
    "merge": (
        "beft merge a.beft.safetensors b.beft.safetensors",
        "beft merge a.beft.safetensors b.beft.safetensors --method ties --evaluate",
    ),
    "extract": (
        "beft extract bundled bundled --out base.beft.safetensors",
        "beft extract BASE TUNED --task sst2 --out tuned.beft.safetensors",
    ),
    "export": (
        "beft export v.beft.safetensors --merged MODEL",
        "beft export v.beft.safetensors --merged MODEL --base bundled --task sst2",
    ),
    "peft": (
        "beft peft import ADAPTER --base bundled --out adapter.beft.safetensors",
        "beft peft export v.beft.safetensors ADAPTER",
    ),
    "peft import": (
        "beft peft import ADAPTER --base bundled --out adapter.beft.safetensors",
        "beft peft import ADAPTER --base MODEL --task sst2 --out a.beft.safetensors",
    ),
    "peft export": (
        "beft peft export v.beft.safetensors ADAPTER",
        "beft peft export v.beft.safetensors ADAPTER --base MODEL --task sst2",
    ),
    "push": (
        "beft push v.beft.safetensors yourname/sst2-value-bias",
        "beft push v.beft.safetensors yourname/sst2-value-bias --upload --license mit",
    ),
    "sweep": (
        "beft sweep --terms v q head --n-train 200 --seeds 3 --out sweep",
        "beft sweep --config sample_snapshots/sweep.yaml --out sweep",
        "beft sweep --terms v q --out sweep --executor slurm --partition gpu --time 2h",
    ),
    "compare-methods": (
        "beft compare-methods --methods v lora full --budget 3 --out compared",
        "beft compare-methods --task rte --preset paper --same-lr 1e-3",
    ),
    "worker": (
        "beft worker /shared/sweep",
        "beft worker sweep --wait --bank-size 8",
    ),
    "docs": ("beft docs", "beft docs scores"),
    "report": (
        "beft report sweep",
        "beft report sweep --lr same --out report",
    ),
    "reproduce": (
        "beft reproduce all --model bundled --small --dry-run",
        "beft reproduce table1 --dry-run",
    ),
    "fetch": (
        "beft fetch --model bundled --tasks demo-sentiment",
        "beft fetch --reproduce table1",
    ),
    "export-results": (
        "beft export-results sweep --project beft",
        "beft export-results sweep/results.parquet --space ORG/NAME",
    ),
    "dashboard": (
        "beft dashboard",
        "beft dashboard --port 8600",
    ),
    "lesson": (
        "beft lesson --out lesson",
        "beft lesson --out lesson --snapshots a.beft.safetensors b.beft.safetensors",
    ),
}
"""Lines of examples by the words after ``beft``."""
