"""Results kept on disk, found again by the content of everything that went into them.

Design. A *table* holds the answers to one kind of question (one cost surface, one operator on one machine): rows of
int64, `question` columns followed by `sample` columns. Its name is a hash of its key: all inputs and the code of the
cores and mappers, so a result computed by other code is never found, and nothing is ever invalidated.

A process appends its new rows to a shard of its own and replaces that shard atomically (temporary file, rename):
readers see the old file or the new one, two processes never write the same file, and no lock exists. A row found in
two shards is equal in both, because a sample is a function of its key and question. A question without an answer makes
a process look for shards that others wrote meanwhile. Shards of earlier processes are merged when there are many. A
shard that fails its checksum is set aside (`.bad`) and its rows are simulated again.

A shard is sorted by a 64-bit hash of the question, mapped into memory and searched where it lies: a million rows are
ready after one pass of the checksum. Rejected: sqlite (locks, 10 times slower in bulk), HDF5 (one global lock),
one file a row (10^5 files), pickles (unsafe to read, version-bound).
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import shutil
import struct
import time
import uuid
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hwsim.errors import bad

Ints = npt.NDArray[np.int64]

FORMAT = "tables-1"
MAGIC = b"hwsimemo"
HEADER = struct.Struct("<8sIIIIQ")  # magic, question, sample, key bytes, crc32 of what follows the header, rows
SHARD_BYTES = 8 << 20  # a process starts another shard above this size, so that a flush stays cheap
MERGE_ABOVE = 8  # shards of one table
LOOKING = 20  # looks at what others write take at most one part in so many of the time
STALE_SECONDS = 3600  # a temporary file this old belongs to a killed process
DEFAULT_CAP_BYTES = 2 << 30
CODE_ROOMS = ("units.py", "_core", "describe", "memory", "operators", "serving")
CODE_SUFFIXES = (".so", ".pyd", ".py")

_warned: set[str] = set()  # folders already complained about
_written: list[int] = []  # bytes of this process's flushes since it last looked at the size of the cache


def folder() -> Path:
    """The cache folder: HWSIM_CACHE, or ~/.cache/hwsim."""
    return _folder(os.environ.get("HWSIM_CACHE", ""))


@functools.cache
def _folder(named: str) -> Path:
    return Path(named or Path.home() / ".cache" / "hwsim")


def cap_bytes() -> int:
    """The size above which the tables not used for longest are dropped: HWSIM_CACHE_BYTES, or 2 GiB."""
    text = os.environ.get("HWSIM_CACHE_BYTES")
    if not text:
        return DEFAULT_CAP_BYTES
    if not text.isdecimal():
        raise bad("HWSIM_CACHE_BYTES", repr(text), "a whole number of bytes, e.g. 2147483648")
    return int(text)


@functools.cache
def code_version(*rooms: str) -> str:
    """Hash of the code that samples depend on: rounding, cores, descriptions, laws, mappers and what serving asks.

    Parameters
    ----------
    *rooms : str
        Further folders of hwsim, for what is kept of storeys above.
    """
    digest = hashlib.blake2b(digest_size=16)
    root = Path(__file__).resolve().parent
    for room in CODE_ROOMS + rooms:
        for path in sorted((root / room).rglob("*")) or [root / room]:
            if path.suffix in CODE_SUFFIXES:
                digest.update(str(path.relative_to(root)).encode())
                digest.update(hashlib.blake2b(path.read_bytes()).digest())
    return digest.hexdigest()


class Table:
    """Samples of one key, in memory and on disk.

    Parameters
    ----------
    key : mapping
        All inputs that the samples depend on besides the question: exact values only (str, int, bool, None, Fraction,
        numpy integers and arrays of them, and lists, tuples or mappings of these). Code versions are added here.
    question, sample : int
        Number of int64 columns of a question and of its sample.
    rooms : sequence of str
        Whose code the samples depend on, beside that of all (`code_version`).
    """

    def __init__(self, key: Mapping[str, object], question: int, sample: int, rooms: Sequence[str] = ()) -> None:
        self.question, self.sample = question, sample
        self._key = _key_text({"key": key, "code": code_version(*rooms), "question": question, "sample": sample})
        self.name = hashlib.blake2b(self._key, digest_size=16).hexdigest()
        self._home = folder() / FORMAT / self.name
        self._shards: dict[Path, _Run] = {}  # those of others, and full ones of its own
        self._token = ""
        self._looked, self._wait_until = -1, 0.0
        self._look()
        if len(self._shards) > MERGE_ABOVE:
            self._merge()
        self._new: list[_Run] = []
        self._dirty = False

    def __len__(self) -> int:
        """Rows at hand, a question that two processes answered counted twice."""
        return sum(len(run.digest) for run in self._runs)

    @property
    def _runs(self) -> list[_Run]:
        return [*self._shards.values(), *self._new]

    def get(self, questions: Ints) -> tuple[npt.NDArray[np.bool_], Ints]:
        """Look questions up.

        Parameters
        ----------
        questions : int64[N, question]

        Returns
        -------
        found : bool[N]
        samples : int64[N, sample]
            Zero where not found.
        """
        questions = _rows(questions, self.question)
        digest = _digest(questions)
        found = np.zeros(len(questions), dtype=np.bool_)
        samples = np.zeros((len(questions), self.sample), dtype=np.int64)
        for runs in (lambda: self._runs, self._look):
            for run in runs() if not found.all() else ():
                run.search(digest, questions, found, samples)
        return found, samples

    def rows(self) -> tuple[Ints, Ints]:
        """All questions at hand and their samples: int64[N, question], int64[N, sample]; one may appear twice."""
        runs = self._runs
        questions = [run.questions for run in runs] or [np.zeros((0, self.question), np.int64)]
        samples = [run.samples for run in runs] or [np.zeros((0, self.sample), np.int64)]
        return np.concatenate(questions), np.concatenate(samples)

    def put(self, questions: Ints, samples: Ints) -> None:
        """Add rows: int64[N, question] and int64[N, sample]; on disk after `flush`."""
        questions, samples = _rows(questions, self.question), _rows(samples, self.sample)
        if len(questions) != len(samples):
            raise ValueError(f"{len(questions)} questions with {len(samples)} samples")
        if len(questions):
            self._new.append(_Run.of(questions, samples))
            self._dirty = True
            if len(self._new) > MERGE_ABOVE:
                self._new = [_Run.merged(self._new)]

    def flush(self) -> None:
        """Write what was put into this process's shard; a folder that cannot be written costs one warning."""
        if not self._dirty:
            return
        self._new = [_Run.merged(self._new)]
        if not self._token.startswith(f"{os.getpid()}-"):  # a forked child writes a shard of its own
            self._token = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"
        try:
            self._home.mkdir(parents=True, exist_ok=True)
            written = _write(self._home / f"{self._token}.shard", self._key, self._new[0])
            _trim(folder() / FORMAT, written)
        except OSError as error:
            _warn_once(str(folder()), error)
            return
        self._dirty = False
        if written > SHARD_BYTES:
            self._shards[self._home / f"{self._token}.shard"] = self._new[0]
            self._new, self._token = [], ""

    def _look(self) -> list[_Run]:
        """Take what other processes wrote since the last look; returns it.

        A look costs one `stat` where nothing was written, and takes at most a twentieth of the time else: what it would
        have found is simulated again, with the same result.
        """
        started = time.monotonic()
        try:
            written = self._home.stat().st_mtime_ns
        except OSError:
            return []
        if written == self._looked or started < self._wait_until:
            return []
        self._looked = written
        fresh = {path: run for path in sorted(self._home.glob("*.shard")) if (run := self._fresh(path)) is not None}
        self._shards |= fresh
        self._wait_until = started + LOOKING * (time.monotonic() - started)
        return list(fresh.values())

    def _fresh(self, path: Path) -> _Run | None:
        """A shard that is another process's and has more rows than when it was last read; a shard only grows."""
        if path.stem == self._token:
            return None
        known = self._shards.get(path)
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            return None
        row = 8 * (1 + self.question + self.sample)
        if known is not None and size == HEADER.size + len(self._key) + row * len(known.digest):
            return None
        return self._read(path)

    def _read(self, path: Path) -> _Run | None:
        try:
            run = _map(path, self._key, self.question, self.sample)
        except FileNotFoundError:  # merged away by another process just now; its rows are simulated again
            return None
        except (OSError, ValueError) as error:
            _set_aside(path, error)
            return None
        _touch(path)
        return run

    def _merge(self) -> None:
        """One shard in place of many: the new one is whole on disk before the old ones go, so nothing is ever lost."""
        whole = _Run.merged(list(self._shards.values()))
        merged = self._home / f"{os.getpid()}-{uuid.uuid4().hex[:12]}.shard"
        try:
            _write(merged, self._key, whole)
            for path in self._shards:
                path.unlink(missing_ok=True)
        except OSError as error:
            _warn_once(str(folder()), error)
        self._shards = {merged: whole}


