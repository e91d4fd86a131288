"""Models on wafers: layers in square regions of cores, one after the other over as many wafers as it takes.

A region holds the layers of a stage: their weights, their keys and values, and the activations of one batch are in the
SRAM of its cores. Head and embedding lie where there is room. Without a plan's word each layer has a region of its own,
the head one as large as its weights ask, and all of them fill the wafers. Larger regions are faster for one token and
hold several layers; their number is the number of batches that can be under way. Tokens cross from the last region of a
wafer to the next wafer, and from the last wafer back to the first, which has the embedding.

A plan may name other regions for prompts than for decodes; one that names one alone means both. The model is on the
wafers once, so it has to fit either way, and is laid out anew when steps of the other phase follow: those under way end
first, then half of the bytes cross the middle of the wafer, one link a row.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import isqrt

import numpy as np

from hwsim.describe import wafer
from hwsim.describe.model import Model
from hwsim.errors import Fault, InputError, bad
from hwsim.operators.mapper.wafer.machine import Machine
from hwsim.serving.layers import (
    AttentionShape,
    Span,
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
    decode, prefill = _sides(question, machine, model, wafers)
    blocks = _kv_blocks(question, machine, model, wafers)
    weights = ceil_div(weight_bytes(model, 1, precision), wafers)
    carry = crossing(model, precision, wide)
    tokens = token_uses(model, 1, precision, wide)
    return Placement(
        tp=1,
        devices=wafers,
        replicas=system.count // wafers,
        attention=_attention(question, model),
        decode=_phase(machine, model, wafers, decode),
        prefill=_phase(machine, model, wafers, prefill),
        tokens=(*tokens, carry) if wafers > 1 else tuple(tokens),
        sequences=tuple(sequence_uses(model, 1, precision, wide)),
        weight_bytes=weights,
        kv_bytes=blocks * _block_bytes(question, model, model.layers) // wafers,
        kv_blocks=blocks,
        change_ps=0 if decode == prefill else _change_ps(machine, weights),
    )


def stored(model: Model, kernels: wafer.Kernels) -> Model:
    """The model as a stack keeps it: with whole heads, every query head has keys and values of its own."""
    return model.model_copy(update={"kv_heads": model.heads}) if kernels.whole_heads else model


def side_of(cores: int, model: Model, wafers: int) -> int:
    """Cores on a side of a region when the layers and the head share all cores by their weights."""
    layer = model.hidden * (2 * model.heads + 2 * model.kv_heads) * model.head_dim + model.ffn_params
    regions = model.layers + Fraction(model.vocab * model.hidden, layer)
    return max(isqrt(int(cores * wafers / regions)), 1)


def _sides(question: Question, machine: Machine, model: Model, wafers: int) -> tuple[int, int]:
    """Cores on a side of a region of decodes, of prompts; without a word all layers get regions of their own."""
    plan = question.plan
    decode, prefill = plan.decode_region or plan.prefill_region, plan.prefill_region or plan.decode_region
    if decode and prefill:
        return decode[0], prefill[0]
    most = isqrt(machine.cores // ceil_div(model.layers, wafers))
    own = max(min(side_of(machine.cores, model, wafers), most), 1)
    return own, own


def _stages(machine: Machine, model: Model, wafers: int, side: int) -> int:
    """Regions that hold layers."""
    return min(max(machine.cores // side**2, 1) * wafers, model.layers)


def _change_ps(machine: Machine, weights: int) -> int:
    """Time in which a wafer's weights go to their places of the other phase."""
    across = ceil_div(ceil_div(weights, 2), int(machine.largest * machine.fabric)) + 2 * machine.largest * machine.hop
    return int(machine.ps(np.array([across]))[0])


def _phase(machine: Machine, model: Model, wafers: int, side: int) -> Phase:
    """Steps on regions of a size; the stages are the regions that hold layers."""
    stages = _stages(machine, model, wafers, side)
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
        _check_regions(question, machine, model, choices[-1])
        raise _refusal(question, machine, model, choices[-1])
    return fits[0]


def _attention(question: Question, model: Model) -> AttentionShape:
    return attention_shape(model, 1, question.precision, question.kv_dtype, question.machine.wide)


def _block_bytes(question: Question, model: Model, layers: int) -> int:
    return block_bytes(_attention(question, model), layers, question.software.scheduler)


