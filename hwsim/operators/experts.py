"""How many tokens each expert of a layer gets: the loads of the fullest device, by a named distribution of routing.

`uniform` lets each token choose among all experts with equal chance. Two more distributions are those that kernels are
timed with in NVIDIA aiconfigurator: `balanced` spreads the choices of all tokens evenly, `power_law_<a>` draws the
popularity of each expert from a bounded power law of exponent a. Draws are five fixed ones, so that an operator has one
answer; powers are taken by products and square roots, which round equally everywhere, and popularities become integers
before anything is compared.
"""

from __future__ import annotations

from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from hwsim.describe.routing import BALANCED, THOUSANDTHS, UNIFORM

Ints = NDArray[np.int64]

DRAWS = 5
SEED = 20240607  # of the fixed draws
TOKENS = 1024  # choices with equal chance are drawn for so many together
FINE = 1 << 30  # popularities are counted in parts of the largest there can be
BITS = 40  # binary digits of an exponent


@lru_cache(maxsize=4096)
def loads(tokens: int, experts: int, top_k: int, ep: int, number: int) -> Ints:
    """Tokens of each expert on the fullest of `ep` devices, int64[draws, experts / ep]; one draw without chance.

    Parameters
    ----------
    tokens : int
        Of all devices together; each chooses `top_k` different experts.
    ep : int
        A divisor of `experts`.
    number : int
        Of the distribution.
    """
    if number == BALANCED:
        every = _balanced(tokens, experts, top_k)[None]
    elif number == UNIFORM:
        every = _chosen(tokens, experts, top_k)
    else:
        assert number > THOUSANDTHS
        every = _drawn(tokens, experts, top_k, ep, number)
    ranks = every.reshape(len(every), ep, experts // ep)
    fullest = ranks.sum(axis=2).argmax(axis=1)
    found: Ints = ranks[np.arange(len(every)), fullest]
    found.setflags(write=False)
    return found


def _balanced(tokens: int, experts: int, top_k: int) -> Ints:
    """Choice j of token t is expert t + j E / k; few tokens are spread over the E / k between two choices."""
    apart = -(-experts // top_k)
    rounds, rest = divmod(tokens, experts)
    token = np.arange(rest) if tokens >= apart else np.arange(tokens) * apart // tokens
    chosen = (token[:, None] + np.arange(top_k) * experts // top_k) % experts
    found: Ints = np.bincount(chosen.ravel(), minlength=experts).astype(np.int64) + top_k * rounds
    return found


def _chosen(tokens: int, experts: int, top_k: int) -> Ints:
    """Choices of all tokens with equal chance, int64[DRAWS, experts]; more tokens keep the choices of fewer."""
    blocks, rest = divmod(tokens, TOKENS)
    found = np.zeros((DRAWS, experts), np.int64)
    for block in range(blocks + (rest > 0)):
        choices = _choices(block, experts, top_k)[:, : tokens - block * TOKENS]
        for draw in range(DRAWS):
            found[draw] += np.bincount(choices[draw].ravel(), minlength=experts)
    return found


@lru_cache(maxsize=8)
def _choices(block: int, experts: int, top_k: int) -> NDArray[np.int32]:
    """Experts of one block of tokens, int32[DRAWS, TOKENS, top_k]: the first places of a shuffle."""
    count = DRAWS * TOKENS
    random = np.random.PCG64(SEED).advance(1 + block * count * top_k).random_raw(count * top_k)
    order = np.tile(np.arange(experts, dtype=np.int32), (count, 1))
    token = np.arange(count)
    for place, words in enumerate(random.reshape(top_k, count)):
        other = place + (words % np.uint64(experts - place)).astype(np.int64)
        order[token, place], order[token, other] = order[token, other], order[token, place]
    return order[:, :top_k].reshape(DRAWS, TOKENS, top_k).copy()


def _drawn(tokens: int, experts: int, top_k: int, ep: int, number: int) -> Ints:
    """Choices of all tokens by drawn popularity, int64[DRAWS, experts]; no expert is chosen by more than all tokens."""
    choices = tokens * top_k
    low, high = (1.0, 0.8 * tokens) if choices > experts else (0.01, 2.0)
    popular = (_power_law(experts, low, high, number) / high * FINE).astype(np.int64) + 1
    total = popular.sum(axis=1, keepdims=True)
    # Shares in floats would round by the order of a sum; these are products of integers below 2^59.
    share = np.minimum((2 * popular * choices + total) // (2 * total), tokens)
    return _settle(share.reshape(DRAWS, ep, -1), choices, tokens).reshape(DRAWS, experts)


def _power_law(count: int, low: float, high: float, number: int) -> NDArray[np.float64]:
    """Draws of the bounded power law by its inverse distribution, float64[DRAWS, count]."""
    flat = Fraction(number, THOUSANDTHS) - 1
    uniform = _words(DRAWS * count).reshape(count, DRAWS).T
    ends = 1 / _power(np.array([low, high]), flat)
    return 1 / _power(ends[0] + uniform * (ends[1] - ends[0]), 1 / flat)


def _words(count: int) -> NDArray[np.float64]:
    """Numbers from 0 to 1 of 53 bits, the first `count` of one fixed stream."""
    return (np.random.PCG64(SEED).random_raw(count) >> np.uint64(11)).astype(np.float64) / (1 << 53)


def _power(base: NDArray[np.float64], exponent: Fraction) -> NDArray[np.float64]:
    """base ** exponent, for an exponent >= 0, by multiplications and square roots alone."""
    whole = int(exponent)
    part = int((exponent - whole) * (1 << BITS))
    result, square, root = np.ones_like(base), base.copy(), base
    while whole:
        result, square, whole = result * square if whole & 1 else result, square * square, whole >> 1
    for bit in reversed(range(BITS)):
        root = np.sqrt(root)
        result = result * root if part >> bit & 1 else result
    return result


def _settle(share: Ints, choices: int, most: int) -> Ints:
    """Make the loads of all experts sum to `choices`, one by one, turn about between devices.

    What is missing goes to a device's least loaded expert, what is too much is taken from its most loaded one.
    """
    ep = share.shape[1]
    for _ in range(ep + 1):  # a device that is full leaves its turn to the others
        missing = choices - share.sum(axis=(1, 2))
        if not missing.any():
            break
        turn = np.arange(ep)
        size = np.abs(missing)[:, None]
        each = (size + ep - 1 - turn) // ep
        more = (missing > 0)[:, None, None]
        share = np.where(more, _pour(share, each, most), -_pour(-share, each, 0))
    return share


def _pour(loads_: Ints, amount: Ints, most: int) -> Ints:
    """Raise the least of each row, one by one, until `amount` is spent or all are at `most`."""
    low, high = loads_.min(axis=2), np.full(amount.shape, most)
    while (low < high).any():  # the highest level that the amount reaches everywhere
        level = (low + high + 1) // 2
        fits = np.maximum(level[:, :, None] - loads_, 0).sum(axis=2) <= amount
        low, high = np.where(fits, level, low), np.where(fits, high, level - 1)
    raised = np.maximum(loads_, low[:, :, None])
    rest = amount - (raised - loads_).sum(axis=2)
    at_level = (raised == low[:, :, None]) & (raised < most)
    return raised + (at_level & (at_level.cumsum(axis=2) <= rest[:, :, None]))
