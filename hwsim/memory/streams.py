"""Long streams through channels: requests at equal distances, what the channel did before is added."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from types import NoneType

from hwsim.describe.memory import Memory
from hwsim.errors import bad, check_type
from hwsim.memory.channel import memory_of, new_channel
from hwsim.memory.channel_tables import AS_DESCRIBED, ChannelTables, Options, channel_tables
from hwsim.units import ceil_div


@dataclass(frozen=True)
class Streamed:
    """What a stream did.

    Attributes
    ----------
    last : int
        Tick of the last departure.
    added : int
        Requests that were added, not run one by one; the ticks are the same.
    counts : dict
        Commands by name, row hits, ticks of open rows.
    """

    last: int
    added: int
    counts: dict[str, int]


def stream(
    memory: str | Memory,
    count: int,
    *,
    base: int = 0,
    stride: int | None = None,
    is_write: bool = False,
    interval: int = 0,
    skip: bool = True,
    options: Options = AS_DESCRIBED,
    sets: tuple[str, ...] = (),
) -> Streamed:
    """Run `count` requests at equal distances through one channel.

    Parameters
    ----------
    memory : str or Memory
    count : int
        Requests.
    base, stride : int
        Address of the first request, and bytes from each to the next (those of a column command if not given).
    is_write : bool
    interval : int
        Ticks between the earliest ticks of two requests.
    skip : bool
        Whether to add what the channel did before from the same state; False runs every request.
    options : Options
    sets : tuple of str
        Overrides of the description.

    Raises
    ------
    InputError
        Unknown memory or option; a stream that is unaligned or leaves the channel.
    """
    return stream_tables(
        channel_tables(memory_of(memory, sets), options), count, base, stride, is_write, interval, skip
    )


def stream_tables(
    tables: ChannelTables,
    count: int,
    base: int = 0,
    stride: int | None = None,
    is_write: bool = False,
    interval: int = 0,
    skip: bool = True,
) -> Streamed:
    """`stream` on tables that are made already."""
    for name, value in (("count", count), ("base", base), ("stride", stride), ("interval", interval)):
        check_type(name, value, (int, NoneType), "a whole number")
    step = tables.access if stride is None else stride
    if step < 1 or step % tables.access or base < 0 or base % tables.access:
        raise bad("stream", f"base {base}, stride {step}", f"multiples of {tables.access}, a stride of at least that")
    if count < 1 or interval < 0:
        raise bad("stream", f"{count} requests every {interval} ticks", "at least one request, no negative ticks")
    if base + (count - 1) * step >= tables.capacity:
        raise bad("stream", f"a last address {base + (count - 1) * step:#x}", f"one below {tables.capacity:#x}")
    channel = new_channel(tables)
    period = tables.address_map.row_period() if skip else 0
    last, added = channel.stream(base, step, count, is_write, 0, interval, period)
    return Streamed(last, added, channel.counts)


def stream_stack(
    memory: str | Memory,
    sizes: int | Sequence[int],
    *,
    is_write: bool = False,
    threads: int = 1,
    options: Options = AS_DESCRIBED,
    sets: tuple[str, ...] = (),
) -> list[Streamed]:
    """A sequential stream through every channel of a stack at once.

    Parameters
    ----------
    sizes : int or sequence of int
        Bytes of the whole stream, spread evenly, or bytes for each channel.
    threads : int
        Channels that run at once; the result does not depend on it.

    Returns
    -------
    list of Streamed
        By channel. Channels that do the same at the same phase of their refresh are run once.
    """
    described = memory_of(memory, sets)
    tables = channel_tables(described, options)
    assert described.commands is not None
    channels, interval = described.commands.channels, int(tables.settings["interval"][0])
    accesses = [ceil_div(size, tables.access) for size in _spread(sizes, channels)]
    staggered = described.commands.refresh.alignment == "staggered"
    phases = [options.phase + (i * interval // channels if staggered else 0) for i in range(channels)]
    different = sorted(set(zip(accesses, phases)))

    def one(case: tuple[int, int]) -> Streamed:
        found = channel_tables(described, replace(options, phase=case[1]))
        return stream_tables(found, case[0], is_write=is_write)

    with ThreadPoolExecutor(max(1, threads)) as pool:
        done = dict(zip(different, pool.map(one, different)))
    return [done[case] for case in zip(accesses, phases)]


def _spread(sizes: int | Sequence[int], channels: int) -> list[int]:
    """Bytes of each channel."""
    if isinstance(sizes, int):
        return [ceil_div(sizes, channels)] * channels
    if len(sizes) != channels:
        raise bad("sizes", f"{len(sizes)} sizes", f"{channels}, one a channel")
    return list(sizes)
