"""`hwsim.compile`: a system, a model, a plan and a software stack become all that a replay needs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from os import PathLike
from typing import Any, TypeVar

from hwsim.describe import load
from hwsim.describe.block import Description
from hwsim.describe.device import Device
from hwsim.describe.kinds import starting
from hwsim.describe.model import Model
from hwsim.describe.plan import Plan
from hwsim.describe.routing import EXPECTED, distribution
from hwsim.describe.software import Software
from hwsim.describe.system import System
from hwsim.errors import bad, check_type
from hwsim.operators.machine import Machine
from hwsim.serving.costs import CostTables, Keep
from hwsim.serving.layers import Routing
from hwsim.serving.plan import Placement, Question, place

Kind = TypeVar("Kind", bound=Description)

ROOTS = ("system", "model", "plan", "software")
STARTS = {"system.": "system", "system.accelerator.": "accelerator", **{f"{root}.": root for root in ROOTS[1:]}}
PRECISIONS = ("bf16", "fp16", "fp8", "nvfp4", "int8", "int4")
KV_DTYPES = ("bf16", "fp16", "fp8")
DEGREES = ("tp", "pp", "dp", "ep")
REGIONS = ("prefill_region", "decode_region")


@dataclass(frozen=True)
class Deployment:
    """A compiled deployment; `hwsim.replay` runs requests on it.

    Attributes
    ----------
    system, model, plan, software
        Resolved descriptions.
    precision, kv_dtype : str
        Of the weights, of the KV cache.
    placement : Placement
        What each device holds.
    costs : CostTables
        Simulated samples of every operator, filled as a replay asks for them.
    defaults : dict of str to str
        Every choice that nobody made, in words.
    sets : tuple of str
        Overrides it was compiled with.
    """

    system: System
    model: Model
    plan: Plan
    software: Software
    precision: str
    kv_dtype: str
    placement: Placement
    costs: CostTables
    defaults: dict[str, str] = field(default_factory=dict)
    sets: tuple[str, ...] = ()


def compile(
    system: str | System,
    model: str | Model,
    plan: str | Plan = "",
    software: str | Software = "vllm",
    *,
    precision: str | None = None,
    kv_dtype: str | None = None,
    max_num_seqs: int | None = None,
    token_budget: int | None = None,
    sets: Sequence[str] = (),
) -> Deployment:
    """Compile a deployment.

    Parameters
    ----------
    system, model, software : str or description
        Names ("h100-sxm-x8", "llama-3.1-70b", "vllm"), files, or loaded descriptions.
    plan : str or Plan
        "tp=8", "tp=4,pp=2", "tp=4,dp=2"; empty = one device a replica.
    precision : {"bf16", "fp16", "fp8", "nvfp4", "int8", "int4"}, optional
        Of the weights; the chip's type of 16 bits unless stated.
    kv_dtype : {"bf16", "fp16", "fp8"}, optional
        Of the KV cache; the chip's type of 16 bits unless stated.
    max_num_seqs, token_budget : int, optional
        Of the scheduler; the software profile's unless stated.
    sets : sequence of str
        Overrides "system.accelerator.clocks.core=1.5 GHz" at system, model, plan or software.

    Raises
    ------
    InputError
        A description is wrong, the plan does not divide, the model does not fit.
    """
    among("--precision", precision or "bf16", PRECISIONS)
    among("--kv-dtype", kv_dtype or "bf16", KV_DTYPES)
    changes = _by_root(sets)
    for name, value in (("max_num_seqs", max_num_seqs), ("token_budget", token_budget)):
        if value is not None:
            check_type(name, value, int, "a whole number")
            if value < 1:
                raise bad(name, value, "a whole number from 1 on")
            changes["software"].append(f"scheduler.{name}={value}")
    the_system = _loaded(system, System, changes["system"])
    the_model = _loaded(model, Model, changes["model"])
    the_software = _loaded(software, Software, changes["software"])
    check_type("plan", plan, (str, Plan), "a plan such as 'tp=8', or a loaded plan")
    the_plan = parse_plan(plan, changes["plan"]) if isinstance(plan, str) else plan
    if not the_software.serves:
        cure = f"{the_software.name} serves no requests: choose vllm, trtllm or ideal"
        raise bad("--software", the_software.id, "the profile of a server", cure)
    made = deploy(the_system, the_model, the_software, the_plan, precision or "", kv_dtype or "")
    defaults = {} if precision else {"precision": made.precision}
    defaults |= {} if kv_dtype else {"kv dtype": made.kv_dtype}
    if the_model.experts and the_plan.routing is None:
        defaults["routing"] = f"{Routing.distribution}: tokens choose experts with equal chance"
    if made.placement.offload is not None:
        defaults["offload"] = f"one {made.placement.offload.device.id} a chip, nothing shared"
    if the_model.sliding_window:
        defaults["attention"] = f"full: the model's window of {the_model.sliding_window} keys is not simulated"
    return replace(
        made, sets=tuple(sets), defaults=defaults | _scheduler_defaults(made.software, max_num_seqs, token_budget)
    )


def deploy(
    system: System,
    model: Model,
    software: Software,
    plan: Plan,
    precision: str,
    kv_dtype: str,
    keep: Keep = lambda key, make: make(),
    machine: Machine | None = None,
) -> Deployment:
    """A deployment of loaded descriptions; `compile` is the way in from names. Types left empty have 16 bits.

    `keep` shares tables between deployments: see `CostTables.of`. `machine` is of software that has the same kernels.
    """
    machine = machine or Machine.of(system.accelerator, software, "in-model")
    precision, kv_dtype = precision or machine.weights, kv_dtype or machine.wide
    if precision not in machine.tensor:
        raise bad("--precision", f"'{precision}' on {machine.accelerator}", "one of " + ", ".join(machine.tensor))
    software = _paced(software, system)
    placement = place(Question(system, model, plan, software, precision, kv_dtype, machine))
    costs = CostTables.of(placement, software, keep)
    return Deployment(system, model, plan, software, precision, kv_dtype, placement, costs)


def _paced(software: Software, system: System) -> Software:
    """The profile with the chunks that suit where the weights lie."""
    scheduler = software.scheduler
    if system.accelerator.home == "hbm" or scheduler.resident_budget is None:
        return software
    budget = min(scheduler.token_budget, scheduler.resident_budget)
    return software.model_copy(update={"scheduler": scheduler.model_copy(update={"token_budget": budget})})


def parse_plan(text: str, sets: Iterable[str] = ()) -> Plan:
    """A plan written "tp=8,pp=2", or the name of a plan file."""
    if text and "=" not in text:
        return _loaded(text, Plan, list(sets))
    values: dict[str, Any] = {}
    for part in [*text.split(","), *sets] if text else list(sets):
        name, _, written = part.strip().partition("=")
        if name in values:
            raise bad("--plan", repr(part), "each degree once")
        values[name] = _degree(name, written, part)
    return Plan(**values)


def _degree(name: str, written: str, part: str) -> int | str | Device:
    """A count, a region "660x660", a device, or the name of a routing, as the plan takes it."""
    if name in REGIONS:
        if not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", written):
            raise bad("--plan", repr(part), "a region of cores, rows x columns", f"e.g. {name}=660x660")
        return written
    if name == "routing":
        if distribution(written) is None:
            raise bad("--plan", repr(part), "routing=" + EXPECTED)
        return written
    if name == "offload":
        return _loaded(written, Device, [])
    if name not in (*DEGREES, "offload_layers") or not written.isdecimal():
        raise bad(
            "--plan",
            repr(part),
            "tp=COUNT, dp=COUNT, pp=COUNT, ep=COUNT, routing=NAME or offload=DEVICE, joined by commas",
            "e.g. tp=8",
        )
    if not (name in DEGREES) <= int(written) <= 1 << 20:
        raise bad("--plan", repr(part), f"a degree from 1 to {1 << 20}")
    return int(written)


def _loaded(what: str | Kind, cls: type[Kind], sets: list[str]) -> Kind:
    check_type(cls.kind, what, (str, PathLike, cls), f"the name of a {cls.kind}, its file, or a loaded {cls.kind}")
    if isinstance(what, str | PathLike):
        found = load(str(what), cls.kind, sets)
        assert isinstance(found, cls)
        return found
    if sets:
        cure = "override while loading: hwsim.load(name, sets=[...])"
        raise bad("sets", ", ".join(sets), f"a {cls.kind} given by name", cure)
    return what


def _by_root(sets: Sequence[str]) -> dict[str, list[str]]:
    changes: dict[str, list[str]] = {root: [] for root in ROOTS}
    check_type("sets", sets, (list, tuple), "a list of overrides such as ['model.layers=40']")
    for text in sets:
        check_type("sets", text, str, "an override such as 'model.layers=40'")
        root, dot, rest = text.partition(".")
        if root not in ROOTS or not dot:
            near = starting(text, STARTS)
            cure = f"did you mean {near!r}?" if near else "e.g. system.accelerator.clocks.core='1.5 GHz'"
            raise bad("--set", repr(text), "a path that starts at " + ", ".join(ROOTS), cure)
        changes[root].append(rest)
    return changes


def among(option: str, value: str, allowed: Iterable[str]) -> None:
    """Refuse a choice that is none of the allowed."""
    if value not in allowed:
        raise bad(option, repr(value), "one of " + ", ".join(allowed))


def _scheduler_defaults(software: Software, max_num_seqs: int | None, token_budget: int | None) -> dict[str, str]:
    scheduler = software.scheduler
    defaults = {
        "block": f"{scheduler.block_tokens} tokens",
        "memory fraction": f"{float(scheduler.memory_fraction):.2f}",
        "scheduler": f"{scheduler.kind}, {scheduler.async_depth} steps in flight, reserve {scheduler.reserve}",
    }
    if max_num_seqs is None:
        defaults["max num seqs"] = str(scheduler.max_num_seqs)
    if token_budget is None:
        defaults["token budget"] = str(scheduler.token_budget)
    return defaults
