"""Layers along a line of chips: how class pipeline spreads a model over a system.

The chips that hold the model stand in a line and the layers are laid along it, each over the same length of c chips,
then the head over what its weights take. A chip at the border of two layers holds columns of both and works for them in
turn, so every chip holds the same bytes and all layers take the same time: stages are equal but for the first, which
looks up the embedding, and the head. Heads and columns are whole; the fullest chip of a layer counts. The head takes
chips as its weights are to a layer's, or more where its 16 bits would not fit. Rows of the embedding lie wherever there
is room left. Where chips are fewer than layers, a chip holds whole layers.

What streams past the units is not held: of activations a chip keeps the residual and the product under way, the head's
chips the logits of their columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import chain
from math import ceil, floor

from hwsim.describe.model import Model
from hwsim.errors import InputError, bad
from hwsim.serving.layers import (
    ACTIVATION_BYTES,
    AttentionShape,
    Devices,
    Span,
    Use,
    attention_shape,
    crossing,
    sequence_uses,
    share,
    token_uses,
    weight_bytes,
)
from hwsim.serving.plan import Phase, Placement, Question
from hwsim.serving.spread import budget_bytes, split

GRAIN = 64  # a layer's length is whole 1/64 chips
LOGIT = 4  # bytes
CANDIDATE = 8  # bytes: what a chip says of its columns' logits, the drawn one and the sum


@dataclass(frozen=True)
class Line:
    """Where a model lies on a line of chips.

    Attributes
    ----------
    layer, head : int or Fraction
        Chips that share a layer, the head.
    spans : tuple of Span
        Stages in order: layers, or chips with whole layers, and the head.
    layer_bytes, head_bytes, rows_bytes : int
        On the fullest chip of each: weights of its layers, the head with its logits, the embedding.
    """

    layer: Devices
    head: Devices
    spans: tuple[Span, ...]
    layer_bytes: int
    head_bytes: int
    rows_bytes: int


def place(question: Question) -> Placement:
    """Placement of a model along the chips; see `hwsim.serving.plan.place`."""
    _check_plan(question)
    system, model, wide = question.system, question.model, question.machine.wide
    replicas = question.plan.dp or 1
    line = lay(question, system.active // replicas)
    if line is None or _kv_blocks(question, line) < 2:  # one block is the null block
        raise _does_not_fit(question, replicas)
    phase = Phase(question.machine, line.spans)
    carry = _carry(question, line)
    block = _block_bytes(question, line)
    return Placement(
        tp=line.layer,
        devices=system.count // replicas,
        replicas=replicas,
        attention=_attention(question, line),
        decode=phase,
        prefill=phase,
        tokens=(*token_uses(model, line.layer, question.precision, wide), carry),
        sequences=tuple(_head_uses(question, line)),
        weight_bytes=line.layer_bytes + line.rows_bytes,
        kv_bytes=_kv_blocks(question, line) * block,
        kv_blocks=_kv_blocks(question, line),
    )


def lay(question: Question, chips: int, precision: str = "") -> Line | None:
    """The model along so many chips; None where the head alone takes them all."""
    model, precision = question.model, precision or question.precision
    room = budget_bytes(question.system, question.software.scheduler)
    matrix = model.vocab * model.hidden
    layer, head = layer_weights(model), _head_bytes(question) / Fraction(room - _rows_bytes(model, chips))
    length = Fraction(chips) / (model.layers + Fraction(matrix, layer))
    if length * Fraction(matrix, layer) < head:
        length = (chips - head) / model.layers
    if length >= 1:
        length = Fraction(floor(length * GRAIN), GRAIN)
        spans = tuple(Span(1, at == 0, False, "send") for at in range(model.layers)), (Span(0, False, True),)
        return _weighed(question, precision, chips, length, chips - length * model.layers, tuple(chain(*spans)))
    whole = chips - ceil(head)
    if whole < 1:
        return None
    stages = split(model.layers, whole, "send")
    spans = tuple(replace(span, head=False, crossing="send") for span in stages), (Span(0, False, True),)
    return _weighed(question, precision, chips, 1, ceil(head), tuple(chain(*spans)))


def layer_weights(model: Model) -> int:
    """Weights of the matrices of a layer."""
    return model.layer_params - model.norms * model.hidden * (2 if model.norm_bias else 1)


def _weighed(
    question: Question, precision: str, chips: int, length: Devices, head: Devices, spans: tuple[Span, ...]
) -> Line:
    model = question.model
    most = max(span.layers for span in spans)
    return Line(
        layer=length,
        head=head,
        spans=spans,
        layer_bytes=weight_bytes(model, length, precision, Span(most, False, False)),
        head_bytes=share(_head_bytes(question), head),
        rows_bytes=_rows_bytes(model, chips),
    )


def _head_bytes(question: Question) -> int:
    """The head with its norm, the activations it takes and the logits it gives, all chips."""
    model, most = question.model, question.software.scheduler.max_num_seqs
    weights = (model.vocab + 1) * model.hidden * ACTIVATION_BYTES
    return weights + most * (model.hidden * ACTIVATION_BYTES + model.vocab * LOGIT)


def _rows_bytes(model: Model, chips: int) -> int:
    """A chip's part of the embedding."""
    return share((model.vocab + model.learned_positions) * model.hidden * ACTIVATION_BYTES, chips)


