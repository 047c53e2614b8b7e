"""What holds for every test: threads, Triton's interpreter, and how hypothesis searches."""

import gc
import os
import shutil
import sys
from importlib.metadata import version

import pytest
from hypothesis import settings

# One thread per process, workers and commands that tests start included: pytest runs one process per core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Where byte code is unwanted, as in many containers, every process that a test starts would compile the lab anew, and
# every worker of xdist the tests.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Triton's kernels run in its interpreter where PyTorch has no GPU. It asks once, when it is imported.
if shutil.which("nvidia-smi") is None or "+cpu" in version("torch"):
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Nothing here asserts a time: a busy machine must not fail a property.
settings.register_profile("lab", deadline=None)
settings.load_profile("lab")


def pytest_collection_finish() -> None:
    """Take what all tests have imported out of the search for garbage, which goes through half a million objects of
    PyTorch and others in a third of a second: after every bank of a sweep, before every estimate, and by itself.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def any_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning rates beyond what a command takes: the surest way to a loss that is not finite."""
    monkeypatch.setattr("beft_core.config.LARGEST_RATE", 1e39)
