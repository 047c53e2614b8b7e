"""A real Slurm of one node in a temporary folder: Debian packages, as root, without systemd, stopped by process id."""

from __future__ import annotations

import os
import platform
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "setpriv")
START_SECONDS = 30.0
END_SECONDS = 30.0

CONF = """ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
SlurmctldPort={controller}
SlurmdPort={node}
SrunPortRange={first}-{last}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
ReturnToService=2
MinJobAge=300
KillWait=20
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=cpu Nodes={host} Default=YES MaxTime=INFINITE OverSubscribe=YES:4 State=UP
"""


def missing() -> list[str]:
    """List what this machine lacks to start one."""
    found = [name for name in NEEDED if _which(name) is None]
    return found if os.geteuid() == 0 else [*found, "root"]


@dataclass
class Cluster:
    """A Slurm of this machine, known to every command by ``SLURM_CONF``."""

    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """Variables by which commands find it."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"}

    def start(self) -> None:
        """Start the daemons and wait until the node takes jobs."""
        for name in ("state", "spool", "munge"):
            (self.folder / name).mkdir(parents=True)
        self._munge()
        first = _free_port(20)
        (self.folder / "slurm.conf").write_text(
            CONF.format(
                folder=self.folder,
                host=platform.node().partition(".")[0],
                controller=first,
                node=first + 1,
                first=first + 2,
                last=first + 19,
                cpus=len(os.sched_getaffinity(0)),  # a node that finds fewer than are configured takes no jobs
            )
        )
        self.start_controller()
        self._daemon("slurmd", "-D")
        self._until("idle", lambda: "idle" in self.run("sinfo", "-h", "-o", "%T", check=False))

    def start_controller(self) -> None:
        """Start the controller, which goes on from what it saved."""
        self._daemon("slurmctld", "-D")

    def stop_controller(self) -> None:
        """End the controller; jobs go on."""
        self._end("slurmctld")

    def stop(self) -> None:
        """End everything, jobs first: a step that is left when its daemons are gone asks for them for minutes."""
        try:
            self.run("scancel", "--user=root", check=False)
            deadline = time.monotonic() + END_SECONDS
            while self.run("squeue", "-h", check=False).strip() and time.monotonic() < deadline:
                time.sleep(0.2)
        except subprocess.TimeoutExpired:
            pass  # of a controller that a test stopped
        finally:
            for name in ("slurmd", "slurmctld", "munged"):
                self._end(name)

    def run(self, command: str, *words: str, check: bool = True) -> str:
        """Run a command of Slurm; returns what it prints."""
        found = subprocess.run(
            [_which(command) or command, *words],
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or found.returncode == 0, found.stderr
        return found.stdout

    def jobs(self) -> dict[str, str]:
        """States of all jobs that it remembers, by id."""
        lines = self.run("squeue", "-h", "--states=all", "-r", "-o", "%i %T").split("\n")
        return dict(line.split() for line in lines if line.strip())

    def said(self) -> str:
        """Last lines of the daemons' logs, for a test that fails."""
        return "\n".join(
            f"--- {log.name}\n" + "\n".join(log.read_text(errors="replace").splitlines()[-25:])
            for log in self.folder.glob("*.log")
        )

    def _munge(self) -> None:
        """Start munged, which insists on a user of its own where it was installed with one, and on safe folders."""
        key = self.folder / "munge" / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o600)
        self._daemon(
            "munged",
            "--foreground",
            "--force",
            f"--key-file={key}",
            f"--socket={self.folder}/munge.socket",
            f"--pid-file={self.folder}/munged.pid",
            f"--log-file={self.folder}/munged.log",
            f"--seed-file={self.folder}/munge.seed",
        )
        self._until("munge.socket", (self.folder / "munge.socket").exists)

    def _daemon(self, name: str, *words: str, more: Mapping[str, str] | None = None) -> None:
        with (self.folder / f"{name}.out.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                # It ends with whoever started it, however that ends.
                ["setpriv", "--pdeathsig", "TERM", _which(name) or name, *words],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, **self.environment, **(more or {})},
                start_new_session=True,
            )

    def _end(self, name: str) -> None:
        process = self.processes.pop(name, None)
        if process is None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(15)

    def _until(self, what: str, there: object) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if callable(there) and there():
                return
            time.sleep(0.1)
        said = self.said()
        self.stop()
        raise RuntimeError(f"no {what} within {START_SECONDS:.0f} s\n{said}")


def _which(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def _free_port(count: int) -> int:
    """First of so many ports in a row that nobody listens at."""
    for first in range(26_000 + os.getpid() % 2000, 32_000, count):
        with socket.socket() as one, socket.socket() as other:
            try:
                one.bind(("127.0.0.1", first))
                other.bind(("127.0.0.1", first + 1))
            except OSError:
                continue
            return first
    raise RuntimeError("no free ports")
