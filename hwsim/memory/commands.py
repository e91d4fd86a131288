"""An operator's whole traffic through all channels of a device, every command: what `memory="commands"` runs.

Channels share the bytes evenly, rounded up, and work at the same time: the slowest decides. Channels with the same
requests and the same refresh do the same and are run once; of long sequential streams what the channel did before from
the same state is added (`Channel.stream`).
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwsim.describe.accelerator import Accelerator
from hwsim.errors import bad
from hwsim.memory.access import SEQUENTIAL, Access
from hwsim.memory.channel_tables import AS_DESCRIBED, Options
from hwsim.memory.law import memory_of
from hwsim.memory.law_measure import Bench
from hwsim.units import ceil_div


@dataclass(frozen=True)
class Traffic:
    """What became of a device's traffic.

    Attributes
    ----------
    ticks : int64[channels]
        When each channel was done.
    tick_ps : Fraction
    requests : int
        Of all channels together.
    added : int
        Requests of those that were added, not run one by one.
    """

    ticks: NDArray[np.int64]
    tick_ps: Fraction
    requests: int
    added: int

    @property
    def seconds(self) -> Fraction:
        """Time of the slowest channel."""
        return int(self.ticks.max()) * self.tick_ps / 10**12


def through_channels(
    accelerator: Accelerator,
    size_bytes: int,
    access: Access = SEQUENTIAL,
    *,
    options: Options = AS_DESCRIBED,
    phase: int = 0,
    seed: int = 0,
    threads: int = 2,
) -> Traffic:
    """Send so many bytes through all channels of the device's memory.

    Parameters
    ----------
    access : Access
        What each channel sees of it.
    options : Options
        Choices beside the description's.
    phase : int
        Tick of the first refresh after the description's; staggered channels spread one interval beyond it.
    seed : int
        Which of the streams with this pattern; where places are drawn, each channel draws its own.
    threads : int
        Channels run at a time.

    Raises
    ------
    InputError
        A device without memory or without its commands, an unknown option, a pattern or a size it cannot serve.
    """
    hbm = memory_of(accelerator)
    memory = hbm.memory
    if memory.commands is None:
        raise bad(memory.id, "a memory without `commands`", "one whose commands are described")
    bench = Bench(memory, options)
    channels = hbm.stacks * memory.commands.channels
    count = ceil_div(size_bytes, bench.tables.access * channels)
    if count * bench.tables.access > bench.tables.capacity:
        raise bad("size_bytes", size_bytes, f"at most {bench.tables.capacity * channels}, the capacity of all channels")
    staggered = memory.commands.refresh.alignment == "staggered"
    phases = [phase + (bench.interval * c // channels if staggered else 0) for c in range(channels)]
    seeds = [seed if access == SEQUENTIAL else seed * channels + c for c in range(channels)]
    keys = list(zip(phases, seeds, strict=True))
    alike = list(dict.fromkeys(keys))
    with ThreadPoolExecutor(threads) as pool:
        done = dict(zip(alike, pool.map(lambda key: _one_channel(bench, access, count, *key), alike), strict=True))
    ticks = np.array([done[key][0] for key in keys], np.int64)
    return Traffic(ticks, bench.tables.tick_ps, count * channels, sum(done[key][1] for key in keys))


def _one_channel(bench: Bench, access: Access, count: int, phase: int, seed: int) -> tuple[int, int]:
    """Tick at which a channel is done, and how many of its requests were added."""
    if not count:
        return 0, 0
    if access == SEQUENTIAL:
        return bench.read_all(count, phase)
    stream = bench.stream(access, count * bench.tables.access, seed)
    return int(bench.run(stream, phase=bench.start + phase)[0].max()), 0
