"""Tests of this folder may import its tools by name, and leave the machine's cores to each other."""

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
