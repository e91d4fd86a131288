"""Tensor and pipeline parallelism: groups of tp devices, each with the layers of one stage.

Layers that do not divide go one each to the stages before the last, the last of them first, since the last stage has
the head (vLLM, `get_pp_indices`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import prod

from hwsim.describe.model import Model
from hwsim.describe.plan import Plan
from hwsim.describe.software import Scheduler
from hwsim.describe.system import System
from hwsim.errors import Fault, InputError, bad
from hwsim.serving.layers import Span, attention_shape, crossing, sequence_uses, token_uses, weight_bytes
from hwsim.serving.plan import Phase, Placement, Question


def place(question: Question) -> Placement:
    """Placement of a model over groups of equal devices; see `hwsim.serving.plan.place`."""
    system, model, plan, scheduler = question.system, question.model, question.plan, question.software.scheduler
    _check_divides(system, model, plan)
    carry = crossing(model, question.precision)
    crossings = (carry,) if plan.pp > 1 else ()
    spans = split(model.layers, plan.pp, carry.name)
    shares = [_share(question, plan, span) for span in spans]
    if min(share.blocks for share in shares) < 2:  # one block is the null block
        raise _does_not_fit(question)
    least = min(shares, key=lambda share: share.blocks)
    phase = Phase(question.machine, spans)
    return Placement(
        tp=plan.tp,
        devices=plan.tp * plan.pp,
        replicas=plan.dp or system.active // (plan.tp * plan.pp),
        attention=attention_shape(model, plan.tp, question.precision, question.kv_dtype),
        decode=phase,
        prefill=phase,
        tokens=(*token_uses(model, plan.tp, question.precision), *crossings),
        sequences=tuple(sequence_uses(model, plan.tp, question.precision)),
        weight_bytes=max(share.weights for share in shares),
        kv_bytes=least.room(system, scheduler),
        kv_blocks=least.blocks,
    )


def split(layers: int, stages: int, carry: str) -> tuple[Span, ...]:
    """Spans of `stages` stages joined by the operator `carry`.

    Examples
    --------
    >>> [span.layers for span in split(14, 4, "send")]
    [3, 4, 4, 3]
    """
    counts = [layers // stages] * stages
    for behind in range(2, layers % stages + 2):
        counts[-behind] += 1
    last = stages - 1
    return tuple(
        Span(count, embedding=at == 0, head=at == last, crossing="" if at == last else carry)
        for at, count in enumerate(counts)
    )


@dataclass(frozen=True)
class _Share:
    """Bytes of one device of a stage."""

    weights: int
    workspace: int
    block: int
    blocks: int

    def room(self, system: System, scheduler: Scheduler) -> int:
        """For the KV cache."""
        return budget_bytes(system, scheduler) - self.weights - self.workspace


def _share(question: Question, plan: Plan, span: Span, precision: str = "") -> _Share:
    """What a device of a stage holds."""
    model, scheduler = question.model, question.software.scheduler
    precision = precision or question.precision
    layer = attention_shape(model, plan.tp, precision, question.kv_dtype)
    block = replace(layer, count=max(span.layers, 1)).kv_bytes_per_token * scheduler.block_tokens
    share = _Share(
        weight_bytes(model, plan.tp, precision, span), workspace_bytes(model, plan.tp, scheduler, span), block, 0
    )
    return replace(share, blocks=share.room(question.system, scheduler) // block)


def budget_bytes(system: System, scheduler: Scheduler) -> int:
    """Memory of a device that the server may use."""
    return int(system.accelerator.room * scheduler.memory_fraction)


def workspace_bytes(model: Model, tp: int, scheduler: Scheduler, span: Span) -> int:
    """Peak of activations: the residual, its norm and the widest product of a full step, and the logits in fp32.

    What a serving stack measures in its profiling run before it sizes the KV cache; counted here from the dimensions.
    """
    widest = max(3 * model.ffn // tp, (model.heads + 2 * model.kv_heads) * model.head_dim // tp)
    logits = scheduler.max_num_seqs * model.vocab * 4 * span.head
    return scheduler.token_budget * (2 * model.hidden + widest) * 2 + logits


def _check_divides(system: System, model: Model, plan: Plan) -> None:
    faults = []

    def refuse(got: str, expected: str, cure: str) -> None:
        faults.append(Fault("--plan", got, expected, cure))

    if plan.ep != 1:
        refuse(f"ep={plan.ep}", "ep=1", f"{model.id} has no experts")
    for name in ("prefill_region", "decode_region"):
        if getattr(plan, name) is not None:
            refuse(name, "no region", f"{system.accelerator.id} is no wafer: leave it out")
    if plan.pp > model.layers:
        refuse(f"pp={plan.pp}", f"at most {model.layers} stages, one a layer", "choose a smaller pp")
    if model.heads % plan.tp:
        fits = [n for n in range(1, system.count + 1) if model.heads % n == 0 and model.ffn % n == 0]
        refuse(f"tp={plan.tp}", f"a divisor of {model.heads} query heads", f"try tp={fits[-1]}")
    elif model.ffn % plan.tp:
        refuse(f"tp={plan.tp}", f"a divisor of the feed-forward width {model.ffn}", "choose a smaller tp")
    elif max(model.kv_heads, plan.tp) % min(model.kv_heads, plan.tp):
        refuse(f"tp={plan.tp}", f"a divisor or a multiple of {model.kv_heads} KV heads", "choose another tp")
    degrees = {"tp": plan.tp} | ({"pp": plan.pp} if plan.pp > 1 else {})
    group = prod(degrees.values())
    degrees |= {"dp": plan.dp} if plan.dp else {}
    if group * (plan.dp or max(1, system.active // group)) != system.active:
        words = " x ".join(("tp", "pp", "dp") if plan.pp > 1 else ("tp", "dp"))
        want = f"{words} = {system.active}, the devices of {system.id}"
        refuse(",".join(f"{name}={value}" for name, value in degrees.items()), want, "devices may not be left over")
    if faults:
        raise InputError(faults)


def _fits(question: Question, plan: Plan, precision: str = "") -> bool:
    """Whether every stage has room for its weights and one KV block."""
    spans = split(question.model.layers, plan.pp, "send")
    return all(_share(question, plan, span, precision).blocks >= 2 for span in spans)


def _other_plans(question: Question) -> Iterator[Plan]:
    """Plans of more devices a replica, the fewest first, and of these the most for each matrix."""
    model, plan = question.model, question.plan
    for devices in range(plan.tp * plan.pp + 1, question.system.accelerator.links.scale_up.devices + 1):
        for pp in range(plan.pp, min(devices // plan.tp, model.layers) + 1):
            tp, rest = divmod(devices, pp)
            if not rest and tp >= plan.tp and _divides(model, tp):
                yield Plan(tp=tp, pp=pp)


def _divides(model: Model, tp: int) -> bool:
    kv_divides = max(model.kv_heads, tp) % min(model.kv_heads, tp) == 0
    return model.heads % tp == 0 and model.ffn % tp == 0 and kv_divides


def _does_not_fit(question: Question) -> InputError:
    system, model, plan, chip = question.system, question.model, question.plan, question.system.accelerator
    scheduler, precision = question.software.scheduler, question.precision
    share = max((_share(question, plan, span) for span in split(model.layers, plan.pp, "")), key=lambda s: s.weights)
    cures = [
        _written(other) + (f" on {chip.id}-x{other.tp * other.pp}" if other.tp * other.pp > system.count else "")
        for other in _other_plans(question)
        if _fits(question, other)
    ][:1]
    cures += [
        p for p in ("fp8", "int4") if p != precision and p in chip.units.tensor.per_cycle and _fits(question, plan, p)
    ][:1]
    cure = "it would fit with " + " or ".join(cures) if cures else "use a larger device or a smaller model"
    got = f"{share.weights / 1e9:.1f} GB of {precision} weights a device under {_written(plan)}"
    room = budget_bytes(system, scheduler) - share.workspace
    expected = f"at most {room / 1e9:.1f} GB beside the activations and one KV block"
    return bad(f"{system.id} {model.id}", got, expected, cure)


def _written(plan: Plan) -> str:
    return f"tp={plan.tp}" + (f",pp={plan.pp}" if plan.pp > 1 else "")
