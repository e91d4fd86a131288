"""Download public request traces: pinned by sha256, resumed where they stopped, given their name when whole."""

from __future__ import annotations

import hashlib
import http.client
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from hwsim import __version__
from hwsim.errors import Fault, HwsimError, bad

PIECE = 1 << 16
TIMEOUT_S = 30
HTTP_PARTIAL, HTTP_RANGE_NOT_SATISFIABLE = 206, 416


@dataclass(frozen=True)
class PublicTrace:
    """A trace someone else publishes: where, under which licence, and the hash of its bytes."""

    url: str
    sha256: str
    license: str
    about: str

    @property
    def file(self) -> str:
        """Name of the file."""
        return self.url.rsplit("/", 1)[-1]


_AZURE = "https://raw.githubusercontent.com/Azure/AzurePublicDataset/master/data/"
_MOONCAKE = "https://raw.githubusercontent.com/kvcache-ai/Mooncake/main/FAST25-release/traces/"

TRACES: dict[str, PublicTrace] = {
    "azure-conversation": PublicTrace(
        _AZURE + "AzureLLMInferenceTrace_conv.csv",
        "2f1e5b666d4e3055fdbba98598ce2ec307767b9064e03e2fa46676dbcc7d0bf8",
        "CC-BY-4.0",
        "19,366 chat requests of an hour in November 2023 (Splitwise, ISCA 2024)",
    ),
    "azure-code": PublicTrace(
        _AZURE + "AzureLLMInferenceTrace_code.csv",
        "54e9a6d2a4bd06ba1e060304b900abbc74cbea53de96506e60fe5bb4f2277fb6",
        "CC-BY-4.0",
        "8,819 code completions of the same hour",
    ),
    "mooncake-conversation": PublicTrace(
        _MOONCAKE + "conversation_trace.jsonl",
        "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df",
        "Apache-2.0",
        "12,031 chat requests of an hour with prefix ids (Mooncake, FAST 2025)",
    ),
    "mooncake-toolagent": PublicTrace(
        _MOONCAKE + "toolagent_trace.jsonl",
        "48a2db1a13d3bc05e6330140c64f604ba366df20d3c9e128b5c35a01c1fa5f71",
        "Apache-2.0",
        "23,608 tool and agent requests of an hour with prefix ids",
    ),
}


class FetchError(HwsimError):
    """A download that did not succeed; what arrived is kept for the next try unless it is wrong."""


def find(name: str) -> PublicTrace:
    """A public trace by name."""
    if name not in TRACES:
        raise bad(name, "no known trace", f"one of {', '.join(TRACES)}")
    return TRACES[name]


def fetch(trace: PublicTrace, folder: Path) -> Path:
    """Download a trace into a folder.

    Parameters
    ----------
    trace : PublicTrace
    folder : Path
        An existing directory. A `.part` file of an earlier try is continued.

    Returns
    -------
    Path
        The file; a file of that name with the right hash is not downloaded again.

    Raises
    ------
    InputError
        The folder does not exist, or a file of that name holds something else.
    FetchError
        No connection, a refusal of the server, an incomplete transfer, other bytes than the pinned ones.
    """
    if not folder.is_dir():
        raise bad(str(folder), "no such directory", "an existing directory", "create it first")
    target = folder / trace.file
    if target.exists():
        if _sha256(target) == trace.sha256:
            return target
        raise bad(str(target), "a file with other content", "no file, or the trace itself", "move it away first")
    part = target.with_name(target.name + ".part")
    _download(trace, part, target)
    found = _sha256(part)
    if found != trace.sha256:
        part.unlink()
        cure = "the publisher changed the file or the transfer was damaged; nothing was kept, try again"
        raise _failed(trace.url, f"bytes with sha256 {found}", trace.sha256, cure)
    os.replace(part, target)
    return target


def _download(trace: PublicTrace, part: Path, target: Path) -> None:
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": f"hwsim/{__version__}"} | ({"Range": f"bytes={done}-"} if done else {})
    try:
        with urlopen(Request(trace.url, headers=headers), timeout=TIMEOUT_S) as answer:
            if answer.status != HTTP_PARTIAL:  # a server without ranges sends all of it
                done = 0
            _receive(answer, part, done, trace)
    except HTTPError as error:
        if error.code == HTTP_RANGE_NOT_SATISFIABLE and done:  # nothing is missing: the hash decides
            return
        got = f"HTTP {error.code} ({error.reason})"
        raise _failed(trace.url, got, "the trace", "see whether the publisher moved it") from None
    except (URLError, TimeoutError, ConnectionError, http.client.HTTPException) as error:
        reason = str(getattr(error, "reason", error)) or type(error).__name__
        cure = f"check the network and run it again, or copy the file to {target} from elsewhere"
        raise _failed(trace.url, f"no connection ({reason})", "the trace", cure) from None


def _receive(answer: http.client.HTTPResponse, part: Path, done: int, trace: PublicTrace) -> None:
    from tqdm import tqdm

    left = int(answer.headers["Content-Length"]) if answer.headers["Content-Length"] else None
    total = None if left is None else done + left
    quiet = not sys.stderr.isatty()
    with (
        part.open("r+b" if done else "wb") as file,
        tqdm(total=total, initial=done, unit="B", unit_scale=True, desc=trace.file, disable=quiet) as progress,
    ):
        file.seek(done)
        while piece := answer.read(PIECE):
            file.write(piece)
            progress.update(len(piece))
            done += len(piece)
    if total is not None and done < total:
        raise _failed(trace.url, f"{done} bytes", f"{total}", "run it again: it goes on where it stopped")


def _failed(where: str, got: str, expected: str, cure: str) -> FetchError:
    return FetchError(str(Fault(where, got, expected, cure)))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
