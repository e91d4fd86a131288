"""A study as a SLURM job array: one task a shard, no service of hwsim, and a job that merges when all have ended."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from hwsim.errors import HwsimError, bad

LOOK_SECONDS = 2.0

SCRIPT = """\
#!/bin/bash
# Task I of N runs every N-th task of the study; what was answered before stays. Submit it again after a failure.
#SBATCH --job-name=hwsim-{name}
#SBATCH --output={folder}/slurm-%A_%a.log
cd {here} || exit 1
exec {hwsim} sweep {study} -o {output} --shard "$SLURM_ARRAY_TASK_ID/{shards}" \\
    --workers "${{SLURM_CPUS_PER_TASK:-1}}" --quiet
"""
MERGE = """\
#!/bin/bash
#SBATCH --job-name=hwsim-merge-{name}
#SBATCH --output={folder}/slurm-%j.log
cd {here} || exit 1
exec {hwsim} merge {study} -o {output}
"""


@dataclass(frozen=True)
class Submitted:
    """Ids of the jobs of a study: the array and the merge."""

    array: str
    merge: str


def submit(study: str, output: Path, folder: Path, shards: int, options: str = "", wait: bool = False) -> Submitted:
    """Submit a study as a job array of `shards` tasks, and its merge behind them.

    Parameters
    ----------
    study : str
        Name or file.
    output, folder : Path
        The result, and the folder of the study; both where every node sees them.
    options : str
        For sbatch: "--partition=short --time=1:00:00 --cpus-per-task=16".
    wait : bool
        Return when the merge has ended.

    Raises
    ------
    InputError
        No sbatch on this machine, or a number of shards out of range.
    HwsimError
        sbatch refused a job.
    """
    if shutil.which("sbatch") is None:
        cure = "log in to the cluster, or run `hwsim sweep STUDY --shard I/N` by hand and `hwsim merge STUDY`"
        raise bad("--executor", "slurm, but there is no sbatch", "a machine that submits to SLURM", cure)
    if not 1 <= shards <= 10**5:
        raise bad("--shards", shards, "1 to 100,000")
    folder.mkdir(parents=True, exist_ok=True)
    words = {
        "name": output.stem,
        "folder": shlex.quote(str(folder.absolute())),
        "here": shlex.quote(os.getcwd()),
        "hwsim": shlex.join([sys.executable, "-m", "hwsim"]),
        "study": shlex.quote(study),
        "output": shlex.quote(str(output.absolute())),
        "shards": shards,
    }
    given = shlex.split(options)
    (folder / "shards.sh").write_text(SCRIPT.format(**words))
    array = _sbatch([*given, f"--array=1-{shards}", str(folder / "shards.sh")])
    (folder / "merge.sh").write_text(MERGE.format(**words))
    merge = _sbatch([*_placing(given), f"--dependency=afterany:{array}", str(folder / "merge.sh")])
    while wait and _is_queued(merge):
        time.sleep(LOOK_SECONDS)
    return Submitted(array, merge)


def _placing(options: list[str]) -> list[str]:
    """Options that say where a job may run; a merge needs one core, whatever a shard needs."""
    kept = ("--partition", "-p", "--account", "-A", "--qos", "-q", "--time", "-t")
    return [option for option in options if option.partition("=")[0] in kept and "=" in option]


def _is_queued(job: str) -> bool:
    """Whether a job waits or runs (`sbatch --wait` would look only every half minute)."""
    done = subprocess.run(["squeue", "--noheader", "--jobs", job], capture_output=True, text=True, check=False)
    return bool(done.stdout.strip())


def _sbatch(arguments: list[str]) -> str:
    """Id of a submitted job."""
    done = subprocess.run(["sbatch", "--parsable", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise HwsimError(f"sbatch {shlex.join(arguments)}: {done.stderr.strip() or 'the job failed'}")
    return done.stdout.strip().partition(";")[0]