def _room(question: Question, machine: Machine, model: Model, wafers: int) -> int:
    """SRAM of all wafers that activations and logits leave."""
    scheduler = question.software.scheduler
    regions = max(_stages(machine, model, wafers, side) for side in _sides(question, machine, model, wafers))
    work = regions * _work(question, model) + logit_bytes(model, scheduler)
    return int(machine.room * scheduler.memory_fraction) * wafers - work


def _work(question: Question, model: Model) -> int:
    """Activations of a step in a region: the residual and the product under way."""
    return activation_bytes(model, question.software.scheduler, _attention(question, model), 1, streamed=True)


def _region(question: Question, machine: Machine, model: Model, wafers: int, side: int) -> tuple[int, int, int]:
    """Layers of the fullest region, bytes of their weights, SRAM that activations leave to these, keys and values."""
    layers = ceil_div(model.layers, _stages(machine, model, wafers, side))
    room = int(machine.sram * side**2 * question.software.scheduler.memory_fraction) - _work(question, model)
    return layers, weight_bytes(model, 1, question.precision, Span(layers, False, False)), room


def _region_blocks(question: Question, machine: Machine, model: Model, wafers: int, side: int) -> int:
    """KV blocks that have room in the fullest region."""
    layers, weights, room = _region(question, machine, model, wafers, side)
    return (room - weights) // _block_bytes(question, model, layers)


def _kv_blocks(question: Question, machine: Machine, model: Model, wafers: int) -> int:
    """KV blocks that have room: in the regions of either phase, and on the wafers beside all weights."""
    free = _room(question, machine, model, wafers) - weight_bytes(model, 1, question.precision)
    sides = set(_sides(question, machine, model, wafers))
    inside = (_region_blocks(question, machine, model, wafers, side) for side in sides)
    return min(free // _block_bytes(question, model, model.layers), *inside)


def _fits(question: Question, machine: Machine, model: Model, wafers: int) -> bool:
    """Whether there is room for a KV block beside the null block."""
    return _kv_blocks(question, machine, model, wafers) >= LEAST_BLOCKS


def _check_regions(question: Question, machine: Machine, model: Model, wafers: int) -> None:
    """Refuse named regions that do not hold their layers, where some others would."""
    for name in ("decode_region", "prefill_region"):
        named = getattr(question.plan, name)
        if not named or _region_blocks(question, machine, model, wafers, named[0]) >= LEAST_BLOCKS:
            continue
        layers, weights, room = _region(question, machine, model, wafers, named[0])
        holds = (side for side in range(1, machine.largest + 1)
                 if _region_blocks(question, machine, model, wafers, side) >= LEAST_BLOCKS)  # fmt: skip
        least = min(holds, key=lambda side: (abs(side - named[0]), side), default=0)
        if least:
            work = _work(question, model)
            got = f"{name}={named[0]}x{named[1]}, {(room + work) / 1e9:.3g} GB of SRAM"
            want = f"room for {layers} layer{'s' * (layers > 1)}, {weights / 1e9:.3g} GB of {question.precision}, "
            want += f"for activations of {work / 1e9:.3g} GB and for one KV block"
            raise bad("--plan", got, want, f"e.g. {name}={least}x{least}, or no region")


def _refusal(question: Question, machine: Machine, model: Model, wafers: int) -> InputError:
    chip = question.system.accelerator
    most = chip.links.scale_up.devices
    more = (count for count in range(wafers + 1, most + 1) if _fits(question, machine, model, count))
    cures = [f"pp={count} on {chip.id}-x{count}" for count in (next(more, 0),) if count]
    cures += smaller(question, lambda changed: _fits(changed, machine, model, wafers))
    cures += _smaller_budget(question, machine, model, wafers)
    where = f"on {wafers} wafer{'s' * (wafers > 1)}"
    need = weight_bytes(model, 1, question.precision)
    return does_not_fit(question, need, where, _room(question, machine, model, wafers), cures)


def _smaller_budget(question: Question, machine: Machine, model: Model, wafers: int) -> list[str]:
    """The largest budget, halved again and again, whose activations would leave room, as it is asked for, or none."""
    scheduler = question.software.scheduler
    budget = scheduler.token_budget // 2
    while budget:
        fewer = scheduler.model_copy(update={"token_budget": budget})
        software = question.software.model_copy(update={"scheduler": fewer})
        if _fits(replace(question, software=software), machine, model, wafers):
            return [f"--token-budget {budget}"]
        budget //= 2
    return []