@dataclass(frozen=True)
class _Run:
    """Rows sorted by the hash of their question; equal questions appear once."""

    digest: Ints  # [N] sorted
    questions: Ints  # [N, question]
    samples: Ints  # [N, sample]

    @classmethod
    def of(cls, questions: Ints, samples: Ints) -> _Run:
        digest = _digest(questions)
        order = np.argsort(digest, kind="stable")
        digest, questions, samples = digest[order], questions[order], samples[order]
        again = np.zeros(len(digest), dtype=np.bool_)
        again[1:] = (digest[1:] == digest[:-1]) & (questions[1:] == questions[:-1]).all(axis=1)
        return cls(digest[~again], questions[~again], samples[~again])

    @classmethod
    def merged(cls, runs: list[_Run]) -> _Run:
        if len(runs) == 1:
            return runs[0]
        return cls.of(np.concatenate([run.questions for run in runs]), np.concatenate([run.samples for run in runs]))

    def search(self, digest: Ints, questions: Ints, found: npt.NDArray[np.bool_], samples: Ints) -> None:
        """Fill `found` and `samples` where this run knows the question."""
        if not len(self.digest):
            return
        place = np.minimum(np.searchsorted(self.digest, digest), len(self.digest) - 1)
        hit = ~found & (self.digest[place] == digest)
        # Two questions of one hash: the second one is simulated again each time, never answered wrongly.
        hit[hit] = (self.questions[place[hit]] == questions[hit]).all(axis=1)
        samples[hit] = self.samples[place[hit]]
        found |= hit


