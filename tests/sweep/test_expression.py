"""Expressions of constraints and derived columns."""

import numpy as np
import pytest

from hwsim.errors import InputError
from hwsim.sweep.expression import Expression


def value(text: str, **names):
    return Expression.parse(text, "here").value(names)


def test_names_are_paths_and_columns():
    rule = Expression.parse("plan.tp * plan.dp <= system.count and bound == 'hbm'", "here")
    assert rule.names == ("plan.tp", "plan.dp", "system.count", "bound")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1 + 2 * 3 ** 2 - 4 / 2 // 1 % 5", 17),
        ("-a + min(a, 3) * max(1, 2, 0)", 2),
        ("unit('1.5 GHz') / unit('500 MHz')", 3),
        ("sqrt(16) + abs(-1) + floor(1.5) + ceil(1.5)", 8),
        ("1 < a < 3 and not a > 2 or False", True),
    ],
)
def test_arithmetic_is_that_of_python(text, expected):
    assert value(text, a=2) == expected


def test_arrays_are_computed_whole():
    assert value("a > 1 and b == 'x'", a=np.array([1, 2, 3]), b=np.array(["x", "x", "y"], object)).tolist() == [
        False,
        True,
        False,
    ]


def test_a_division_by_zero_is_no_number():
    assert np.isnan(value("a / a", a=np.zeros(1))[0])


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "a[0]", "lambda: 1", "b if a else c", "a.b()", "min()", "[1]", "f'{a}'", "1j", "1 +"],
)
def test_the_rest_of_python_is_refused(text):
    with pytest.raises(InputError, match="here"):
        Expression.parse(text, "here")


def test_powers_without_end_do_not_hang():
    with pytest.raises(InputError, match="expression"):
        value("9 ** 9 ** 9 ** 9")


@pytest.mark.parametrize(
    "text, far",
    [
        ("x <= 4", [-0.6, 0, 0.2]),
        ("4 >= x", [-0.6, 0, 0.2]),
        ("x < 4", [-0.6, 1e-12, 0.2]),
        ("x <= 4 and x >= 2", [1 / 3, 0, 0.2]),
        ("x <= 4 or x >= 2", [-0.6, -1 / 3, -0.5]),
        ("x == 4", [1, 0, 1]),
        ("x / 0 < 0", [1, 1, 1]),
        ("name == 'no'", [0, 1, 1]),
    ],
)
def test_a_violation_says_how_far_values_are_from_a_condition(text, far):
    names = {"x": np.array([1.0, 4.0, 6.0]), "name": np.array(["no", "yes", ""], object)}
    assert np.allclose(Expression.parse(text, "here").violation(names), far, rtol=1e-12, atol=0)
