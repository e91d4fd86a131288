"""A declared sweep: one base point, the axes that change it, and what is wanted of every point.

An axis is named by the path of what it changes, starting at the tree that `hwsim show --tree STUDY` prints. Axes form a
grid; `zip` moves several paths together as one axis; a sampler draws points instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, model_validator

from hwsim.describe.block import Block, Description, Reference
from hwsim.describe.model import Model
from hwsim.describe.plan import Plan
from hwsim.describe.protocol import Protocol
from hwsim.describe.quantity import Count, Factor, Natural, Number, refuse
from hwsim.describe.recipe import Recipe
from hwsim.describe.software import Software
from hwsim.describe.system import System

Value = str | int | bool | Fraction


@dataclass(frozen=True)
class Scalar(Number):
    """A single value of any field: a text, a number, true or false."""

    def validate(self, value: object) -> Any:
        """The value itself; blocks, lists and nothing are refused."""
        if not isinstance(value, Value):
            got = "nothing" if value is None else "a list" if isinstance(value, list) else "a block"
            raise refuse(got, "one value such as 4, '1.5 GHz' or h100-sxm-x8")
        return value

    def text(self, value: Any) -> Any:
        """The value as a file would write it."""
        return float(value) if isinstance(value, Fraction) else value

    def written(self) -> dict[str, Any]:
        """Text, number or boolean."""
        return {"type": ["string", "number", "boolean"]}


Single = Annotated[Any, Scalar()]


def _listed(value: object) -> object:
    """An axis written as a bare list means these values."""
    return {"values": value} if isinstance(value, list) else value


class Axis(Block):
    """Values of one path, or several paths that move together; exactly one way to say them."""

    values: list[Single] = Field([], description="the values themselves")
    from_: Single | None = Field(None, alias="from", description="first value of a range")
    to: Single | None = Field(None, description="last value of a range, included")
    count: Count | None = Field(None, description="values of a range")
    step: Single | None = Field(None, description="distance of two values of a range, instead of `count`")
    scale: Literal["linear", "log"] = Field("linear", description="equal distances or equal ratios")
    files: str = Field("", description="pattern of files, one value a file, in the order of their names")
    zip: dict[str, AxisOrList] = Field({}, description="axes of equal length that advance together")
    grid: dict[str, AxisOrList] = Field({}, description="axes that form a grid, counted as one axis")

    @model_validator(mode="after")
    def _one_way(self) -> Axis:
        ways = [name for name in ("values", "files", "zip", "grid") if getattr(self, name)]
        ways += ["from"] if self.from_ is not None or self.to is not None else []
        if len(ways) != 1:
            got, at = " and ".join(ways) or "no values", (ways or ["values"])[0]
            expected = "one of values, from and to, files, zip, grid"
            raise refuse(got, expected, "an axis needs at least one value", at=at)
        if ways == ["from"] and (self.from_ is None or self.to is None):
            raise refuse("half a range", "from and to", at="from")
        if self.count is not None and self.step is not None:
            raise refuse("count and step", "one of them", at="count")
        return self


AxisOrList = Annotated[Axis, BeforeValidator(_listed)]
Axis.model_rebuild()


class Sampler(Block):
    """Points drawn from the axes instead of their grid; each axis is a range or a list to choose from."""

    method: Literal["sobol", "latin-hypercube", "random", "saltelli"] = Field(
        description="saltelli: the design that Sobol sensitivity indices need"
    )
    points: Count = Field(description="points to draw; of saltelli, the base sample (a power of two)")
    seed: Natural = Field(0, description="equal seeds draw equal points")


class Workload(Block):
    """How the requests of a point are made."""

    requests: Count | None = Field(None, description="first requests of a trace, or how many to draw; none = all")
    rate_scale: Factor = Field(Fraction(1), description="arrivals so many times as fast")
    seed: Natural = Field(0, description="of a recipe; the same for all points unless it is an axis")
    router: Literal["round-robin", "least-loaded"] = Field("round-robin", description="splits requests over replicas")
    failures: Literal["refuse", "drop"] = Field("refuse", description="rows of a file without output tokens")
    isl: Count | None = Field(None, description="prompt tokens of every request of a closed loop")
    osl: Count | None = Field(None, description="output tokens of every request of a closed loop")
    slo: str = Field("", description="objective of the goodput, e.g. ttft=2s,tpot=50ms")


class Base(Block):
    """The point that axes change: a single operator, a trace to replay, or a closed loop of requests."""

    system: Annotated[System, Reference("system")]
    model: Annotated[Model | None, Reference("model")] = Field(None, description="needed to serve")
    plan: Annotated[Plan | None, Reference("plan")] = Field(
        None, description="degrees of parallelism, e.g. {tp: 8}; an operator has its sizes"
    )
    software: Annotated[Software | None, Reference("software")] = Field(
        None, description="vllm to replay a trace, ideal for anything else, unless stated"
    )
    protocol: Annotated[Protocol | None, Reference("protocol")] = Field(None, description="how an operator is timed")
    precision: Literal["", "bf16", "fp16", "fp8", "nvfp4", "int8", "int4"] = Field(
        "", description="of the weights; unset = the chip's type of 16 bits"
    )
    kv_dtype: Literal["", "bf16", "fp16", "fp8"] = Field(
        "", description="of the KV cache; the chip's own unless stated"
    )
    operator: dict[str, Single] = Field({}, description="op, dtype and dimensions, as the columns of `hwsim op`")
    trace: str = Field("", description="request file or recipe to replay")
    recipe: Annotated[Recipe | None, Reference("recipe")] = Field(None, description="a recipe whose numbers are axes")
    concurrency: Count | None = Field(None, description="closed loop of so many users; with a trace, over its lengths")
    workload: Workload = Field(Workload.model_construct(), validate_default=False, description="requests of a point")

    @property
    def points(self) -> Literal["operator", "trace", "concurrency"]:
        """What a point is."""
        return "operator" if self.operator else "trace" if self.trace or self.recipe else "concurrency"

    @model_validator(mode="after")
    def _one_kind(self) -> Base:
        traffic = [name for name in ("trace", "recipe") if getattr(self, name)]
        if self.operator and (traffic or self.concurrency):
            raise refuse("operator beside traffic", "single operators, or requests to serve", at="operator")
        if not self.operator and not traffic and not self.concurrency:
            raise refuse("no kind of points", "operator, trace, recipe or concurrency", at="operator")
        if len(traffic) > 1:
            raise refuse("trace and recipe", "one of them", at="trace")
        if not self.operator and self.model is None:
            raise refuse("requests without a model", "the field 'model'", at="model")
        if self.operator and "op" not in self.operator:
            raise refuse("an operator without op", "op: gemm (or another kind)", at="operator")
        if self.concurrency and not traffic and not (self.workload.isl and self.workload.osl):
            raise refuse("a closed loop without lengths", "isl and osl, or a trace", at="workload")
        return self


class Study(Description):
    """A declared sweep."""

    kind: ClassVar[str] = "study"
    needs_source: ClassVar[bool] = False

    study: str = Field("", description="name of the study")
    base: Base
    axes: dict[str, AxisOrList] = Field(min_length=1, description="by the path each one changes")
    sampler: Sampler | None = Field(None, description="draw points instead of running the grid")
    constraints: list[str] = Field([], description="expressions that points must meet, e.g. plan.tp <= system.count")
    derived: dict[str, str] = Field({}, description="further columns: name -> expression over outputs and paths")
    outputs: list[str] = Field([], description="columns to keep; none = all")
    objectives: dict[str, Literal["min", "max"]] = Field({}, description="columns to optimise")