def _rows(values: Ints, columns: int) -> Ints:
    rows = np.ascontiguousarray(values, dtype=np.int64)
    if rows.ndim != 2 or rows.shape[1] != columns:
        raise ValueError(f"rows of shape {rows.shape}, expected (N, {columns})")
    return rows


def _digest(questions: Ints) -> Ints:
    """A 64-bit hash a row (the finaliser of splitmix64, column by column)."""
    state = np.full(len(questions), 0x9E3779B97F4A7C15, dtype=np.uint64)
    for column in questions.T:
        state ^= np.ascontiguousarray(column).view(np.uint64)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            state ^= state >> np.uint64(shift)
            state *= np.uint64(factor)
        state ^= state >> np.uint64(31)
    return state.view(np.int64)


def _key_text(key: object) -> bytes:
    """Canonical text of a key, padded so that what follows it in a shard stays aligned."""
    text = json.dumps(_exact(key), sort_keys=True, separators=(",", ":")).encode()
    return text + b" " * (-(HEADER.size + len(text)) % 8)


def _exact(value: object) -> object:
    """The value in JSON's types; a float is refused, since it is rarely the number that was meant."""
    if value is None or isinstance(value, str | int):
        return value
    if isinstance(value, Fraction):
        return f"{value.numerator}/{value.denominator}"
    if isinstance(value, np.integer):
        return int(value)
    if isinstance(value, np.ndarray) and value.dtype.kind in "iub":
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _exact(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(item) for item in value]
    raise TypeError(f"{type(value).__name__} in the key of a memo table: only exact values are hashed")


def _write(path: Path, key: bytes, run: _Run) -> int:
    """Write a shard beside its place and rename it; returns its size in bytes."""
    parts = [key, run.digest.tobytes(), run.questions.tobytes(), run.samples.tobytes()]
    check = 0
    for part in parts:
        check = zlib.crc32(part, check)
    shape = (run.questions.shape[1], run.samples.shape[1])
    temporary = path.with_suffix(".part")
    with temporary.open("wb") as file:
        file.write(HEADER.pack(MAGIC, *shape, len(key), check, len(run.digest)))
        file.writelines(parts)
    os.replace(temporary, path)
    return HEADER.size + sum(len(part) for part in parts)


