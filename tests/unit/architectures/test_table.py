"""Rows of the table need no PyTorch."""

from __future__ import annotations

import subprocess
import sys


def test_needs_no_torch() -> None:
    loaded = "'torch' in sys.modules or 'transformers' in sys.modules"
    code = f"import sys, beft_core.architectures.table; sys.exit({loaded})"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
