"""Laws of quantities: exact values, round trips, refusals, conversions that round up."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwsim import units
from hwsim.errors import InputError

KNOWN = [
    ("80 GB", "B", 80 * 10**9),
    ("40 MiB", "B", 40 * 2**20),
    ("1 KB", "B", 1000),
    ("1 kB", "B", 1000),
    ("1 KiB", "B", 1024),
    ("8 Gb", "B", 10**9),
    ("8 Gbit", "B", 10**9),
    ("3.35 TB/s", "B/s", 3_350 * 10**9),
    ("400 Gb/s", "B/s", 50 * 10**9),
    ("6.4 GT/s", "T/s", 6_400 * 10**6),
    ("1.98 GHz", "Hz", 1_980 * 10**6),
    ("450 ns", "s", Fraction(450, 10**9)),
    ("2.7 us", "s", Fraction(27, 10**7)),
    ("2.7 µs", "s", Fraction(27, 10**7)),
    ("5 min", "s", 300),
    ("4 pJ/bit", "J/B", Fraction(32, 10**12)),
    ("4 pJ/B", "J/B", Fraction(4, 10**12)),
    ("0.6 pJ/FLOP", "J/FLOP", Fraction(6, 10**13)),
    ("4096 FLOP", "FLOP", 4096),
    ("989 TFLOP/s", "FLOP/s", 989 * 10**12),
    ("53.6 B/cycle", "B/cycle", Fraction(536, 10)),
    ("16 FLOP/cycle", "FLOP/cycle", 16),
    ("30 cycles", "cycle", 30),
    ("700 W", "W", 700),
    ("93 %", "1", Fraction(93, 100)),
    ("0.93", "1", Fraction(93, 100)),
    ("1e3 B", "B", 1000),
    ("2.5e-1GB", "B", 25 * 10**7),
]


@pytest.mark.parametrize(("text", "dimension", "value"), KNOWN, ids=[text for text, _, _ in KNOWN])
def test_a_quantity_has_its_exact_value(text, dimension, value):
    assert units.parse(text, dimension) == value


DECIMALS = st.builds(lambda digits, places: Fraction(digits, 10**places), st.integers(0, 10**12), st.integers(0, 9))


@given(st.sampled_from(sorted(units.DIMENSIONS)), DECIMALS)
def test_a_formatted_decimal_reads_back_exactly(dimension, value):
    value = value % 1 if dimension == "1" else value
    assert units.parse(units.format(value, dimension), dimension) == value


@given(st.sampled_from(["GB", "KiB", "Gb", "kB"]), DECIMALS)
def test_twice_the_number_is_twice_the_size(unit, value):
    one, two = (units.parse(f"{units.format(v, '1')} {unit}", "B") for v in (value, 2 * value))
    assert two == 2 * one


@given(st.text(max_size=20), st.sampled_from(sorted(units.DIMENSIONS)))
def test_any_text_is_a_value_or_a_named_fault(text, dimension):
    try:
        assert units.parse(text, dimension, where="here") >= 0
    except InputError as error:
        assert str(error).startswith("here: got ")


@pytest.mark.parametrize("dimension", sorted(set(units.DIMENSIONS) - {"1"}))
@pytest.mark.parametrize("bare", [80, 80.0, Fraction(80), "80", "0"])
def test_a_bare_number_is_refused_in_every_dimension(dimension, bare):
    with pytest.raises(InputError, match="add the unit"):
        units.parse(bare, dimension)


@pytest.mark.parametrize("dimension", sorted(units.DIMENSIONS))
def test_the_example_of_a_message_is_itself_accepted(dimension):
    units.parse(units.DIMENSIONS[dimension].example, dimension)


@pytest.mark.parametrize(
    "text", ["nan s", "inf s", "-inf s", ".nan", "NaN s", "Infinity s", "-1 s", "1e400 s", "--1 s", ""]
)
def test_no_time_without_end_or_sign(text):
    with pytest.raises(InputError):
        units.parse(text, "s")


def test_a_value_without_finite_decimal_is_shown_to_six_digits():
    assert units.format(Fraction(1, 3), "s") == "333.333 ms"


SECONDS = st.fractions(0, 10**6)
HERTZ = st.integers(1, 10**10).map(Fraction)


@given(SECONDS, HERTZ)
def test_conversions_round_up_by_less_than_one(seconds, hertz):
    assert 0 <= units.ps_ceil(seconds) - seconds * 10**12 < 1
    assert 0 <= units.cycles_ceil(seconds, hertz) - seconds * hertz < 1
    assert 0 <= units.pj_ceil(seconds) - seconds * 10**12 < 1


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**20))
def test_ceil_div_is_the_least_integer_not_below(above, below):
    assert (units.ceil_div(above, below) - 1) * below < above <= units.ceil_div(above, below) * below
