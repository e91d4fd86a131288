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
from hwsim.errors import Fault, InputError
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
from hwsim.serving.room import (
    LEAST_BLOCKS,
    activation_bytes,
    block_bytes,
    budget_bytes,
    does_not_fit,
    logit_bytes,
    refuse_words,
    smaller,
)
from hwsim.serving.spread import split

GRAIN = 64  # a layer's length is whole 1/64 chips
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
    if line is None or _kv_blocks(question, line) < LEAST_BLOCKS:
        raise _refusal(question, replicas)
    phase = Phase(question.machine, line.spans)
    carry, blocks = _carry(question, line), _kv_blocks(question, line)
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
        kv_bytes=blocks * _block_bytes(question, line),
        kv_blocks=blocks,
    )


def lay(question: Question, chips: int) -> Line | None:
    """The model along so many chips; None where the head alone takes them all."""
    model, room = question.model, budget_bytes(question)
    matrix = model.vocab * model.hidden
    layer, head = layer_weights(model), _head_bytes(question) / Fraction(room - _rows_bytes(model, chips))
    length = Fraction(chips) / (model.layers + Fraction(matrix, layer))
    if length * Fraction(matrix, layer) < head:
        length = (chips - head) / model.layers
    if length >= 1:
        length = Fraction(floor(length * GRAIN), GRAIN)
        spans = tuple(Span(1, at == 0, False, "send") for at in range(model.layers)), (Span(0, False, True),)
        return _weighed(question, chips, length, chips - length * model.layers, tuple(chain(*spans)))
    whole = chips - ceil(head)
    if whole < 1:
        return None
    stages = split(model.layers, whole, "send")
    spans = tuple(replace(span, head=False, crossing="send") for span in stages), (Span(0, False, True),)
    return _weighed(question, chips, 1, ceil(head), tuple(chain(*spans)))


def layer_weights(model: Model) -> int:
    """Weights of the matrices of a layer."""
    return model.layer_params - model.norms * model.hidden * (2 if model.norm_bias else 1)


def _weighed(question: Question, chips: int, length: Devices, head: Devices, spans: tuple[Span, ...]) -> Line:
    model = question.model
    most = max(span.layers for span in spans)
    return Line(
        layer=length,
        head=head,
        spans=spans,
        layer_bytes=weight_bytes(model, length, question.precision, Span(most, False, False)),
        head_bytes=share(_head_bytes(question), head),
        rows_bytes=_rows_bytes(model, chips),
    )


def _head_bytes(question: Question) -> int:
    """The head with its norm, the activations it takes and the logits it gives, all chips."""
    model, scheduler = question.model, question.software.scheduler
    rows = model.vocab + 1 + scheduler.max_num_seqs
    return rows * model.hidden * ACTIVATION_BYTES + logit_bytes(model, scheduler)


def _rows_bytes(model: Model, chips: int) -> int:
    """A chip's part of the embedding."""
    return share((model.vocab + model.learned_positions) * model.hidden * ACTIVATION_BYTES, chips)


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
    return block_bytes(_attention(question, line), most, question.software.scheduler)


def _kv_blocks(question: Question, line: Line) -> int:
    """Blocks that the fullest chip of a layer has room for; below 0 where even the weights have none."""
    model, shape, room = question.model, _attention(question, line), budget_bytes(question) - line.rows_bytes
    if line.head_bytes > room:
        return -1
    held = activation_bytes(model, question.software.scheduler, shape, line.layer, streamed=True)
    return (room - line.layer_bytes - held) // _block_bytes(question, line)


def _check_plan(question: Question) -> None:
    plan, system = question.plan, question.system
    cure = "leave it out: layers are laid along all chips, each over as many as there are for it"
    faults = refuse_words(question, (), cure)
    if plan.dp and (system.active % plan.dp or system.spares % plan.dp):
        want = f"a divisor of the {system.active} chips that hold the model and of the {system.spares} that stand by"
        faults.append(Fault("--plan", f"dp={plan.dp}", want))
    if faults:
        raise InputError(faults)


def _fits(question: Question, chips: int) -> bool:
    line = lay(question, chips)
    return line is not None and _kv_blocks(question, line) >= LEAST_BLOCKS


def _refusal(question: Question, replicas: int) -> InputError:
    system, model, chip = question.system, question.model, question.system.accelerator
    chips = system.active // replicas
    counts = (more for more in _more(chips, chip.links.scale_up.devices) if _fits(question, more))
    cures = [f"{chip.id}-x{more}" for more in counts][:1]
    cures += smaller(question, lambda changed: _fits(changed, chips))
    layer = weight_bytes(model, 1, question.precision, Span(1, False, False))
    need = model.layers * layer + 2 * model.embedding_params
    return does_not_fit(question, need, f"on {chips} chips", chips * budget_bytes(question), cures)


def _more(chips: int, most: int) -> range:
    """Counts worth trying, whole nodes' worth apart."""
    return range(chips // 8 * 8 + 8, most + 1, 8)
