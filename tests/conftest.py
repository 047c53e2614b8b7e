"""What holds for every test: threads, Triton's interpreter, how hypothesis searches, which process begins with what."""

import gc
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from importlib.metadata import version
from pathlib import Path

import pytest
from dealing import dealt
from hypothesis import settings
from parquet_here import unpacked_here

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


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[object]:
    """Look for no garbage while tests import PyTorch and all the rest, and never again among what they have imported.

    Looks are a fifth of what importing takes, and going through the half a million objects that are there then takes
    a third of a second: by itself, after every bank of a sweep and before every estimate.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With -n: deal what takes longest among the processes. Each collects for itself and must come to one order."""
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    if processes > 1:
        folder = Path(__file__).parent
        modules = [item.path.relative_to(folder).as_posix() for item in items]
        items[:] = [items[place] for place in dealt(modules, processes)]


@pytest.fixture(scope="module", autouse=True)
def tables_unpacked_here(request: pytest.FixtureRequest) -> Iterator[None]:
    """Read Parquet files in this process, but where it is about the process that reads a stranger's."""
    module = request.path.relative_to(Path(__file__).parent).as_posix()
    with nullcontext() if module.startswith(("unit/files/", "acceptance/")) else unpacked_here():
        yield


@pytest.fixture
def any_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Learning rates beyond what a command takes: the surest way to a loss that is not finite."""
    monkeypatch.setattr("beft_core.config.LARGEST_RATE", 1e39)
