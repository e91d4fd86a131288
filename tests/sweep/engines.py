"""Engines of clusters that the tests start and stop: a node of SLURM, mpiexec of this environment."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SLURM_CONF = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmctldPort={port}
SlurmdPort={node_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
MailProg=/bin/true
MpiDefault=none
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} State=UNKNOWN
PartitionName=all Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def command(*arguments: object) -> list[str]:
    """The command line of hwsim under this Python."""
    return [sys.executable, "-m", "hwsim", *map(str, arguments)]


ROOT = Path(__file__).resolve().parents[2]
if (ROOT / "hwsim" / "__init__.py").is_file():  # of the tree, not of an installed package: for the processes they start
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def run(arguments: list[str], **options: object) -> None:
    """Run a command; its whole output is the message where it fails."""
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=300, **options)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"


def mpiexec() -> str:
    """mpiexec of this environment or machine; skips where mpi4py cannot run with it."""
    pytest.importorskip("mpi4py")
    found = shutil.which("mpiexec", path=f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip("no mpiexec: install MPICH or Open MPI (pip install mpich)")
    return found


@contextmanager
def slurm(folder: Path) -> Iterator[None]:
    """A controller and one node of SLURM on this machine, with a munge of their own."""
    missing = [name for name in ("munged", "slurmctld", "slurmd", "sbatch") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)}: on Debian apt-get install slurm-wlm munge")
    if os.geteuid():
        pytest.skip("slurmd starts jobs as root only")
    for name in ("state", "spool"):
        (folder / name).mkdir()
    host = socket.gethostname().partition(".")[0]
    ports = {"port": _free_port(), "node_port": _free_port()}
    conf = folder / "slurm.conf"
    conf.write_text(SLURM_CONF.format(host=host, folder=folder, cpus=os.cpu_count(), **ports))
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log",
             "seed-file": "munge.seed"}  # fmt: skip
    try:
        run(["munged", "--force", *(f"--{option}={folder / name}" for option, name in files.items())])
        run(["slurmctld", "-f", str(conf)])
        run(["slurmd", "-f", str(conf)])
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("SLURM_CONF", str(conf))
            yield
    finally:
        for name in ("slurmd.pid", "slurmctld.pid", "munged.pid"):
            _stop(folder / name)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _stop(place: Path) -> None:
    """End a daemon that this test started, by the pid it wrote."""
    if not place.is_file():
        return
    pid = int(place.read_text())
    os.kill(pid, signal.SIGTERM)
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists():
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
