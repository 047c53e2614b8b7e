"""Tests of this folder may import its tools by name and use the fixtures of the browser."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from browser_tools import browser, lab, profile, visit

__all__ = ["browser", "lab", "profile", "visit"]
