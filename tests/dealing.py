"""Which tests each process of xdist begins with: what takes longest is dealt among them, so that none is left with it.

xdist cuts the list of tests into as many pieces as there are processes, and who is done takes half of what is left at
the end of another's piece. So a piece begins with its part of the dear modules, each in one process (which starts a
browser, a dashboard or PyTorch for it once), and ends with tests of which each takes a moment.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

SECONDS: dict[str, float] = {
    "acceptance/test_slurm.py": 105,
    "acceptance/test_hostile_corpora.py": 87,
    "acceptance/test_browser_importance.py": 74,
    "acceptance/test_browser_fine_tune.py": 55,
    "acceptance/test_browser_evaluation.py": 51,
    "acceptance/test_kill_and_resume.py": 50,
    "acceptance/test_browser_readable.py": 48,
    "acceptance/test_browser_merge.py": 39,
    "acceptance/test_browser_address.py": 34,
    "acceptance/test_browser_geometry.py": 30,
    "integration/merging/test_evaluate.py": 27,
    "acceptance/test_browser_sweep.py": 24,
    "acceptance/test_browser_deck.py": 23,
    "integration/dashboard/app_pages/test_evaluation.py": 23,
    "acceptance/test_browser_why.py": 20,
    "acceptance/test_wheel.py": 18,
    "integration/training/acceleration/test_compiled_layers.py": 17,
    "integration/sweeps/test_runner.py": 16,
    "acceptance/test_browser_door.py": 16,
    "acceptance/test_browser_compare.py": 16,
    "acceptance/test_browser_lesson.py": 16,
    "acceptance/test_hostile_cli.py": 15,
    "acceptance/test_cli_sweep.py": 14,
    "integration/training/test_trainer.py": 14,
    "integration/dashboard/app_pages/test_sweep.py": 14,
    "acceptance/test_browser_try_it.py": 13,
    "integration/dials/test_measure.py": 13,
    "integration/dashboard/app_pages/test_importance.py": 13,
    "integration/training/acceleration/test_segment_attention.py": 12,
    "acceptance/test_browser_runs.py": 12,
    "unit/execution/test_worker.py": 12,
    "integration/library/test_training.py": 12,
    "acceptance/test_cli.py": 12,
    "acceptance/test_cli_output.py": 12,
    "acceptance/test_browser_keyboard.py": 12,
    "integration/training/test_workflow.py": 10,
    "integration/training/acceleration/test_fused_qkv.py": 10,
    "unit/files/test_parquet_child.py": 10,
    "acceptance/test_browser_start.py": 9,
    "acceptance/test_browser_try_it_in_words.py": 9,
    "integration/dashboard/app_pages/test_why.py": 8,
    "integration/library/test_readme_notebook.py": 8,
    "unit/cli/test_report.py": 7,
    "acceptance/test_browser_readme.py": 5,
    "acceptance/test_browser_dial.py": 5,
}
"""Dear modules -> seconds of processor time, those of all processes that they start included. Only which is dearer
matters, and roughly."""
JOURNEY = 20.0
"""Seconds of any other module with a browser."""


def seconds_of(module: str) -> float:
    """Say how dear a module is; 0 for those that are dealt by the number of their tests."""
    return SECONDS.get(module, JOURNEY if "/test_browser_" in module else 0.0)


def dealt(modules: Sequence[str], processes: int, seconds: Callable[[str], float] = seconds_of) -> list[int]:
    """Give the order in which tests whose modules are named run best, as their places in that list."""
    tests: dict[str, list[int]] = {}
    for place, module in enumerate(modules):
        tests.setdefault(module, []).append(place)
    room = [len(modules) // processes + (n >= processes - len(modules) % processes) for n in range(processes)]
    pieces: list[list[int]] = [[] for _ in room]
    taken = [0.0] * processes
    for module in sorted(tests, key=lambda name: -seconds(name)):
        waiting = tests[module]
        while waiting:
            free = [n for n in range(processes) if room[n]]
            to = min(free, key=lambda n: taken[n]) if seconds(module) else max(free, key=lambda n: room[n])
            now, waiting = waiting[: room[to]], waiting[room[to] :]
            pieces[to] += now
            room[to] -= len(now)
            taken[to] += seconds(module)
    return [place for piece in pieces for place in piece]
