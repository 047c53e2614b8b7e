"""Model card of a snapshot for the Hub: what it is, how good, how to load it, generated from what the snapshot records.

The front matter is that of :class:`huggingface_hub.ModelCardData`, whose reader must read back what was written.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from beft_core import __version__
from beft_core.errors import UserError
from beft_core.methods import NOT_TRAINED, method_of
from beft_core.models.gguf.packaged import GEMMA
from beft_core.models.source import BUNDLED
from beft_core.publishing import picture
from beft_core.publishing.markdown import ENVIRONMENT, Plain, code
from beft_core.scores.approaches import APPROACHES, PAPER
from beft_core.scores.learning import learning
from beft_core.scores.table import ScoreTable, score_snapshot
from beft_core.snapshots.adapter_folder import AdapterFolder
from beft_core.snapshots.snapshot import SUFFIX, Snapshot
from beft_core.tasks.metrics import metric_in_words
from beft_core.tasks.registry import TASKS
from beft_core.tasks.spec import TaskSpec
from beft_core.training.observer import NOT_METRICS

SNAPSHOT, PICTURE, CARD = f"snapshot{SUFFIX}", "scores.svg", "README.md"
"""Names of the files of a folder for the Hub, beside those of the adapter."""

METRICS: dict[str, str] = {
    "accuracy": "accuracy",
    "f1": "f1",
    "f1_macro": "f1",
    "mcc": "matthews_correlation",
    "pearson": "pearsonr",
    "spearman": "spearmanr",
    "answer_f1": "f1",
    "exact_match": "exact_match",
    "drop_f1": "f1",
    "drop_exact_match": "exact_match",
}
"""Names of our metrics among those of the Hub (https://huggingface.co/metrics)."""

CLASSES: dict[str, str] = {
    "SEQ_CLS": "AutoModelForSequenceClassification",
    "CAUSAL_LM": "AutoModelForCausalLM",
}
"""Classes of transformers that take an adapter, by PEFT's task type."""
PIPELINES = {"SEQ_CLS": "text-classification", "CAUSAL_LM": "text-generation"}

UNKNOWN = "unknown"
"""Word of the Hub for a licence that nobody named."""


@dataclass(frozen=True)
class HubBase:
    """Base model as others can find it."""

    name: str
    """Name in the snapshot; a stranger's words."""
    id: str | None
    """Id on the Hub, checked; None: it is a folder of somebody's own."""
    revision: str | None = None
    license: str | None = None
    """Licence, as the Hub writes it; None: not known here."""
    differs: str = ""
    """How the weights that were fine-tuned differ from those of the id, in words; empty: they do not."""


@dataclass(frozen=True)
class Publication:
    """Snapshot with all that its card says besides what it records itself."""

    snapshot: Snapshot
    repo: str
    """Name on the Hub, ``ORG/NAME``, checked."""
    task: str
    base: HubBase
    adapter: AdapterFolder | None
    no_adapter: str = ""
    """Reason why there is none, in words."""
    license: str = UNKNOWN

    @property
    def task_type(self) -> str:
        """Kind of model that takes the adapter, a key of :data:`CLASSES`."""
        decoder = any(stack == "decoder" for stack, _ in self.snapshot.keys())  # noqa: SIM118
        language = self.snapshot.meta.is_prompted(self.task) or (decoder and self.classes is None)
        return "CAUSAL_LM" if language else "SEQ_CLS"

    @property
    def classes(self) -> int | None:
        """Number of outputs of the head; None: there is none."""
        weight = self.snapshot.extra.get(f"extra.{self.task}.head.weight")
        return None if weight is None else len(weight)

    @property
    def spec(self) -> TaskSpec | None:
        """Task of the registry that the head is for; None: a table of somebody's own, or a name of another lab."""
        own = self.snapshot.meta.heads.get(self.task, {}).get("columns") is not None
        return None if own else TASKS.get(self.task)

    @property
    def metrics(self) -> dict[str, float]:
        """Metrics after the last epoch by name, if the snapshot's own task is the one that is published, and if they
        are those of its biases.
        """
        meta = self.snapshot.meta
        last = meta.final_metrics if self.task == meta.task else {}
        return {name: float(value) for name, value in last.items() if name not in NOT_METRICS and value is not None}


def card_of(made: Publication) -> tuple[str, Markup | None]:
    """Write the card of a publication, and the picture that it shows, if there is something to draw.

    Raises:
        UserError: the Hub's own reader does not read back what was written.
    """
    scores = _scored(made.snapshot)
    image, words = _picture(made, scores)
    text = ENVIRONMENT.get_template("card.md").render(**_values(made, scores, image is not None, words))
    lines = "\n".join(line.rstrip() for line in text.splitlines())
    while "\n\n\n" in lines:
        lines = lines.replace("\n\n\n", "\n\n")
    whole = f"---\n{_front_matter(made)}\n---\n\n{lines.strip()}\n"
    check_card(whole)
    return whole, image


def check_card(text: str) -> dict[str, Any]:
    """Read a card as the Hub's client does; return its front matter.

    Raises:
        UserError: it has no front matter, or one that is not as the Hub wants it.
    """
    from huggingface_hub import ModelCard

    try:
        data: dict[str, Any] = ModelCard(text).data.to_dict()
    except Exception as error:  # of YAML, of the client's own checks: each has its own errors
        raise UserError(
            f"{CARD}: a front matter that the Hub does not read ({error})", "YAML between two lines ---"
        ) from None
    if not data:
        raise UserError(f"{CARD} without a front matter", "YAML between two lines ---, at the top")
    return data


def _front_matter(made: Publication) -> str:
    from huggingface_hub import EvalResult, ModelCardData

    spec, meta = made.spec, made.snapshot.meta
    hub = None if spec is None else spec.hub
    results = [
        EvalResult(
            task_type=PIPELINES[made.task_type],
            dataset_type=hub[0] if hub else "other",
            dataset_name=spec.title.partition(":")[0] if spec else made.task,
            dataset_config=hub[1] if hub else None,
            dataset_split=_split(made, name) if hub else None,
            metric_type=kind,
            metric_name=metric_in_words(name),
            metric_value=round(value, 6),
        )
        for name, value in made.metrics.items()
        if (kind := _metric_id(name)) is not None
    ]
    terms = [f"bias-{term}" for term in meta.trained_terms]
    more: dict[str, Any] = {"base_model_relation": "adapter"} if made.base.id and made.adapter is not None else {}
    data = ModelCardData(
        base_model=made.base.id,
        library_name=None if made.adapter is None else "peft",
        license=made.license,
        datasets=[hub[0]] if hub else None,
        metrics=sorted({one.metric_type for one in results}) or None,
        pipeline_tag=PIPELINES[made.task_type] if made.classes is not None or made.task_type == "CAUSAL_LM" else None,
        tags=["beft", "bias-efficient-fine-tuning", *([meta.mode] if method_of(meta.mode).adapter else terms)],
        model_name=made.repo.rpartition("/")[2],
        eval_results=results or None,
        **more,
    )
    return str(data.to_yaml())


def _metric_id(name: str) -> str | None:
    """Name of a metric on the Hub; of one of several validation sets, ``accuracy_matched``, that of the metric."""
    known = _without_set(name)
    return None if known is None else METRICS[known]


def _without_set(name: str) -> str | None:
    """Name of a metric without that of the validation set behind it; None for one that the Hub does not know."""
    return max((one for one in METRICS if name == one or name.startswith(f"{one}_")), key=len, default=None)


def _split(made: Publication, name: str) -> str:
    """Split of the task's data, as the Hub names it, on which a metric was measured."""
    if _set_aside(made):
        return "train"
    return f"validation{name.removeprefix(_without_set(name) or name)}"


def _set_aside(made: Publication) -> bool:
    """Whether the fine-tune was scored on training examples that it set aside, instead of the validation set."""
    return made.snapshot.meta.hyperparameters.get("hold_out") is not None


def _validated(made: Publication, count: int | None) -> str:
    """Say on which examples the metrics were measured. ``count``: how many; None where that is not known."""
    if _set_aside(made):
        what = "training examples that were set aside"
        return f"{count:,} {what}" if count is not None else what
    return f"{count:,} validation examples" if count is not None else "its validation examples"


def _scored(snapshot: Snapshot) -> ScoreTable | None:
    """Score the terms that moved; None where none did, as under an adapter."""
    moved = [
        key
        for key in snapshot.keys()  # noqa: SIM118 - a method of Snapshot
        if (snapshot.pre(*key) != snapshot.post(*key)).any()
    ]
    if not moved:
        return None
    table = score_snapshot(snapshot)
    return ScoreTable(tuple(row for row in table.terms if (row.stack, row.term) in moved), table.remarks)


def _picture(made: Publication, scores: ScoreTable | None) -> tuple[Markup | None, str]:
    meta = made.snapshot.meta
    if scores is not None:
        words = f"{APPROACHES[PAPER].label} of each bias term in each layer"
        return picture.score_map(words, {f"b_{row.term}": row.scores[PAPER].tolist() for row in scores.terms}), words
    name = meta.metric or ""
    values = [value for one in meta.metrics if (value := one.get(name)) is not None]
    if not values or made.task != meta.task:
        return None, ""
    known = None if meta.constant_answer is None else float(meta.constant_answer["value"])
    words = f"{metric_in_words(name)[:60]} over epochs"
    return picture.epochs(words, [float(value) for value in values], known), words


def _values(made: Publication, scores: ScoreTable | None, pictured: bool, words: str) -> dict[str, Any]:
    """Values that the template inserts; every text of a snapshot is escaped there."""
    meta, base = made.snapshot.meta, made.base
    method = method_of(meta.mode)
    terms = ", ".join(f"b_{term}" for term in meta.trained_terms)
    title = method.short or f"Bias terms {terms or 'unknown'}"
    found = learning(meta) if made.task == meta.task else None
    return {
        "name": made.repo.rpartition("/")[2],
        "method": f"{title[:1].upper()}{title[1:]}",
        "base": base.id or f"{base.name} (a folder of its author's own)",
        "task": made.spec.title if made.spec else made.task,
        "examples": f"{meta.n_train:,}" if meta.n_train is not None else "",
        "seed": "unknown" if meta.seed is None else meta.seed,
        "share": _share(made),
        "metrics": _metric_rows(made),
        "validated": _validated(made, None if found is None else found.examples),
        "no_metrics": _no_metrics(made),
        "verdict": _verdict(made),
        "picture": pictured,
        "picture_words": words,
        **_score_values(scores),
        "peft": _peft(made),
        "peft_note": _peft_note(made),
        "no_adapter": made.no_adapter,
        "lab": Plain(_lab(made)),
        "plain": Plain(_plain_model(made)),
        "numbers": Plain(_NUMBERS.format(repo=made.repo, file=SNAPSHOT)),
        "settings": _settings(made),
        "base_line": _base_line(base),
        "fingerprint_line": _fingerprint_line(made),
        "data_line": _data_line(made),
        "license_line": "unknown; its author did not name one" if made.license == UNKNOWN else made.license,
        "base_license_line": base.license or "unknown here; see the base model",
    }


def _share(made: Publication) -> str:
    meta = made.snapshot.meta
    if meta.trained_parameters is None or not meta.total_parameters:
        return ""
    share = 100 * meta.trained_parameters / meta.total_parameters
    return f"{meta.trained_parameters:,} of {meta.total_parameters:,} parameters ({share:.3f} %)"


def _metric_rows(made: Publication) -> list[list[Any]]:
    meta = made.snapshot.meta
    known = meta.constant_answer
    constant = "not recorded" if known is None else Plain(f"{float(known['value']):.4f}")
    return [
        [metric_in_words(name), Plain(f"{value:.4f}"), constant if name == meta.metric else "–"]
        for name, value in made.metrics.items()
    ]


def _no_metrics(made: Publication) -> str:
    """Say why no metrics stand in the card, where none do."""
    meta = made.snapshot.meta
    if meta.went_on is None or made.task != meta.task:
        return "The snapshot records no metric."
    scored, steps = meta.went_on
    return (
        f"The fine-tune was stopped at step {steps:,} and not scored there: the metrics that the snapshot records are "
        f"those after step {scored:,}, of other values than these."
    )


def _verdict(made: Publication) -> str:
    found = learning(made.snapshot.meta) if made.task == made.snapshot.meta.task else None
    if found is None:
        return ""
    beaten = "beats" if found.beaten else "does not beat"
    return f"With two standard errors: {found.numbers()}, in percent. It {beaten} the constant answer."


def _score_values(scores: ScoreTable | None) -> dict[str, Any]:
    if scores is None:
        return {
            "scores": [],
            "layers": [],
            "notes": [],
            "score_head": [],
            "layer_head": [],
            "formulas": "",
            "score_label": "",
        }
    approaches = scores.approaches
    names = [f"b_{row.term}{' (null)' if row.null else ''}" for row in scores.terms]
    return {
        "score_head": ["term", *(APPROACHES[key].label for key in approaches)],
        "scores": [
            [name, *(_number(row.scores[key].mean()) if key in row.scores else "–" for key in approaches)]
            for name, row in zip(names, scores.terms, strict=True)
        ],
        "formulas": Plain("; ".join(f"{APPROACHES[key].label}: {code(APPROACHES[key].formula)}" for key in approaches)),
        "score_label": APPROACHES[PAPER].label,
        "layer_head": ["layer", *names],
        "layers": [
            [
                layer,
                *(_number(row.scores[PAPER][layer]) if layer < len(row.scores[PAPER]) else "–" for row in scores.terms),
            ]
            for layer in range(max(len(row.scores[PAPER]) for row in scores.terms))
        ],
        "notes": [*_selection(scores), *scores.notes],
    }


def _selection(scores: ScoreTable) -> list[str]:
    """Say which term the paper's approach selects, where several were trained."""
    chosen = scores.selected()[PAPER] if PAPER in scores.approaches else None
    return [] if chosen is None else [f"The {APPROACHES[PAPER].label.lower()} selects b_{chosen} among q, k and v"]


def _number(value: float) -> Plain:
    """Write a score with four significant digits."""
    if not math.isfinite(value):
        return Plain("–")
    return Plain(f"{value:.4f}" if value == 0 or 1e-3 <= abs(value) < 1e4 else f"{value:.3e}")


_PEFT = """from peft import PeftModel
from transformers import {kind}

model = {kind}.from_pretrained({base}{more})
model = PeftModel.from_pretrained(model, "{repo}")"""

_NUMBERS = """from huggingface_hub import hf_hub_download
from safetensors.numpy import load_file

tensors = load_file(hf_hub_download("{repo}", "{file}"))  # encoder.v.pre and encoder.v.post: [layers, width]"""

PLACE = "BASE"
"""Word for the folder of a base model that the Hub does not have."""


def _peft(made: Publication) -> str:
    """Python that opens the adapter; empty where there is none."""
    if made.adapter is None:
        return ""
    more = f', revision="{made.base.revision}"' if made.base.id and made.base.revision else ""
    more += f", num_labels={made.classes}" if made.classes is not None else ""
    base = f'"{made.base.id or PLACE}"'
    return Plain(_PEFT.format(kind=CLASSES[made.task_type], base=base, more=more, repo=made.repo))


def _peft_note(made: Publication) -> str:
    notes = []
    if made.base.id is None:
        notes.append("BASE is the folder of the base model, which is not on the Hub under a name that its author gave.")
    if made.classes is None and made.task_type == "SEQ_CLS":
        notes.append("The snapshot has no head, so that the classifier's is random.")
    return " ".join(notes)


def _lab(made: Publication) -> str:
    """Commands that score the snapshot again, or show it where its task is not one of the lab."""
    spec = made.spec
    command = f"evaluate {{file}} --task {spec.name}{_named(made, '--model')}" if spec else "inspect {file}"
    return _fetched(made, command)


def _plain_model(made: Publication) -> str:
    """Commands that make a plain model; empty where vectors before the text have no place in one."""
    if method_of(made.snapshot.meta.mode).before_text:
        return ""
    return _fetched(made, f"export {{file}} --merged MODEL{_named(made, '--base')}")


def _fetched(made: Publication, command: str) -> str:
    name = made.repo.rpartition("/")[2]
    return f"hf download {made.repo} --local-dir {name}\nbeft {command.format(file=f'{name}/{SNAPSHOT}')}"


def _named(made: Publication, flag: str) -> str:
    """Option that names the base model, where the snapshot does not say enough to find it."""
    model = made.snapshot.meta.model
    known = model.id in (BUNDLED, GEMMA) or (model.revision is not None and made.base.id is not None)
    return "" if known else f" {flag} {made.base.id or PLACE}"


def _settings(made: Publication) -> list[list[Any]]:
    meta = made.snapshot.meta
    method = method_of(meta.mode)
    rows: dict[str, Any] = {
        "method": f"{meta.mode}: {method.words}",
        "bias terms trained": ", ".join(meta.trained_terms) or "none",
        "layers trained": "all" if meta.layers is None else ", ".join(map(str, meta.layers)),
        "seed": meta.seed,
        "labels": ", ".join(f"{at} {label}" for at, label in enumerate(_labels(made))),
        "regime": meta.regime,
        "training examples": meta.n_train,
        **{name: _plain_value(value) for name, value in sorted(meta.hyperparameters.items())},
        "device": meta.device,
        "seconds": meta.wall_seconds,
        "versions": ", ".join(f"{name} {version}" for name, version in sorted(meta.versions.items())),
        "card written by": f"beft-lab {__version__}",
    }
    if meta.mode in NOT_TRAINED:
        rows |= {f"{name} (provenance)": _plain_value(value) for name, value in sorted(meta.provenance.items())}
    shown = [[name, value] for name, value in rows.items() if value not in (None, "", "[]")]
    return shown[:MAX_ROWS] + (
        [["…", f"{len(shown) - MAX_ROWS} more in the snapshot"]] if len(shown) > MAX_ROWS else []
    )


def _labels(made: Publication) -> list[str]:
    """Names of the classes, in the order of the head's outputs."""
    labels = made.snapshot.meta.heads.get(made.task, {}).get("labels")
    return list(labels) if isinstance(labels, list | tuple) else []


MAX_ROWS = 60
"""Most settings that a card shows."""


def _plain_value(value: Any) -> Any:
    return value if isinstance(value, str | int | float) else json.dumps(value, ensure_ascii=False)


def _base_line(base: HubBase) -> str:
    if base.id is None:
        return f"{base.name}, a folder of its author's own, which the Hub does not have under a name that was given"
    differs = f"; the fine-tune started from {base.differs}" if base.differs else ""
    return f"{base.id}" + (f", revision {base.revision}" if base.revision else "") + differs


def _fingerprint_line(made: Publication) -> Plain:
    model = made.snapshot.meta.model
    _, digest = model.digest
    if digest is None:
        return Plain("none, because the base has no biases; its type and size are compared")
    of = "rows of its weights: it has no biases" if model.told_by == "weights" else "its biases"
    return Plain(f"{code(digest)} (SHA-256 of {of}). A model where these differ is refused")


def _data_line(made: Publication) -> str:
    if made.spec is not None and made.spec.hub is not None:
        return f"{made.spec.title}; {made.spec.hub[0]}, {made.spec.hub[1]}"
    if made.spec is not None:
        return f"{made.spec.title}; generated by the lab"
    return f"{made.task}, a table of its author's own, or unknown"
