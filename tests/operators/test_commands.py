"""Operators whose memory is simulated command by command."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from hwsim.errors import InputError
from hwsim.memory.law import laws
from hwsim.operators.commands import share_of_law
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate

HEADS = {"heads": 32, "kv_heads": 8, "head_dim": 128}


def test_a_memory_slower_than_its_law_makes_operators_slower() -> None:
    machine = Machine.of("h100-sxm")
    dims = {"m": 1, "n": 16384, "k": 8192}
    before = simulate(machine, "gemm", dims).time_ps[0]
    after = simulate(machine.with_memory_at(Fraction(1, 2)), "gemm", dims)
    assert 1.9 < after.time_ps[0] / before < 2.0


def test_large_streams_under_commands_take_what_their_law_says() -> None:
    machine = Machine.of("h100-sxm")
    for pattern in ("sequential", "paged"):
        law = laws(machine.chip, pattern)["hbm"]
        assert law.valid_from is not None
        assert float(share_of_law(machine, law, 2 * law.valid_from)) == pytest.approx(1, abs=0.02), pattern


def test_attention_sends_pages_and_products_send_rows() -> None:
    machine = Machine.of("h100-sxm")
    decode = simulate(machine, "attention_decode", {"batch": 16, "kv_len": 2048, **HEADS}, memory="commands")
    gemm = simulate(machine, "gemm", {"m": [1, 1], "n": [4096, 8192], "k": 8192}, memory="commands")
    assert (decode.time_ps > 0).all() and (gemm.time_ps > 0).all()
    assert (gemm.bound.sum(axis=1) == gemm.time_ps).all()
    assert gemm.warning(0) == decode.warning(0) == ""


def test_operators_without_bytes_in_the_memory_are_as_under_the_law() -> None:
    machine, dims = Machine.of("h100-sxm"), {"rows": 64, "cols": 8192}
    assert np.array_equal(
        simulate(machine, "norm", dims, memory="commands").time_ps, simulate(machine, "norm", dims).time_ps
    )


def test_a_memory_without_commands_is_refused() -> None:
    with pytest.raises(InputError, match="a memory without `commands`"):
        machine = Machine.of("l40s", sets={"accelerator": ["tiers.hbm.memory.commands=null"]})
        simulate(machine, "gemm", {"m": 1, "n": 1024, "k": 1024}, memory="commands")
