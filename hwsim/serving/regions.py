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
from hwsim.serving.layers import (
    AttentionShape,
    attention_shape,
    crossing,
    sequence_uses,
    token_uses,
    weight_bytes,
)
from hwsim.serving.plan import Phase, Placement, Question
from hwsim.serving.room import (
    LEAST_BLOCKS,
    activation_bytes,
    block_bytes,
    does_not_fit,
    logit_bytes,
    refuse_words,
    smaller,
)
from hwsim.serving.spread import split
from hwsim.units import ceil_div


def place(question: Question) -> Placement:
    """Placement of a model over the regions of wafers; see `hwsim.serving.plan.place`."""
    machine, system = question.machine, question.system
    assert isinstance(machine, Machine) and isinstance(machine.kernels, wafer.Kernels)
    _check(question, machine)
    model = stored(question.model, machine.kernels)
    wafers = _wafers(question, machine, model)
    precision, wide = question.precision, machine.wide
    kv = _kv_bytes(question, machine, model, wafers)
    carry = crossing(model, precision, wide)
    tokens = token_uses(model, 1, precision, wide)
    return Placement(
        tp=1,
        devices=wafers,
        replicas=system.count // wafers,
        attention=_attention(question, model),
        decode=_phase(question, machine, model, wafers, question.plan.decode_region),
        prefill=_phase(question, machine, model, wafers, question.plan.prefill_region),
        tokens=(*tokens, carry) if wafers > 1 else tuple(tokens),
        sequences=tuple(sequence_uses(model, 1, precision, wide)),
        weight_bytes=ceil_div(weight_bytes(model, 1, precision), wafers),
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
    plan = question.plan
    faults = refuse_words(question, ("pp", "regions"), "wafers hold different layers: say pp=WAFERS, or nothing")
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
        raise _refusal(question, machine, model, choices[-1])
    return fits[0]


def _attention(question: Question, model: Model) -> AttentionShape:
    return attention_shape(model, 1, question.precision, question.kv_dtype, question.machine.wide)


def _block_bytes(question: Question, model: Model) -> int:
    return block_bytes(_attention(question, model), model.layers, question.software.scheduler)


def _room(question: Question, machine: Machine, model: Model, wafers: int) -> int:
    """SRAM of all wafers that activations leave."""
    scheduler, shape = question.software.scheduler, _attention(question, model)
    work = activation_bytes(model, scheduler, shape, 1, streamed=False) + logit_bytes(model, scheduler)
    return int(machine.room * scheduler.memory_fraction) * wafers - work


def _kv_bytes(question: Question, machine: Machine, model: Model, wafers: int) -> int:
    """SRAM of all wafers that weights and activations leave."""
    return _room(question, machine, model, wafers) - weight_bytes(model, 1, question.precision)


def _fits(question: Question, machine: Machine, model: Model, wafers: int) -> bool:
    """Whether there is room for a KV block beside the null block."""
    return _kv_bytes(question, machine, model, wafers) >= LEAST_BLOCKS * _block_bytes(question, model)


def _refusal(question: Question, machine: Machine, model: Model, wafers: int) -> InputError:
    chip = question.system.accelerator
    most = chip.links.scale_up.devices
    more = (count for count in range(wafers + 1, most + 1) if _fits(question, machine, model, count))
    cures = [f"pp={count} on {chip.id}-x{count}" for count in (next(more, 0),) if count]
    cures += smaller(question, lambda changed: _fits(changed, machine, model, wafers))
    where = f"on {wafers} wafer{'s' * (wafers > 1)}"
    need = weight_bytes(model, 1, question.precision)
    return does_not_fit(question, need, where, _room(question, machine, model, wafers), cures)
