"""Settings of jobs on a cluster with Slurm, from flags, a sweep's file and a profile: one table, one check of each.

A profile is a YAML file with such settings, by its path or by the name of a file in ``clusters/`` of the home folder;
``default.yaml`` there counts where none is named.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from beft_core.errors import UserError
from beft_core.files.home import home
from beft_core.files.paths import user_path
from beft_core.files.safe_yaml import read_yaml

DEFAULT_PROFILE = "default"
MAX_JOBS = 1000
"""Most jobs of a submission."""
MAX_MINUTES = 30 * 24 * 60
SIGNAL_SECONDS = 120
"""Seconds before the end of its time at which a job is told to save and to be queued again."""

_WORD = re.compile(r"[^\s'\"\\`$;|&<>()\x00-\x1f]{1,200}")
"""Pattern of a value for ``sbatch``: nothing that a shell or a second line could make something else of."""
_FLAG = re.compile(r"[a-z][a-z-]{0,40}")
_DAYS = re.compile(r"(\d+)-(\d{1,3}):(\d{2})(?::(\d{2}))?")
"""Pattern of days-hours:minutes:seconds."""
_CLOCK = re.compile(r"(?:(\d{1,3}):)?(\d{1,4}):(\d{2})")
"""Pattern of hours:minutes:seconds, or of minutes:seconds, as Slurm reads one colon."""
_UNITS = re.compile(r"(?=.)(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m?)?")


@dataclass(frozen=True)
class Cluster:
    """Settings of the jobs of a submission."""

    partition: str | None = None
    gpus: int = 1
    """GPUs of a job; 0: it computes on the CPU."""
    time: str = "2h"
    """Time of a job, ``90m``, ``2h``, ``1d12h`` or as Slurm writes it, ``1-12:00:00``."""
    max_jobs: int = 8
    """Most jobs of a submission; each takes passes until none is left."""
    cpus: int | None = None
    """Processors of a job."""
    memory: str | None = None
    """Main memory of a job, such as ``32G``."""
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    setup: tuple[str, ...] = ()
    """Shell lines that a job begins with, such as ``module load cuda``."""
    sbatch: tuple[str, ...] = ()
    """Further flags of ``sbatch``, each ``name=value`` or a name."""

    def __post_init__(self) -> None:
        for name in ("partition", "memory", "account", "qos", "constraint"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, str) and _WORD.fullmatch(value)):
                raise UserError(f"got {_flag(name)} {str(value)[:80]!r}", "one word", f"{_flag(name)} NAME")
        for name, least, most in (("gpus", 0, 64), ("max_jobs", 1, MAX_JOBS), ("cpus", 1, 4096)):
            value = getattr(self, name)
            if value is not None and not (type(value) is int and least <= value <= most):
                raise UserError(f"got {_flag(name)} {str(value)[:80]}", f"a whole number from {least} to {most:,}")
        for name in ("setup", "sbatch"):
            value = getattr(self, name)
            lines = (value,) if isinstance(value, str) else value
            if not isinstance(lines, list | tuple) or not all(_is_line(line) for line in lines):
                raise UserError(f"got {_flag(name)} {str(value)[:80]}", "lines of text")
            object.__setattr__(self, name, tuple(lines))
        for one in self.sbatch:
            name, _, value = one.partition("=")
            if not _FLAG.fullmatch(name) or (value and not _WORD.fullmatch(value)):
                raise UserError(
                    f"got --sbatch {one[:80]!r}", "a flag of sbatch without its dashes", "--sbatch nice=100"
                )
        if not isinstance(self.time, str):  # YAML reads 2:00:00 without quotes as 7200
            raise UserError(f"got time {str(self.time)[:40]}, a number", "a time with its unit or in quotes", "90m")
        minutes(self.time)

    @property
    def places(self) -> int:
        """Number of workers of a job: one for each of its GPUs, or one on the CPU."""
        return max(1, self.gpus)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Cluster:
        """Make settings from values by name. Raises UserError for names or values that there are not."""
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                close = difflib.get_close_matches(str(name), names, n=1)
                raise UserError(
                    f"got the cluster's setting {str(name)[:80]!r}", f"some of {', '.join(names)}", *close[:1]
                )
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Fields as JSON values, by name."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in vars(self).items()}

    def parameters(self, name: str) -> dict[str, Any]:
        """Make the parameters of ``sbatch`` as submitit names them. ``name``: of the jobs."""
        more: dict[str, Any] = {"signal": f"USR1@{SIGNAL_SECONDS}", "requeue": True}
        for one in self.sbatch:
            flag, _, value = one.partition("=")
            more[flag] = value or True
        wanted = {
            "job_name": name,
            "time": minutes(self.time),
            "partition": self.partition,
            "gpus_per_node": self.gpus or None,
            "cpus_per_task": self.cpus,
            "mem": self.memory,
            "account": self.account,
            "qos": self.qos,
            "constraint": self.constraint,
            "setup": list(self.setup) or None,
        }
        given = {key: value for key, value in wanted.items() if value is not None}
        return {**given, "wckey": None, "stderr_to_stdout": True, "additional_parameters": more}


def settings(given: Mapping[str, Any], profile: str | None = None) -> Cluster:
    """Read the settings of a submission: those that were given over those of a profile.

    Raises:
        UserError: no such profile, or settings that there are not.
    """
    return Cluster.from_dict({**_profile(profile), **{name: one for name, one in given.items() if one is not None}})


def profiles() -> list[str]:
    """List the names of the profiles in the home folder."""
    return sorted(path.stem for path in (home() / "clusters").glob("*.yaml"))


def is_path(profile: str) -> bool:
    """Say whether a profile is named by its path, and not as one in the home folder."""
    return profile.endswith((".yaml", ".yml")) or "/" in profile


def minutes(time: str) -> int:
    """Convert the time of a job to minutes, seconds rounded up. Raises UserError for anything that is no time."""
    if match := _DAYS.fullmatch(time):
        found = int(match[1]) * 1440 + int(match[2]) * 60 + int(match[3]) + (int(match[4] or 0) > 0)
    elif match := _CLOCK.fullmatch(time):
        found = int(match[1] or 0) * 60 + int(match[2]) + (int(match[3]) > 0)
    elif match := _UNITS.fullmatch(time):
        found = int(match[1] or 0) * 1440 + int(match[2] or 0) * 60 + int(match[3] or 0)
    else:
        found = 0
    if not 1 <= found <= MAX_MINUTES:
        raise UserError(f"got --time {time[:40]!r}", "a time up to 30 days, such as 90m, 2h, 1d12h or 1-12:00:00")
    return found


def _profile(profile: str | None) -> dict[str, Any]:
    named = home() / "clusters" / f"{profile or DEFAULT_PROFILE}.yaml"
    if profile is not None and is_path(profile):
        return read_yaml(user_path(profile, "--profile"))
    if named.parent == home() / "clusters" and named.is_file():
        return read_yaml(named)
    if profile is None:
        return {}
    known = f"one of {', '.join(profiles())}, or the path of a YAML file" if profiles() else "the path of a YAML file"
    raise UserError(f"got --profile {profile[:80]}", known, str(named))


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _is_line(value: object) -> bool:
    return isinstance(value, str) and len(value) <= 1000 and value.isprintable()
