"""Facts about the Hugging Face Hub before anything is asked of it: where its cache lies, and whether it can be
reached.
"""

from __future__ import annotations

import os
import queue
import threading
from pathlib import Path

from beft_core.files.paths import user_path

HUB_PATIENCE = 2.5
"""Seconds to wait for the Hub's first answer; its client would retry for about 28."""


def offline_mode() -> bool:
    """Whether the user has switched downloads from the Hub off (``HF_HUB_OFFLINE``)."""
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


def hub_answers() -> bool:
    """Whether the Hub answers anything at all within ``HUB_PATIENCE`` seconds, through the user's proxies."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if offline_mode():
        return False
    answers: queue.Queue[bool] = queue.Queue()

    def probe() -> None:
        try:
            get_session().head(constants.ENDPOINT, timeout=HUB_PATIENCE)
            answers.put(True)
        except Exception:  # any failure, of any HTTP library, means the same: no answer
            answers.put(False)

    # A thread, because looking a name up can block for longer than any timeout that a client takes.
    threading.Thread(target=probe, daemon=True).start()
    try:
        return answers.get(timeout=HUB_PATIENCE)
    except queue.Empty:
        return False


def hub_cache() -> Path:
    """Folder of the Hub's client, by its own variables; importing the client to ask it would take longer."""
    base = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return user_path(os.environ.get("HF_HUB_CACHE") or Path(base) / "hub", "HF_HUB_CACHE")
