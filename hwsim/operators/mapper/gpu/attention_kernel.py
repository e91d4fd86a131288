"""A call of an attention kernel as columns, and the tables of its program.

`Kernel` is what mappers of decode, prefill and mixed attention fill in; `as_programs` turns it into values, rates and
cells of the template in attention_program.py; `estimate` is its closed form, which ranks and never gives a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np

from hwsim.operators.candidates import Programs, rates_of
from hwsim.operators.mapper.gpu.attention_fold import Groups
from hwsim.operators.mapper.gpu.attention_program import WINDOW, template
from hwsim.operators.program import LAW_DTYPE
from hwsim.units import ceil_div


@dataclass(frozen=True)
class Rates:
    """Rates of a library on a chip: tensor FLOP per cycle of a slot, bytes and cycles of the device."""

    tensor: Fraction
    hbm: Fraction
    l2: Fraction
    small: Fraction
    hbm_latency: int
    l2_latency: int


@dataclass(frozen=True)
class Items:
    """One class of work items on the slots, int64[P] unless it says otherwise.

    Attributes
    ----------
    prologue, epilogue : cycles of an item before its first and after its last tile
    flop : FLOP of a tile on its slot
    rest : cycles of a tile that nothing hides (softmax)
    hbm, l2 : bytes of all items together
    """

    prologue: np.ndarray
    epilogue: np.ndarray
    flop: np.ndarray
    rest: np.ndarray
    hbm: np.ndarray
    l2: np.ndarray


@dataclass(frozen=True)
class Kernel:
    """Calls of one attention kernel, one a case; int64[P] unless it says otherwise.

    Attributes
    ----------
    rates : Rates
    groups : Groups
        Slots folded by load, with one entry per class of items.
    classes : sequence of Items
    launch : cycles before anything runs
    before : bytes through L2 of the kernels before
    flush : bytes those move beyond L2
    hbm_after, l2_after : bytes of Q and O, and of the combine kernel
    combine : cycles of the combine kernel beside its bytes
    """

    rates: Rates
    groups: Groups
    classes: Sequence[Items]
    launch: np.ndarray
    before: np.ndarray
    flush: np.ndarray
    hbm_after: np.ndarray
    l2_after: np.ndarray
    combine: np.ndarray


def choose(first: np.ndarray, a: Kernel, b: Kernel) -> Kernel:
    """Case by case `a` where `first` holds, else `b`; both have the rates of `b`."""

    def mix(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.where(first.reshape((-1,) + (1,) * (y.ndim - 1)), x, y)

    def merge(x: object, y: object) -> dict[str, Any]:
        return {name: mix(getattr(x, name), value) for name, value in vars(y).items() if isinstance(value, np.ndarray)}

    classes = tuple(Items(**merge(x, y)) for x, y in zip(a.classes, b.classes, strict=True))
    return replace(b, groups=Groups(**merge(a.groups, b.groups)), classes=classes, **merge(a, b))


Put = Callable[..., None]


def as_programs(kernel: Kernel, index: np.ndarray) -> Programs:
    """The program of every case; `index` int64[P] names the candidates they are of."""
    phases = len(kernel.classes)
    groups = kernel.groups.mult.shape[1]
    t = template(phases, groups)
    count = len(kernel.launch)
    values = np.zeros((count, t.size("slots")), np.int64)
    cells = np.zeros((count, t.size("cells")), np.int64)
    cell = {name: index for index, name in enumerate(t.names["cells"])}

    def put(name: str, column: np.ndarray, offset: int = 0) -> None:
        values[:, t.slots[name].index + offset] = column

    for name, column in (("launch", kernel.launch), ("before", kernel.before), ("flush", kernel.flush),
                         ("query_output", kernel.hbm_after), ("query_output.l2", kernel.l2_after),
                         ("combine", kernel.combine)):  # fmt: skip
        put(name, column)
    ended = np.zeros(count, np.int64)
    for g in range(groups):
        mult = kernel.groups.mult[:, g]
        cells[:, cell[f"mult{g}"]] = np.maximum(mult, 1)
        cells[:, cell[f"ahead{g}"]] = 1 - WINDOW
        for p, items in enumerate(kernel.classes):
            name = f"{g}" if phases == 1 else f"{g}.{p}"
            ended += _put_group(put, name, items, kernel.groups, g, p)
    cells[:, cell["items"]] = ended
    cells[:, cell["latency.hbm"]] = _waits(kernel)
    cells[:, cell["latency.l2"]] = kernel.rates.l2_latency
    rates = {"hbm": (kernel.rates.hbm, 0), "l2": (kernel.rates.l2, 0), "tensor": (kernel.rates.tensor, 0)}
    return Programs(t, index, values, rates_of(t, rates), cells, _laws(kernel.rates))


def _waits(kernel: Kernel) -> np.ndarray:
    """Latency of a tile: the L2's, and so much more of the memory's as bytes come from there."""
    hbm, l2 = (sum(getattr(items, name) for items in kernel.classes) for name in ("hbm", "l2"))
    rates = kernel.rates
    more = max(rates.hbm_latency - rates.l2_latency, 0)
    return rates.l2_latency + ceil_div(more * (np.minimum(hbm, l2) >> 10), np.maximum(l2 >> 10, 1))


def _put_group(put: Put, name: str, items: Items, groups: Groups, g: int, p: int) -> np.ndarray:
    """Columns of one group and class; returns the items a slot of it ends. An absent class is one empty item."""
    mult = np.maximum(groups.mult[:, g], 1)
    here = groups.share[:, g, p] > 0
    count = np.where(here, np.maximum(groups.items[:, g, p], 1), 1)
    depth = np.where(here, np.maximum(groups.tiles[:, g, p], count), 1)
    each = depth // count
    share, everything = groups.share[:, g, p], np.maximum(groups.share[:, :, p].sum(axis=1), 1)
    put(f"items{name}", count)
    put(f"tiles{name}", each)
    put(f"tiles{name}", depth - (count - 1) * each, 1)
    # A slot stands for the mean of its group: where it has an item more than that, each of its items takes less.
    for end, cycles in (("prologue", items.prologue), ("epilogue", items.epilogue)):
        put(f"{end}{name}", np.where(here, ceil_div(cycles * groups.number[:, g, p], mult * count), 0))
    put(f"flop{name}", ceil_div(items.flop * share, mult * depth))
    put(f"rest{name}", np.where(here, ceil_div(items.rest * share, mult * depth), 0))
    part = [np.where(here, _share(total, share, everything, depth), 0) for total in (items.hbm, items.l2)]
    put(f"hbm{name}", part[0])
    put(f"l2.{name}", part[1])
    return count


def _share(total: np.ndarray, share: np.ndarray, everything: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Bytes of one tile step of a group: ceil(total share / everything / depth) without overflow."""
    whole, rest = np.divmod(total, everything)
    return ceil_div(whole * share + ceil_div(rest * share, everything), depth)


