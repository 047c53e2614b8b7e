"""Sources of a sweep, what its fine-tunes are made from, by what the files hold: so that those of one table have the
same base model and the same data, whenever and wherever they are trained.

The names of fine-tunes say which model and task it is, and not what the files hold. A folder of the user's own may hold
another model a day later, or be another one where a worker starts.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from beft_core.exchange.checkpoints import model_info
from beft_core.files.digest import sha256_of
from beft_core.models.bias_reader import ModelWeights
from beft_core.models.source import BUNDLED
from beft_core.sweeps.spec import SweepSpec
from beft_core.tasks.registry import get_task
from beft_core.tasks.sources.official import VARIABLES, files_of, find_folder


def sources_of(spec: SweepSpec) -> dict[str, str]:
    """Digest what a grid is trained on here: words for a model or a task -> 64 hexadecimal digits.

    Only what lies in folders of the user's own is looked at: the base model, by its biases or weights, and the files of
    each task. What comes from the Hub or with the lab, and tables of the user's own, are known by their names or by
    :class:`SweepSpec` itself.

    Raises:
        UserError: a folder that cannot be read.
    """
    model = str(spec.settings.get("model", BUNDLED))
    found = {} if (digest := _of_model(model)) is None else {f"the model {model}": digest}
    for task in spec.tasks:
        if task not in spec.tables and (digest := _of_task(task, spec.settings.get("data_dir"))) is not None:
            found[f"the data of {task}"] = digest
    return found


def _of_model(name: str) -> str | None:
    path = Path(name).expanduser()
    if name == BUNDLED or not path.exists():
        return None
    if path.is_file():  # such as a GGUF, which is only read once it is converted
        return sha256_of(path)
    weights = ModelWeights(path)
    layout = weights.layout()
    if layout is None:
        return None  # which is no model: said where it is loaded
    return hashlib.sha256(repr(model_info(weights, layout, weights.biases(layout)).base).encode()).hexdigest()


def _of_task(name: str, data_dir: str | None) -> str | None:
    spec = get_task(name)
    folder = find_folder(spec, data_dir) if spec.source in VARIABLES else None
    if folder is None:
        return None
    return hashlib.sha256(" ".join(map(sha256_of, files_of(spec, folder))).encode()).hexdigest()
