"""Puts its folder on the path of every test: they share `example_snapshots` and `hostile`."""

import os

from hypothesis import settings

# One thread per process, workers and commands that tests start included: pytest runs one process per core.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# Nothing here asserts a time: a busy machine must not fail a property.
settings.register_profile("lab", deadline=None)
settings.load_profile("lab")