def _map(path: Path, key: bytes, question: int, sample: int) -> _Run:
    """Map a shard into memory and check it; ValueError says what is wrong with it."""
    if path.stat().st_size < HEADER.size:
        raise ValueError("shorter than its header")
    data = np.memmap(path, dtype=np.uint8, mode="r")
    magic, columns_q, columns_s, key_bytes, check, rows = HEADER.unpack(data[: HEADER.size].tobytes())
    if (magic, columns_q, columns_s, key_bytes) != (MAGIC, question, sample, len(key)):
        raise ValueError("not a shard of this table")
    body = data[HEADER.size :]
    if len(body) != len(key) + rows * 8 * (1 + question + sample):
        raise ValueError("cut short")
    if zlib.crc32(body.data) != check or body[: len(key)].tobytes() != key:
        raise ValueError("checksum differs")
    numbers = np.asarray(body[len(key) :]).view(np.int64)
    digest, questions, samples = np.split(numbers, [rows, rows * (1 + question)])
    return _Run(digest, questions.reshape(rows, question), samples.reshape(rows, sample))


def _set_aside(path: Path, error: Exception) -> None:
    warnings.warn(f"cache shard {path} set aside ({error}); its results are simulated again", stacklevel=2)
    try:
        path.replace(path.with_suffix(".bad"))
    except OSError as failure:
        _warn_once(str(path.parent), failure)


def _touch(path: Path) -> None:
    """Remember that the table was used; a read-only cache does not need to know."""
    try:
        os.utime(path)
    except OSError:
        return


def _warn_once(place: str, error: OSError) -> None:
    if place not in _warned:
        _warned.add(place)
        warnings.warn(f"cache folder {place} cannot be written ({error}); results are not kept", stacklevel=2)


def _files(tables: Path) -> Iterator[tuple[Path, os.stat_result]]:
    for path in tables.glob("*/*"):
        if path.suffix in (".shard", ".part", ".bad"):
            try:
                yield path, path.stat()
            except FileNotFoundError:  # another process was quicker
                continue


def _trim(tables: Path, written: int) -> None:
    """Drop what was not used for longest from a cache above its cap; looks once, then whenever a 16th was written."""
    cap = cap_bytes()
    _written.append(written)
    if len(_written) > 1 and sum(_written) < cap // 16:
        return
    _written[:] = [0]
    files = sorted(_files(tables), key=lambda item: (item[1].st_mtime_ns, item[0]))
    size = sum(stat.st_size for _, stat in files)
    now = time.time()
    for path, stat in files:
        stale = path.suffix != ".shard" and now - stat.st_mtime > STALE_SECONDS
        if stale or (size > cap and path.suffix == ".shard"):
            path.unlink(missing_ok=True)
            size -= stat.st_size


@dataclass(frozen=True)
class Usage:
    """What lies in the cache folder."""

    folder: Path
    tables: int
    rows: int
    size_bytes: int
    set_aside: int
    cap_bytes: int


def usage() -> Usage:
    """Count the tables, rows and bytes of the cache."""
    files = list(_files(folder() / FORMAT))
    shards = [path for path, _ in files if path.suffix == ".shard"]
    return Usage(
        folder=folder(),
        tables=len({path.parent for path in shards}),
        rows=sum(_row_count(path) for path in shards),
        size_bytes=sum(stat.st_size for _, stat in files),
        set_aside=sum(path.suffix == ".bad" for path, _ in files),
        cap_bytes=cap_bytes(),
    )


def _row_count(path: Path) -> int:
    with path.open("rb") as file:
        head = file.read(HEADER.size)
    return HEADER.unpack(head)[-1] if len(head) == HEADER.size else 0


def clear() -> Usage:
    """Delete every table; returns what was there. Nothing else in the folder is touched."""
    before = usage()
    for tables in folder().glob("tables-*"):
        shutil.rmtree(tables, ignore_errors=True)
    return before