def _held_bytes(question: Question, line: Line) -> int:
    """Activations that a chip keeps: the residual and the widest product of a full step."""
    model, heads = question.model, _attention(question, line)
    widest = max(share(model.ffn, line.layer), (heads.heads + 2 * heads.kv_heads) * model.head_dim)
    return question.software.scheduler.token_budget * (model.hidden + widest) * ACTIVATION_BYTES


def _head_uses(question: Question, line: Line) -> Iterator[Use]:
    """Each chip of the head draws among its columns; one of them draws among what they say."""
    for use in sequence_uses(question.model, line.head, question.precision, question.machine.wide):
        if use.kind == "all_gather":
            yield replace(use, scale=CANDIDATE * use.dims["devices"])
        elif use.kind == "sample":
            yield replace(use, dims={"cols": share(question.model.vocab, line.head)})
        else:
            yield use


def _attention(question: Question, line: Line) -> AttentionShape:
    machine, precision = question.machine, question.precision
    return attention_shape(question.model, line.layer, precision, question.kv_dtype, machine.wide)


def _carry(question: Question, line: Line) -> Use:
    """Each chip sends on the part that it has reduced; the next layer's chips gather it."""
    carry = crossing(question.model, question.precision, question.machine.wide)
    return replace(carry, scale=share(carry.scale, line.layer))


def _block_bytes(question: Question, line: Line) -> int:
    """Of a KV block on the fullest chip."""
    most = max(span.layers for span in line.spans)
    per_token = replace(_attention(question, line), count=most).kv_bytes_per_token
    return per_token * question.software.scheduler.block_tokens


def _kv_blocks(question: Question, line: Line) -> int:
    """Blocks that the fullest chip of a layer has room for; below 0 where even the weights have none."""
    scheduler = question.software.scheduler
    room = budget_bytes(question.system, scheduler) - line.rows_bytes
    if line.head_bytes > room:
        return -1
    return (room - line.layer_bytes - _held_bytes(question, line)) // _block_bytes(question, line)


def _check_plan(question: Question) -> None:
    plan, system = question.plan, question.system
    for name in ("tp", "pp", "ep"):
        if (value := getattr(plan, name)) != 1:
            cure = "leave it out: layers are laid along all chips, each over as many as there are for it"
            raise bad("--plan", f"{name}={value}", f"{name}=1", cure)
    for name in ("prefill_region", "decode_region"):
        if getattr(plan, name) is not None:
            raise bad("--plan", name, "no region", f"{system.accelerator.id} is no wafer: leave it out")
    if plan.dp and (system.active % plan.dp or system.spares % plan.dp):
        want = f"a divisor of the {system.active} chips that hold the model and of the {system.spares} that stand by"
        raise bad("--plan", f"dp={plan.dp}", want)


def _fits(question: Question, chips: int, precision: str = "") -> bool:
    changed = replace(question, precision=precision or question.precision)
    line = lay(changed, chips)
    return line is not None and _kv_blocks(changed, line) >= 2


def _does_not_fit(question: Question, replicas: int) -> InputError:
    system, model, chip = question.system, question.model, question.system.accelerator
    chips, precision = system.active // replicas, question.precision
    cures = [
        f"{chip.id}-x{more}"
        for more in _more(chips, chip.links.scale_up.devices)
        if _fits(question, more)
    ][:1]  # fmt: skip
    others = [p for p in ("int8", "fp8", "int4") if p != precision and p in chip.units.tensor.per_cycle]
    cures += [p for p in others if _fits(question, chips, p)][:1]
    cure = "it would fit with " + " or ".join(cures) if cures else "use more chips or a smaller model"
    need = model.layers * weight_bytes(model, 1, precision, Span(1, False, False)) + 2 * model.embedding_params
    room = chips * budget_bytes(system, question.software.scheduler)
    got = f"{need / 1e9:.1f} GB of {precision} weights on {chips} chips"
    return bad(f"{system.id} {model.id}", got, f"below {room / 1e9:.1f} GB beside activations and one KV block", cure)


def _more(chips: int, most: int) -> range:
    """Counts worth trying, whole nodes' worth apart."""
    return range(chips // 8 * 8 + 8, most + 1, 8)
