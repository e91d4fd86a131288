"""ServiceLaw: what a tier or a link hands up to the operators: how long a stream of bytes takes.

    time(bytes) = latency + bytes / rate        (phase-averaged: refresh is inside the rate)

Programs ask once per operator and tier, for the whole stream. The memory of a device takes its law by the access
pattern of the stream, from the commands of its channels (`channel_law`): the share of the published rate they allow,
times the tier's calibrated `efficiency`. A memory without described commands keeps its published rate.

A law knows how it was come by: `measured` (fitted to or measured on silicon), `derived` (simulated or computed from the
tier's own description) or `assumed` (a data sheet's figure, or a pattern that nobody measured).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal, get_args

from hwsim._core.bounds import TIERS
from hwsim.describe.accelerator import Accelerator, Hbm
from hwsim.describe.commands import Refresh
from hwsim.describe.link import Link
from hwsim.describe.memory import Memory
from hwsim.errors import bad
from hwsim.memory.access import SEQUENTIAL, Access
from hwsim.memory.channel_law import ChannelLaw, channel_law
from hwsim.units import ceil_div, ceil_fraction

Pattern = Literal["sequential", "paged", "write", "mixed", "random"]
Status = Literal["measured", "derived", "assumed"]

PATTERNS: tuple[Pattern, ...] = get_args(Pattern)
ACCESS: dict[Pattern, Access] = {
    "sequential": SEQUENTIAL,
    "paged": Access("paged", block=4096),
    "write": Access("sequential", reads=0, writes=1),
    "mixed": Access("sequential", reads=2, writes=1),
    "random": Access("random"),
}
"""What one channel sees: weights; KV pages (16 tokens of a head of 128 in 16 bits); results; both; single granules."""

# How far a description's own words can be trusted for the pattern they were measured with.
_STATUS: dict[str, Status] = {"measured": "measured", "calibrated": "measured", "derived": "derived"}
# The number of a description that decides how far a tier's law can be trusted.
_DECIDES = {
    "sram": ("tiers", "sram", "port"),
    "l2": ("tiers", "l2", "rate"),
    "hbm": ("tiers", "hbm", "efficiency"),
    "link": ("links", "scale_up", "link", "efficiency"),
    "host": ("links", "host", "link", "efficiency"),
}
# A rate per cycle keeps this many significant units (one part in 2^14), so that its work stays exact in int64.
_UNITS = 1 << 14
_SLOWEST = 1 << 48  # largest denominator: of what moves less than a byte in more cycles no rate is left


@dataclass(frozen=True)
class ServiceLaw:
    """Time of a stream on one tier or link of one device, for one access pattern.

    Attributes
    ----------
    tier : str
        sram (the port of ONE unit), l2, hbm, link (all scale-up links of the device, one direction) or host.
    pattern : str or Access
        A name of PATTERNS, or the pattern itself.
    rate : Fraction
        Sustained bytes per second, refresh included.
    latency : Fraction
        Seconds from the request to the first byte of an idle tier.
    status : str
        measured, derived or assumed.
    provenance : str
        Where the numbers come from.
    channel : ChannelLaw or None
        Law of each of the tier's channels; None where no commands are described.
    channels : int
        How many there are.
    starved : bool
        The units keep too few bytes in flight for channels that refresh one after the other: no law tells that rate.
    """

    tier: str
    pattern: Pattern | Access
    rate: Fraction
    latency: Fraction
    status: Status
    provenance: str
    channel: ChannelLaw | None = None
    channels: int = 1
    starved: bool = False

    @property
    def valid_from(self) -> int | None:
        """Bytes from which the law is within 2 % of the commands simulated; None when nobody compared."""
        return None if self.channel is None else self.channel.valid_from * self.channels

    @property
    def error(self) -> Fraction | None:
        """Published error of the phase-averaged form at 1 MiB a channel (computed on request); None: unknown."""
        return None if self.channel is None else self.channel.errors()[-1].averaged

    def per_cycle(self, clock: Fraction | int) -> tuple[int, int]:
        """The rate in bytes per cycle of `clock` (Hz) as (numerator, denominator).

        The denominator is a power of two, at least 16 (the engine's unit of work); the numerator is rounded down, so
        that a program is never faster than the law, by at most one part in 2^14.
        """
        exact = self.rate / Fraction(clock)
        denominator = 16
        while exact * denominator < _UNITS and denominator < _SLOWEST:
            denominator *= 2
        return exact.numerator * denominator // exact.denominator, denominator

    def latency_cycles(self, clock: Fraction | int) -> int:
        """The latency in whole cycles of `clock` (Hz), rounded up."""
        return ceil_fraction(self.latency * Fraction(clock))

    def warning(self, size_bytes: int) -> str:
        """Why the law may be wrong for a stream of so many bytes; empty where it holds."""
        if self.channel is None or self.valid_from is None:
            return f"{self.tier}: no commands described, nobody compared the rate"
        if self.starved:
            return f"{self.tier}: below {self.channel.window_bytes} B in flight a channel, refreshes starve the others"
        if self.channel.access.open_question:
            return f"{self.tier}: {self.channel.access.open_question}"
        if size_bytes < self.valid_from:
            share = f"{float(self.refresh_share(size_bytes)):.1%}"
            holds = f"within 2 % from {self.valid_from} B"
            return f"{self.tier}: one refresh more or less is {share} of {size_bytes} B; {holds}"
        return ""

    def refresh_share(self, size_bytes: int) -> Fraction:
        """What one refresh more or less changes of the time of a stream of so many bytes, as a share of it."""
        if self.channel is None:
            return Fraction(0)
        granules = self.channel.granules(ceil_div(size_bytes, self.channels))
        return max(self.channel.stall, self.channel.recovery) / (max(1, int(granules)) * self.channel.kept)


def laws(accelerator: Accelerator, pattern: Pattern | Access = "sequential") -> dict[str, ServiceLaw]:
    """Laws of all tiers and links of an accelerator, by tier; those it has.

    Tiers are sequential streams in the measurements that descriptions rest on; for the other patterns the memory's rate
    is derived from its commands, and all other rates are `assumed`.
    """
    links = accelerator.links
    scale_up = links.scale_up
    out, up = link_law(scale_up.link, scale_up.count), link_law(links.host.link, 1)
    found = {
        **accelerator.tier_rates(),
        "link": (out.rate, out.latency),
        "host": (up.rate, up.latency),
    }
    made = {tier: _described(accelerator, tier, pattern, *what) for tier, what in found.items()}
    if accelerator.tiers.hbm is not None:
        made["hbm"] = _memory_law(accelerator, accelerator.tiers.hbm, pattern)
    return {tier: made[tier] for tier in TIERS if tier in made}


def _described(
    accelerator: Accelerator, tier: str, pattern: Pattern | Access, rate: Fraction, latency: Fraction
) -> ServiceLaw:
    """A law of the description's own numbers; they were measured with sequential streams."""
    status, told = _told(accelerator, *_DECIDES[tier])
    if pattern != "sequential":
        status, told = "assumed", f"{told}; known for sequential streams, assumed for {pattern}"
    return ServiceLaw(tier, pattern, rate, latency, status, told)


def allowed(accelerator: Accelerator, pattern: Pattern | Access) -> Fraction:
    """Bytes per second that the commands of the device's memory allow; the published rate where none are described.

    The rate of the device is as published for it; its memory's commands say which share of their wires they keep busy,
    and keep it at another rate too: as if the same commands ran on another clock.

    Raises
    ------
    InputError
        A device without memory beside its SRAM.
    """
    return _allowed(memory_of(accelerator), pattern)


def memory_of(accelerator: Accelerator) -> Hbm:
    """The device's memory; InputError where its SRAM is all there is."""
    if accelerator.tiers.hbm is None:
        raise bad(accelerator.id, "no memory beside its SRAM", "an accelerator with tiers.hbm")
    return accelerator.tiers.hbm


def _allowed(hbm: Hbm, pattern: Pattern | Access) -> Fraction:
    channel = _channel(hbm.memory, pattern)
    if channel is None:
        return hbm.rate
    return hbm.rate * (channel.share if hbm.window is None else channel.share_within(int(hbm.window)))


def _channel(memory: Memory, pattern: Pattern | Access) -> ChannelLaw | None:
    access = pattern if isinstance(pattern, Access) else ACCESS[pattern]
    return None if memory.commands is None else channel_law(memory, access)


def _memory_law(accelerator: Accelerator, hbm: Hbm, pattern: Pattern | Access) -> ServiceLaw:
    """The law of the device's memory: what its commands allow, times its efficiency."""
    channel = _channel(hbm.memory, pattern)
    rate = _allowed(hbm, pattern) * hbm.efficiency
    law = _described(accelerator, "hbm", pattern, rate, hbm.latency)
    if channel is None or hbm.memory.commands is None:
        return law
    status, told = _told(accelerator, *_DECIDES["hbm"])
    return replace(
        law,
        status=status if pattern == "sequential" else "derived",
        provenance=f"commands of {hbm.memory.id}, {pattern}: {float(channel.share):.1%} of the rate; {told}",
        channel=channel,
        channels=hbm.stacks * hbm.memory.commands.channels,
        starved=hbm.window is not None and _starved(hbm.memory.commands.refresh, channel, int(hbm.window)),
    )


def _starved(refresh: Refresh, channel: ChannelLaw, window: int) -> bool:
    """Whether requests that wait for one channel's refresh fill the window, so that the other channels idle."""
    return refresh.mode == "all-bank" and refresh.alignment == "staggered" and window < channel.window_bytes


def link_law(link: Link, count: int) -> ServiceLaw:
    """Law of `count` links to one side, one direction, as the link's own description states it."""
    rate = link.rate * link.efficiency * count
    return ServiceLaw("link", "sequential", rate, link.latency, "assumed", f"{link.id}: {link.source}")


def _told(accelerator: Accelerator, *path: str) -> tuple[Status, str]:
    """Status and source that the description states for a number, in a law's words."""
    if accelerator._tree is None:
        return "assumed", f"{accelerator.id}: not read from a file"
    mark = accelerator.tree.mark(path)
    told = f"{accelerator.id} {'.'.join(path)}: {mark.source} ({mark.status})"
    return _STATUS.get(mark.status, "assumed"), told