def _laws(rates: Rates) -> np.ndarray:
    row = np.zeros((1, 1), LAW_DTYPE)
    row["num"], row["den"] = rates.small.numerator, rates.small.denominator
    return row


def estimate(kernel: Kernel) -> np.ndarray:
    """Closed form in 1/16 cycles: the longest group or the busiest memory, and what comes before and after."""
    rates = kernel.rates
    path = np.zeros_like(kernel.launch)
    hbm, l2 = kernel.flush + kernel.hbm_after, np.zeros_like(path)
    for p, items in enumerate(kernel.classes):
        latency = np.where(items.hbm > 0, rates.hbm_latency, rates.l2_latency)
        tile = np.maximum(_cycles(items.flop, rates.tensor) + items.rest, latency // WINDOW)
        once = np.where(kernel.groups.share[:, 0, p] > 0, items.prologue + items.epilogue, 0)
        path += kernel.groups.items[:, 0, p] * once + kernel.groups.tiles[:, 0, p] * tile
        hbm, l2 = hbm + items.hbm, l2 + items.l2
    main = np.maximum(path, np.maximum(_cycles(hbm, rates.hbm), _cycles(l2, rates.l2)))
    return 16 * (kernel.launch + main + kernel.combine + _cycles(kernel.before + kernel.l2_after, rates.small))


def _cycles(amount: np.ndarray, rate: Fraction) -> np.ndarray:
    return ceil_div(amount * rate.denominator, rate.numerator)
