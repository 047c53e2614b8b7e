"""Home folder, which holds everything that the lab keeps."""

from __future__ import annotations

import os
from pathlib import Path

from beft_core.files.paths import user_path


def home() -> Path:
    """Folder of everything that the lab keeps: ``BEFT_HOME``, else the platform's user data folder."""
    named = os.environ.get("BEFT_HOME")
    if named:
        return user_path(named, "BEFT_HOME")
    import platformdirs

    return Path(platformdirs.user_data_dir("beft-lab", appauthor=False))
