"""Private names of submitit that the engine needs; no other module of the engine uses one.

Its public way pickles a Python function and a job's result. Our jobs start the command ``beft``, so only what it knows
of Slurm is used: the batch file, the call of ``sbatch`` and the reading of its answer. It is the same in submitit 1.5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from submitit import SlurmExecutor


class CommandExecutor(SlurmExecutor):
    """Executor of submitit that starts a command line instead of a pickled function."""

    def __init__(self, folder: Path, parameters: dict[str, Any], jobs: int) -> None:
        """Take parameters of ``sbatch`` as submitit names them; ``jobs``: how many equal ones, as one array.

        Raises:
            ValueError: a parameter that submitit does not know.
        """
        super().__init__(folder)
        self.update_parameters(**parameters)
        if jobs > 1:
            self.parameters["map_count"] = jobs

    @classmethod
    def affinity(cls) -> int:
        """Say that it can be used, also where a batch file is only printed."""
        return 2

    def batch_file(self, command: str) -> str:
        """Write the batch file of a command line."""
        return str(self._make_submission_file_text(command, ""))

    def submit_command(self, command: str) -> str:
        """Submit a command line and return the job's id, of several that of the array.

        Raises:
            Exception: of submitit, where ``sbatch`` fails: its message holds what that said.
        """
        return str(self._submit_command(command).job_id)
