"""A real SLURM on this machine: Debian's packages unpacked into a folder, without services, accounts or root's files."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PACKAGES = (
    "slurm-client", "slurm-wlm-basic-plugins", "slurmctld", "slurmd", "libhwloc15", "libevent-core-2.1-7", "libmunge2",
)  # fmt: skip
CONFIGURATION = """
ClusterName=trial
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/none
CredType=cred/none
SlurmctldPort={port}
SlurmdPort={other}
CommunicationParameters=NoInAddrAny
PluginDir={libraries}/slurm-wlm
StateSaveLocation={base}/state
SlurmdSpoolDir={base}/spool
SlurmctldPidFile={base}/ctld.pid
SlurmdPidFile={base}/slurmd.pid
SlurmctldLogFile={base}/ctld.log
SlurmdLogFile={base}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SchedulerType=sched/backfill
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
MpiDefault=none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} RealMemory=1000 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


class Missing(Exception):
    """Says why there is no SLURM here."""


def unpacked(base: Path) -> Path:
    """Download and unpack the packages below a folder.

    Raises:
        Missing: They cannot be had, or this user may not run them.
    """
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        raise Missing("no apt-get and dpkg, which unpack SLURM")
    if os.getuid() != 0:
        raise Missing("SLURM without munge runs as root only")
    try:
        subprocess.run(["apt-get", "download", *PACKAGES], cwd=base, check=True, capture_output=True, timeout=120)
    except (subprocess.SubprocessError, OSError) as error:
        raise Missing(f"the packages of SLURM cannot be downloaded: {error}") from error
    for package in base.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, base / "root"], check=True)
    return base / "root"


def free_ports() -> tuple[int, int]:
    """Return two ports that nobody listens on."""
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return one.getsockname()[1], other.getsockname()[1]


@contextmanager
def running(base: Path) -> Iterator[dict[str, str]]:
    """Run a controller and a node on this machine, and end them after the block.

    Args:
        base: An empty folder.

    Yields:
        Variables with which sbatch, squeue and scancel find them.

    Raises:
        Missing: SLURM cannot run here.
    """
    root = unpacked(base)
    libraries, (port, other) = root / "usr" / "lib" / "x86_64-linux-gnu", free_ports()
    for name in ("state", "spool"):
        (base / name).mkdir()
    text = CONFIGURATION.format(
        host=socket.gethostname(), base=base, libraries=libraries, port=port, other=other, cores=os.cpu_count()
    )
    (base / "slurm.conf").write_text(text)
    environment = os.environ | {
        "SLURM_CONF": str(base / "slurm.conf"), "LD_LIBRARY_PATH": f"{libraries}:{libraries / 'slurm-wlm'}",
        "PATH": f"{root / 'usr' / 'bin'}:{os.environ['PATH']}",
    }  # fmt: skip
    programs = root / "usr" / "sbin"
    node = [programs / "slurmd-wlm", "-D", "-d", programs / "slurmstepd-wlm"]
    with (base / "out").open("w") as out:
        daemons = [
            subprocess.Popen(command, env=environment, stdout=out, stderr=out)
            for command in ([programs / "slurmctld-wlm", "-D"], node)
        ]
        try:
            stop = time.monotonic() + 60
            while "idle" not in said(environment, "sinfo", "--noheader", "--format=%T"):
                if time.monotonic() > stop or any(daemon.poll() is not None for daemon in daemons):
                    raise Missing(f"SLURM does not start here: {(base / 'ctld.log').read_text()[-300:]}")
                time.sleep(0.5)
            yield environment
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(timeout=20)


def said(environment: dict[str, str], *command: str) -> str:
    """Return what a command of SLURM prints."""
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False).stdout
