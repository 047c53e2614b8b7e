"""Options of ``beft sweep`` that say where and by how many workers it is done."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from beft_core.cli.parser.command import CLUSTER, OUTPUT, TRAINING
from beft_core.errors import UserError
from beft_core.execution.clusters.settings import Cluster, settings
from beft_core.runs.status import EXECUTORS

LOCAL = "local"
"""Executor of this machine."""

BankSize = Annotated[
    int | None,
    typer.Option(
        "--bank-size", metavar="N", help="Most fine-tunes in one pass. Default: from memory.", rich_help_panel=TRAINING
    ),
]
NoSnapshots = Annotated[
    bool,
    typer.Option(
        "--no-snapshots",
        help="Keep the table only; a finished fine-tune may lack its snapshot.",
        rich_help_panel=OUTPUT,
    ),
]
Devices = Annotated[
    list[str] | None,
    typer.Option(
        "--devices",
        metavar="NAME...",
        help="GPUs to use, such as cuda:0 cuda:1. Default: all.",
        rich_help_panel=TRAINING,
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        "--workers",
        metavar="N",
        help="Processes that share the sweep. Default: one for each GPU, or one on the CPU.",
        rich_help_panel=TRAINING,
    ),
]
Executor = Annotated[
    str | None,
    typer.Option(
        "--executor",
        metavar="[local|slurm]",
        help="Where: this machine, or jobs of a cluster.",
        rich_help_panel=CLUSTER,
    ),
]
Profile = Annotated[
    str | None,
    typer.Option(
        "--profile",
        metavar="NAME",
        help="Settings of a cluster: a YAML file, or the name of one in clusters/ of BEFT_HOME.",
        rich_help_panel=CLUSTER,
    ),
]
Partition = Annotated[
    str | None, typer.Option("--partition", metavar="NAME", help="Partition of the jobs.", rich_help_panel=CLUSTER)
]
Gpus = Annotated[
    int | None, typer.Option("--gpus", metavar="N", help="GPUs of a job. Default: 1.", rich_help_panel=CLUSTER)
]
Time = Annotated[
    str | None,
    typer.Option("--time", metavar="TIME", help="Time of a job, as 90m or 2h. Default: 2h.", rich_help_panel=CLUSTER),
]
MaxJobs = Annotated[
    int | None,
    typer.Option("--max-jobs", metavar="N", help="Most jobs at once. Default: 8.", rich_help_panel=CLUSTER),
]
Cpus = Annotated[int | None, typer.Option("--cpus", metavar="N", help="Processors of a job.", rich_help_panel=CLUSTER)]
Memory = Annotated[
    str | None, typer.Option("--memory", metavar="SIZE", help="Main memory of a job, as 32G.", rich_help_panel=CLUSTER)
]
Account = Annotated[
    str | None, typer.Option("--account", metavar="NAME", help="Account of the jobs.", rich_help_panel=CLUSTER)
]
Qos = Annotated[
    str | None, typer.Option("--qos", metavar="NAME", help="Quality of service of the jobs.", rich_help_panel=CLUSTER)
]
Constraint = Annotated[
    str | None, typer.Option("--constraint", metavar="NAME", help="Features of the nodes.", rich_help_panel=CLUSTER)
]
Setup = Annotated[
    list[str] | None,
    typer.Option(
        "--setup",
        metavar="LINE",
        help="Shell line that a job begins with, as 'module load cuda'; may be repeated.",
        rich_help_panel=CLUSTER,
    ),
]
Sbatch = Annotated[
    list[str] | None,
    typer.Option(
        "--sbatch",
        metavar="FLAG",
        help="A further flag of sbatch, as nice=100; may be repeated.",
        rich_help_panel=CLUSTER,
    ),
]
PrintSbatch = Annotated[
    bool,
    typer.Option("--print-sbatch", help="Print the batch file instead of submitting it.", rich_help_panel=CLUSTER),
]
TrustFile = Annotated[
    bool,
    typer.Option(
        "--trust-file",
        help="Submit jobs that begin with shell lines or flags of sbatch which the file of --config has.",
        rich_help_panel=CLUSTER,
    ),
]
Detach = Annotated[bool, typer.Option("--detach", help="Submit, and do not wait for the end.", rich_help_panel=CLUSTER)]

OF_CLUSTERS: tuple[str, ...] = tuple(field.name for field in dataclasses.fields(Cluster))
"""Options that set a field of :class:`beft_core.execution.clusters.settings.Cluster`."""


def executor_of(own: Mapping[str, Any]) -> str:
    """Check that options which only a cluster knows stand with one, and name the executor.

    Raises:
        UserError: they do not, or there is no such executor.
    """
    executor = own.get("executor") or LOCAL
    if executor not in EXECUTORS:
        raise UserError(f"got --executor {str(executor)[:40]}", f"one of {', '.join(EXECUTORS)}")
    of_cluster = [name for name in (*OF_CLUSTERS, "profile", "print_sbatch", "detach") if own.get(name)]
    if executor == LOCAL and of_cluster:
        flag = f"--{of_cluster[0].replace('_', '-')}"
        raise UserError(f"got {flag} without --executor slurm", "both", f"--executor slurm {flag} ...")
    of_machine = [name for name in ("devices", "workers") if own.get(name)]
    if executor != LOCAL and of_machine:
        raise UserError(f"got --{of_machine[0]} with --executor {executor}", "--gpus and --max-jobs there")
    return str(executor)


def cluster_of(own: Mapping[str, Any]) -> Cluster:
    """Read the settings of jobs from options, over those of a profile. Raises UserError."""
    return settings({name: own.get(name) for name in OF_CLUSTERS if own.get(name) is not None}, own.get("profile"))
