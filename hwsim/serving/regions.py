"""Models on wafers: layers in square regions of cores, one after the other over as many wafers as it takes.

A region holds the layers of a stage. Without a plan's word each layer has a region of its own, the head one as large as
its weights ask, and all of them fill the wafers. Larger regions are faster for one token and hold several layers; their
number is the number of batches that can be under way. Tokens cross from the last region of a wafer to the next wafer,
and from the last wafer back to the first, which has the embedding.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import isqrt

from hwsim.describe import wafer
from hwsim.describe.model import Model
from hwsim.errors import Fault, InputError, bad
from hwsim.operators.mapper.wafer.machine import Machine
from hwsim.serving.layers import Span, attention_shape, crossing, sequence_uses, token_uses, weight_bytes
from hwsim.serving.plan import Phase, Placement, Question
from hwsim.serving.spread import split, workspace_bytes


def place(question: Question) -> Placement:
    """Placement of a model over the regions of wafers; see `hwsim.serving.plan.place`."""
    machine, system = question.machine, question.system
    assert isinstance(machine, Machine) and isinstance(machine.kernels, wafer.Kernels)
    _check(question, machine)
    model = stored(question.model, machine.kernels)
    wafers = _wafers(question, machine, model)
    shape = attention_shape(model, 1, question.precision, question.kv_dtype)
    kv = _kv_bytes(question, machine, model, wafers)
    carry = crossing(model, question.precision)
    tokens = token_uses(model, 1, question.precision)
    return Placement(
        tp=1,
        devices=wafers,
        replicas=system.count // wafers,
        attention=shape,
        decode=_phase(question, machine, model, wafers, question.plan.decode_region),
        prefill=_phase(question, machine, model, wafers, question.plan.prefill_region),
        tokens=(*tokens, carry) if wafers > 1 else tuple(tokens),
        sequences=tuple(sequence_uses(model, 1, question.precision)),
        weight_bytes=-(-weight_bytes(model, 1, question.precision) // wafers),
        kv_bytes=kv // wafers,
        kv_blocks=kv // _block_bytes(question, model),
    )


def stored(model: Model, kernels: wafer.Kernels) -> Model:
    """The model as a stack keeps it: with whole heads, every query head has keys and values of its own."""
    return model.model_copy(update={"kv_heads": model.heads}) if kernels.whole_heads else model


def side_of(cores: int, model: Model, wafers: int) -> int:
    """Cores on a side of a region when the layers and the head share all cores by their weights."""
    layer = model.hidden * (2 * model.heads + 2 * model.kv_heads) * model.head_dim + model.ffn_params
    regions = model.layers + Fraction(model.vocab * model.hidden, layer)
    return max(isqrt(int(cores * wafers / regions)), 1)


def _phase(question: Question, machine: Machine, model: Model, wafers: int, region: tuple[int, int] | None) -> Phase:
    """Steps on regions of a size; the stages are the regions that hold layers."""
    side = region[0] if region else side_of(machine.cores, model, wafers)
    stages = min(max(machine.cores // side**2, 1) * wafers, model.layers)
    carry = "send" if wafers > 1 else ""
    spans = split(model.layers, stages, "")
    last = [(stage + 1) * wafers // stages > stage * wafers // stages for stage in range(stages)]
    return Phase(machine.on(side), tuple(replace(span, crossing=carry * end) for span, end in zip(spans, last)))


def _check(question: Question, machine: Machine) -> None:
    plan, faults = question.plan, []
    for name in ("tp", "ep"):
        if getattr(plan, name) != 1:
            got, cure = f"{name}={getattr(plan, name)}", "say pp=WAFERS, or nothing"
            faults.append(Fault("--plan", got, f"{name}=1: wafers hold different layers", cure))
    for name in ("prefill_region", "decode_region"):
        region = getattr(plan, name)
        if region and (region[0] != region[1] or region[0] > machine.largest):
            most = f"a square of at most {machine.largest}x{machine.largest} cores"
            faults.append(Fault("--plan", f"{name}={region[0]}x{region[1]}", most, f"e.g. {name}=400x400"))
    if faults:
        raise InputError(faults)


def _wafers(question: Question, machine: Machine, model: Model) -> int:
    """Wafers of a replica: what the plan says, or as few as hold the model and divide the system."""
    plan, count = question.plan, question.system.count
    if plan.pp > 1 or plan.dp:
        wafers = plan.pp if plan.pp > 1 else max(count // (plan.dp or 1), 1)
        if wafers * (plan.dp or max(count // wafers, 1)) != count:
            got = f"pp={plan.pp}" + (f",dp={plan.dp}" if plan.dp else "")
            expected = f"pp x dp = {count}, the wafers of {question.system.id}"
            raise bad("--plan", got, expected, "wafers may not be left over")
        choices = [wafers]
    else:
        choices = [wafers for wafers in range(1, count + 1) if count % wafers == 0]
    fits = [wafers for wafers in choices if _fits(question, machine, model, wafers)]
    if not fits:
        raise _does_not_fit(question, machine, model, choices[-1])
    return fits[0]


def _block_bytes(question: Question, model: Model) -> int:
    shape = attention_shape(model, 1, question.precision, question.kv_dtype)
    return shape.kv_bytes_per_token * question.software.scheduler.block_tokens


def _kv_bytes(question: Question, machine: Machine, model: Model, wafers: int, precision: str = "") -> int:
    """SRAM of all wafers that weights and activations leave."""
    scheduler = question.software.scheduler
    room = int(machine.room * scheduler.memory_fraction) * wafers
    work = workspace_bytes(model, 1, scheduler, Span(model.layers))
    return room - weight_bytes(model, 1, precision or question.precision) - work


def _fits(question: Question, machine: Machine, model: Model, wafers: int, precision: str = "") -> bool:
    """Whether there is room for a KV block beside the null block."""
    return _kv_bytes(question, machine, model, wafers, precision) >= 2 * _block_bytes(question, model)


def _does_not_fit(question: Question, machine: Machine, model: Model, wafers: int) -> InputError:
    chip, precision = question.system.accelerator, question.precision
    most = chip.links.scale_up.devices
    more = (count for count in range(wafers + 1, most + 1) if _fits(question, machine, model, count))
    cures = [f"pp={count} on {chip.id}-x{count}" for count in (next(more, 0),) if count]
    smaller = ("fp8", "int8", "int4")
    cures += [p for p in smaller if p in machine.tensor and _fits(question, machine, model, wafers, p)][:1]
    cure = "it would fit with " + " or ".join(cures) if cures else "use a smaller model"
    need = weight_bytes(model, 1, precision)
    room = _kv_bytes(question, machine, model, wafers) + need
    words = f"{wafers} wafer" + "s" * (wafers > 1)
    got = f"{need / 1e9:.1f} GB of {precision} weights on {words}"
    expected = f"at most {room / 1e9:.1f} GB beside the activations and one KV block"
    return bad(f"{question.system.id} {question.model.id}", got, expected, cure)
