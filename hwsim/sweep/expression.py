"""Expressions of a study: constraints and derived columns, over numpy arrays.

A small part of Python's own grammar, parsed by `ast` and walked here: numbers, texts, paths, arithmetic, comparisons,
`and`, `or`, `not` and a few functions. Nothing else of Python can be reached, and no attribute is ever looked up: a
dotted path is a name.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwsim import units
from hwsim.errors import bad

OPERATORS: Mapping[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.And: np.logical_and,
    ast.Or: np.logical_or,
}
UNARY: Mapping[type, Callable[[Any], Any]] = {ast.USub: operator.neg, ast.UAdd: operator.pos, ast.Not: np.logical_not}


ORDERS = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
LEAST = 1e-12  # by which a strict inequality between equal sides is missed


def quantity(text: str) -> float:
    """`unit('1.5 GHz')`: a quantity in its base unit."""
    number = units.value_of(text)
    if number is None:
        raise bad("unit()", repr(text), "a number with a unit such as '1.5 GHz'")
    return float(number[0])


FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "min": lambda *parts: reduce(np.minimum, parts),
    "max": lambda *parts: reduce(np.maximum, parts),
    "abs": np.abs,
    "sqrt": np.sqrt,
    "log": np.log,
    "log2": np.log2,
    "exp": np.exp,
    "floor": np.floor,
    "ceil": np.ceil,
    "unit": quantity,
}
HELP = f"numbers, texts, paths, + - * / // % **, comparisons, and, or, not, {', '.join(FUNCTIONS)}"


@dataclass(frozen=True)
class Expression:
    """A checked expression; `names` are the paths and columns it reads."""

    text: str
    names: tuple[str, ...]
    _body: ast.expr
    where: str = ""  # place of its text

    @classmethod
    def parse(cls, text: str, where: str) -> Expression:
        """Parse a text.

        Raises
        ------
        InputError
            No expression, or one that uses more than the language has.
        """
        try:
            body = ast.parse(text.strip(), mode="eval").body
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            raise bad(where, repr(text), "an expression", str(error).split(" (")[0]) from None
        names: dict[str, None] = {}
        _check(body, names, text, where)
        return cls(text, tuple(names), body, where)

    def require(self, known: Iterable[str], where: str) -> None:
        """Refuse a name that is none of `known`."""
        known = list(known)
        for name in self.names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                cure = f"did you mean '{near[0]}'?" if near else ""
                raise bad(where, f"'{name}' in {self.text!r}", "a path of the study or a column", cure)

    def value(self, names: Mapping[str, Any]) -> Any:
        """Value over arrays (or single values) of every name; what has no number (x/0) is nan or inf."""
        with np.errstate(all="ignore"):
            try:
                return _value(self._body, names)
            except (TypeError, ValueError, ZeroDivisionError, OverflowError) as error:
                raise bad(f"expression {self.text!r}", str(error), "values it can be computed from") from None

    def violation(self, names: Mapping[str, Any]) -> NDArray[np.float64]:
        """How far a condition is from being met: above 0 where it is not, at most 0 where it is.

        Of an inequality between numbers the difference of its sides over the sum of their sizes, which has no unit; of
        conditions joined by `and` the worst, by `or` the best. Of anything else 1 where it is not met.
        """
        met = np.asarray(self.value(names)).astype(bool)
        with np.errstate(all="ignore"):
            far = np.asarray(_missed(self._body, names), float)
        far = np.where(np.isnan(far), 1.0, far)
        return np.where(met, np.minimum(far, 0.0), np.maximum(far, LEAST))


def _dotted(node: ast.expr) -> str | None:
    """The path that a chain of attributes spells, or None."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        above = _dotted(node.value)
        return None if above is None else f"{above}.{node.attr}"
    return None


def _parts(node: ast.expr) -> list[ast.expr] | None:
    """Operands of a node of the language; None for anything else."""
    if isinstance(node, ast.Constant):
        return [] if isinstance(node.value, int | float | str) else None
    if isinstance(node, ast.BinOp):
        return [node.left, node.right] if type(node.op) in OPERATORS else None
    if isinstance(node, ast.UnaryOp):
        return [node.operand] if type(node.op) in UNARY else None
    if isinstance(node, ast.BoolOp):
        return node.values
    if isinstance(node, ast.Compare):
        return [node.left, *node.comparators] if all(type(op) in OPERATORS for op in node.ops) else None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return node.args if node.func.id in FUNCTIONS and node.args else None
    return None


def _check(node: ast.expr, names: dict[str, None], text: str, where: str) -> None:
    name = _dotted(node)
    if name is not None:
        names[name] = None
        return
    parts = _parts(node)
    if parts is None:
        raise bad(where, f"{ast.unparse(node)!r} in {text!r}", HELP)
    for part in parts:
        _check(part, names, text, where)


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    name = _dotted(node)
    if name is not None:
        return names[name]
    if isinstance(node, ast.Constant):
        assert isinstance(node.value, str | int | float)
        return node.value if isinstance(node.value, str) else float(node.value)  # 9**9**9 overflows, and does not hang
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Name)
        return FUNCTIONS[node.func.id](*(_value(part, names) for part in node.args))
    parts = [_value(part, names) for part in _parts(node) or ()]
    if isinstance(node, ast.UnaryOp):
        return UNARY[type(node.op)](parts[0])
    if isinstance(node, ast.BinOp):
        return OPERATORS[type(node.op)](*parts)
    if isinstance(node, ast.BoolOp):
        return reduce(OPERATORS[type(node.op)], parts)
    assert isinstance(node, ast.Compare)
    pairs = (OPERATORS[type(op)](*both) for op, both in zip(node.ops, pairwise(parts)))
    return reduce(np.logical_and, pairs)


def _missed(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """How far a condition is from being met, above 0 where it is not."""
    if isinstance(node, ast.BoolOp):
        worst_or_best = np.maximum if isinstance(node.op, ast.And) else np.minimum
        return reduce(worst_or_best, (_missed(part, names) for part in node.values))
    if isinstance(node, ast.Compare) and all(isinstance(op, ORDERS) for op in node.ops):
        sides = [np.asarray(_value(part, names)) for part in _parts(node) or ()]
        if all(side.dtype.kind in "iuf" for side in sides):
            ups = [
                (b, a) if isinstance(op, ast.Gt | ast.GtE) else (a, b) for op, (a, b) in zip(node.ops, pairwise(sides))
            ]
            return reduce(np.maximum, ((low - high) / np.maximum(abs(low) + abs(high), LEAST) for low, high in ups))
    return np.where(np.asarray(_value(node, names)).astype(bool), 0.0, 1.0)
