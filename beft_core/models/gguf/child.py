"""Program of the process that converts a GGUF file, and dies of it if it must: ``python -m ... FILE FOLDER MEMORY``.

transformers unpacks the quantised weights and makes a tokenizer of the file's vocabulary; what it makes is kept in half
precision as any other model. The file may be a stranger's, so the process has a limit of memory, and its end takes with
it the gigabytes that the unpacking needed. On stdout: one JSON object per line, ``{"done": 3, "total": 236}``, at the
end ``{"nats": 3.0}``, or ``{"error": "..."}``.
"""

from __future__ import annotations

import functools
import json
import resource
import sys
from pathlib import Path
from typing import Any

TEXT = (
    "The old house stood at the end of the road, behind a row of tall trees. Every morning the postman came up the "
    "hill with letters for the family who lived there. In winter, when the snow was deep, he had to leave his bicycle "
    "at the gate and walk the rest of the way. The children waited for him at the window, because he often told them "
    "what had happened in the village during the week."
)
"""Plain English in which a converted model's loss is measured."""
LARGEST_HALF = 65504.0
"""Largest number of float16."""


def main(file: Path, folder: Path, memory: int) -> None:
    """Convert a file into a folder that exists, within ``memory`` bytes."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    _say(stage="reading")
    import gguf
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    # transformers parses the whole file once for each of configuration, weights and tokenizer.
    gguf.GGUFReader = functools.lru_cache(gguf.GGUFReader)  # type: ignore[misc,assignment]
    reader = gguf.GGUFReader(str(file))
    gguf.dequantize = _counted(gguf.dequantize, len(reader.tensors))
    source: dict[str, Any] = {"gguf_file": file.name, "local_files_only": True, "trust_remote_code": False}
    made: Any = AutoModelForCausalLM.from_pretrained(
        file.parent, dtype=torch.float32, output_loading_info=True, **source
    )
    model, report = made
    if report["missing_keys"]:
        raise ValueError(f"no {sorted(report['missing_keys'])[0]} in the file")
    _say(stage="tokenizer")
    tokenizer = AutoTokenizer.from_pretrained(file.parent, **source)
    _say(nats=_nats(model, tokenizer))
    _say(stage="writing")
    _save(model, folder)
    tokenizer.save_pretrained(folder)


def _counted(unpack: Any, total: int) -> Any:
    done = 0

    @functools.wraps(unpack)
    def counted(*args: Any, **kwargs: Any) -> Any:
        nonlocal done
        result = unpack(*args, **kwargs)
        done += 1
        _say(done=done, total=total)
        return result

    return counted


def _nats(model: Any, tokenizer: Any) -> float:
    """Measure the mean cross-entropy per token of plain English, in nats."""
    import torch

    ids = torch.tensor([tokenizer(TEXT)["input_ids"]])
    if tokenizer.bos_token_id is not None and ids[0, 0] != tokenizer.bos_token_id:
        ids = torch.cat([torch.tensor([[tokenizer.bos_token_id]]), ids], dim=1)
    with torch.no_grad():
        return float(model.eval()(input_ids=ids, labels=ids).loss)


def _save(model: Any, folder: Path) -> None:
    """Write weights in half precision, in float16 where they fit into it: it keeps 11 bits of a number, bfloat16 8."""
    import torch
    from safetensors.torch import save_file

    fits = all(float(value.detach().abs().max()) <= LARGEST_HALF for value in model.parameters())
    kind = torch.float16 if fits else torch.bfloat16
    tied = set(model.all_tied_weights_keys) if model.config.tie_word_embeddings else set()
    state = {
        name: value.to(kind).contiguous()
        for name, value in model.state_dict().items()
        if name not in tied and value.is_floating_point()
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict()
    config.pop("quantization_config", None)
    config["dtype"] = str(kind).removeprefix("torch.")
    (folder / "config.json").write_text(json.dumps(config, indent=2))


def _say(**words: Any) -> None:
    print(json.dumps(words), flush=True)  # noqa: T201  the parent reads it


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
    except MemoryError:
        _say(error="it needs more memory than a model of its size")
        sys.exit(1)
    except Exception as error:  # whatever a library raises about a file that is not as it should be
        _say(error=f"{type(error).__name__}: {' '.join(str(error).split())[:300]}")
        sys.exit(1)
