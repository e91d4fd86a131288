"""Tensor and pipeline parallelism: groups of tp devices, each with the layers of one stage.

Layers that do not divide go one each to the stages before the last, the last of them first, since the last stage has
the head (vLLM, `get_pp_indices`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from math import prod

from hwsim.describe import load
from hwsim.describe.model import Model
from hwsim.describe.plan import Plan
from hwsim.errors import Fault, InputError, bad
from hwsim.serving.layers import Routing, Span, attention_shape, crossing, sequence_uses, token_uses
from hwsim.serving.offload import Offload, offloaded, resident_bytes
from hwsim.serving.plan import Phase, Placement, Question
from hwsim.serving.room import (
    LEAST_BLOCKS,
    activation_bytes,
    block_bytes,
    budget_bytes,
    does_not_fit,
    logit_bytes,
    refuse_words,
    smaller,
    would_fit,
)
from hwsim.units import ceil_div

EXAMPLE = "host-dram-pcie-5"  # what a model that does not fit is offered to spill into


def place(question: Question) -> Placement:
    """Placement of a model over groups of equal devices; see `hwsim.serving.plan.place`."""
    system, model, plan = question.system, question.model, question.plan
    precision, wide = question.precision, question.machine.wide
    _check_plan(question)
    carry = crossing(model, precision, wide)
    crossings = (carry,) if plan.pp > 1 else ()
    behind = None if plan.offload is None else Offload.of(plan.offload, system.accelerator)
    spans = _stages(question, plan, carry.name)
    shares = [_share(question, plan, span) for span in spans]
    if not _fits(question, plan):
        raise _refusal(question)
    least = min(shares, key=lambda share: share.blocks)
    phase = Phase(question.machine, spans)
    return Placement(
        tp=plan.tp,
        devices=plan.tp * plan.pp,
        replicas=plan.dp or system.active // (plan.tp * plan.pp),
        attention=attention_shape(model, plan.tp, precision, question.kv_dtype, wide),
        decode=phase,
        prefill=phase,
        tokens=(*token_uses(model, plan.tp, precision, wide, Routing.of(plan)), *crossings),
        sequences=tuple(sequence_uses(model, plan.tp, precision, wide)),
        weight_bytes=max(share.weights for share in shares),
        kv_bytes=least.room - least.weights,
        kv_blocks=least.blocks,
        offload=behind,
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


def _stages(question: Question, plan: Plan, carry: str) -> tuple[Span, ...]:
    """The same of a model, whose first layers may be those without experts, and whose layers may lie behind a link."""
    model = question.model
    spans = split(model.layers, plan.pp, carry)
    if model.experts is not None:
        ends = accumulate(span.layers for span in spans)
        spans = tuple(
            replace(span, dense=min(max(model.dense_layers - (end - span.layers), 0), span.layers))
            for span, end in zip(spans, ends)
        )
    return spans if plan.offload is None else tuple(_spilled(question, plan, span) for span in spans)


def _spilled(question: Question, plan: Plan, span: Span) -> Span:
    """A stage with the layers offloaded that the plan says, else so few that a longest request has room for its keys.

    All of them where even these leave too little, or where nobody knows how long a request may be.
    """
    counts = range(span.layers + 1) if plan.offload_layers is None else [min(plan.offload_layers, span.layers)]
    wanted = 1 + ceil_div(question.model.positions, question.software.scheduler.block_tokens)
    for layers in counts:
        found = offloaded(question, plan, span, layers)
        if question.model.positions and _share(question, plan, found).blocks >= wanted:
            break
    return found


@dataclass(frozen=True)
class _Share:
    """Bytes of one device of a stage: its weights, the room for them and the KV cache, a block of it."""

    weights: int
    room: int
    block: int

    @property
    def blocks(self) -> int:
        """Of the KV cache, all that have room."""
        return (self.room - self.weights) // self.block


def _share(question: Question, plan: Plan, span: Span) -> _Share:
    """What a device of a stage holds."""
    model, precision, scheduler = question.model, question.precision, question.software.scheduler
    shape = attention_shape(model, plan.tp, precision, question.kv_dtype, question.machine.wide)
    work = activation_bytes(model, scheduler, shape, plan.tp, streamed=False)
    work += logit_bytes(model, scheduler) * span.head
    return _Share(
        weights=resident_bytes(question, plan, span),
        room=budget_bytes(question) - work,
        block=block_bytes(shape, max(span.layers, 1), scheduler),
    )


def _check_plan(question: Question) -> None:
    system, model, plan = question.system, question.model, question.plan
    faults = refuse_words(question, ("tp", "pp", "offload", *(["ep"] if model.experts else [])))

    def refuse(got: str, expected: str, cure: str) -> None:
        faults.append(Fault("--plan", got, expected, cure))

    if plan.pp > model.layers:
        refuse(f"pp={plan.pp}", f"at most {model.layers} stages, one a layer", "choose a smaller pp")
    if plan.offload_layers is not None and plan.offload_layers > (most := -(-model.layers // plan.pp)):
        refuse(f"offload_layers={plan.offload_layers}", f"at most {most}, the layers of a stage", "offload fewer")
    if model.heads % plan.tp:
        fits = [n for n in range(1, system.count + 1) if model.heads % n == 0 and not _uneven(model, Plan(tp=n))]
        refuse(f"tp={plan.tp}", f"a divisor of {model.heads} query heads", f"try tp={fits[-1]}")
    elif wrong := _uneven(model, plan):
        refuse(*wrong)
    elif max(model.kv_heads, plan.tp) % min(model.kv_heads, plan.tp):
        refuse(f"tp={plan.tp}", f"a divisor or a multiple of {model.kv_heads} KV heads", "choose another tp")
    degrees = {"tp": plan.tp} | ({"pp": plan.pp} if plan.pp > 1 else {})
    group = prod(degrees.values())
    degrees |= {"dp": plan.dp} if plan.dp else {}
    if group * (plan.dp or max(1, system.active // group)) != system.active:
        words = " x ".join(("tp", "pp", "dp") if plan.pp > 1 else ("tp", "dp"))
        want = f"{words} = {system.active}, the devices of {system.id}"
        instead = f": write dp={system.active // group}, or a larger tp" if system.active % group == 0 else ""
        asked = ",".join(f"{name}={value}" for name, value in degrees.items())
        refuse(asked, want, f"devices may not be left over{instead}")
    if faults:
        raise InputError(faults)


def _uneven(model: Model, plan: Plan) -> tuple[str, str, str] | None:
    """What does not divide of feed-forwards or experts: got, expected, what to do."""
    tp, ep, of = plan.tp, plan.ep, model.experts
    if model.dense_layers and model.ffn % tp:
        return f"tp={tp}", f"a divisor of the feed-forward width {model.ffn}", "choose a smaller tp"
    if of is None:
        return None
    if tp % ep or of.count % ep:
        return (
            f"ep={ep}",
            f"a divisor of tp={tp} and of the {of.count} experts",
            "experts lie on devices of one tp group",
        )
    if of.ffn % (tp // ep) or of.shared_ffn % tp:
        widths = f"{of.ffn} columns of an expert over tp / ep" + (f", {of.shared_ffn} over tp" if of.shared_ffn else "")
        return f"tp={tp},ep={ep}", f"degrees that divide {widths}", "raise ep or choose a smaller tp"
    return None


def _fits(question: Question, plan: Plan) -> bool:
    """Whether every stage has room for its weights and one KV block, and the memory behind it for the others."""
    spans = _stages(question, plan, "send")
    return not _beyond(plan, spans) and all(_share(question, plan, span).blocks >= LEAST_BLOCKS for span in spans)


def _beyond(plan: Plan, spans: Sequence[Span]) -> bool:
    """Whether a stage offloads more than the device holds."""
    return plan.offload is not None and max(span.fetched for span in spans) > plan.offload.capacity


def _other_plans(question: Question) -> Iterator[Plan]:
    """Plans of more devices a replica, the fewest first, and of these the most for each matrix."""
    model, plan = question.model, question.plan
    for devices in range(plan.tp * plan.pp + 1, question.system.accelerator.links.scale_up.devices + 1):
        for pp in range(plan.pp, min(devices // plan.tp, model.layers) + 1):
            tp, rest = divmod(devices, pp)
            if not rest and tp >= plan.tp and _divides(model, tp):
                yield Plan(tp=tp, pp=pp, offload=plan.offload)


def _divides(model: Model, tp: int) -> bool:
    kv_divides = max(model.kv_heads, tp) % min(model.kv_heads, tp) == 0
    return model.heads % tp == 0 and _uneven(model, Plan(tp=tp)) is None and kv_divides


def _refusal(question: Question) -> InputError:
    system, plan, chip = question.system, question.plan, question.system.accelerator
    spans = _stages(question, plan, "")
    fullest = max((_share(question, plan, span) for span in spans), key=lambda share: share.weights)
    cures = [
        _written(other) + (f" on {chip.id}-x{other.tp * other.pp}" if other.tp * other.pp > system.count else "")
        for other in _other_plans(question)
        if _fits(question, other)
    ][:1]
    cures += smaller(question, lambda changed: _fits(changed, plan))
    if plan.offload is None:
        spilled = plan.model_copy(update={"offload": load(EXAMPLE, "device")})
        cures += [f"{_written(spilled)}, which streams what is too much"] * _fits(question, spilled)
    elif _beyond(plan, spans):
        need = max(span.fetched for span in spans)
        where = f"in the {plan.offload.id} of a device under {_written(plan)}"
        return bad(f"{system.id} {question.model.id}", f"{need / 1e9:.2f} GB of {question.precision} weights {where}",
                   f"at most its {float(plan.offload.capacity) / 1e9:.2f} GB",
                   would_fit(cures, "a larger device, or fewer layers in it"))  # fmt: skip
    return does_not_fit(question, fullest.weights, f"a device under {_written(plan)}", fullest.room, cures)


def _written(plan: Plan) -> str:
    words = [f"tp={plan.tp}"] + [f"pp={plan.pp}"] * (plan.pp > 1)
    return ",".join(words + ([f"offload={plan.offload.id}"] if plan.offload is not None else []))
