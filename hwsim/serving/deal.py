"""Layers dealt out over chips that run one after the other: how class manycore spreads a model over a system.

Chips whose own SRAM holds the model take whole layers, as many each as divide evenly, earlier chips one less. The head
and the embedding have chips of their own, at least as many as their weights fill and all that the layers leave over;
they share the head's columns. One stream goes through all of them in turn; a group of tp chips may stand for each chip
(PopTransformer: `layer_per_ipu`, its tensor-parallel models; NorthPole's cards). Where one group holds all there is no
other stage. Without a word in the plan the layers go over all chips of the system.

Chips that stream weights from memory behind them are spread as GPUs are.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from hwsim.errors import InputError, bad
from hwsim.operators.operator import SIXTEENTH_BYTES
from hwsim.serving import spread
from hwsim.serving.layers import (
    ACTIVATION_BYTES,
    AttentionShape,
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
from hwsim.units import ceil_div


@dataclass(frozen=True)
class Deal:
    """Layers over groups of chips.

    Attributes
    ----------
    tp : int
        Chips of a group.
    layers : tuple of int
        Of the groups that have some.
    heads : int
        Groups that share the head; 0 where the only group has all.
    """

    tp: int
    layers: tuple[int, ...]
    heads: int

    @property
    def spans(self) -> tuple[Span, ...]:
        """Stages in order: embedding, layers, head."""
        if not self.heads:
            return (Span(self.layers[0]),)
        layers = (Span(count, False, False, "send") for count in self.layers)
        return (Span(0, True, False, "send"), *layers, Span(0, False, True))

    @property
    def chips_of_head(self) -> int:
        """Chips that share its columns."""
        return self.tp * max(self.heads, 1)


def place(question: Question) -> Placement:
    """Placement of a model over chips; see `hwsim.serving.plan.place`."""
    if question.system.accelerator.home == "hbm":
        return spread.place(question)
    tp, groups, replicas = _degrees(question)
    deal = deal_out(question, tp, groups)
    if deal is None or kv_blocks(question, deal) < LEAST_BLOCKS:
        raise _refusal(question, tp, groups)
    model, precision, wide = question.model, question.precision, question.machine.wide
    phase, blocks = Phase(question.machine, deal.spans), kv_blocks(question, deal)
    carries = (crossing(model, precision, wide),) if deal.heads else ()
    return Placement(
        tp=tp,
        devices=tp * groups,
        replicas=replicas,
        attention=_attention(question, tp),
        decode=phase,
        prefill=phase,
        tokens=(*token_uses(model, tp, precision, wide), *carries),
        sequences=tuple(_head_uses(question, deal)),
        weight_bytes=max(_layer_bytes(question, deal), _head_bytes(question, deal)),
        kv_bytes=blocks * _block_bytes(question, deal),
        kv_blocks=blocks,
    )


def _degrees(question: Question) -> tuple[int, int, int]:
    """Chips of a group, groups of a replica, replicas."""
    plan, system, model = question.plan, question.system, question.model
    if faults := refuse_words(question, ("tp", "pp")):
        raise InputError(faults)
    if plan.tp > model.heads:
        raise bad("--plan", f"tp={plan.tp}", f"at most {model.heads}, the query heads", "leave more to pp")
    groups = plan.pp if plan.pp > 1 else max(system.count // (plan.tp * (plan.dp or 1)), 1)
    replicas = plan.dp or max(system.count // (plan.tp * groups), 1)
    if plan.tp * groups * replicas != system.count:
        got = f"tp={plan.tp},pp={groups},dp={replicas}"
        want = f"tp x pp x dp = {system.count}, the devices of {system.id}"
        raise bad("--plan", got, want, "devices may not be left over")
    return plan.tp, groups, replicas


def deal_out(question: Question, tp: int, groups: int) -> Deal | None:
    """Layers over so many groups; None where the head leaves none to them."""
    layers = question.model.layers
    if groups == 1:
        return Deal(tp, (layers,), 0)
    least = ceil_div(_head_bytes(question, Deal(tp, (), 1)), budget_bytes(question))
    taken = min(layers, groups - least)
    if taken < 1:
        return None
    short = taken - layers % taken if layers % taken else 0
    counts = (layers // taken + (at >= short) for at in range(taken)) if short else (layers // taken,) * taken
    return Deal(tp, tuple(counts), groups - taken)


def kv_blocks(question: Question, deal: Deal) -> int:
    """Blocks that the fullest chip has room for; below 0 where even the weights have none."""
    room = budget_bytes(question)
    if deal.heads and _head_bytes(question, deal) > room:
        return -1
    shape, scheduler = _attention(question, deal.tp), question.software.scheduler
    held = _layer_bytes(question, deal) + activation_bytes(question.model, scheduler, shape, deal.tp, streamed=True)
    held += 0 if deal.heads else _head_bytes(question, deal)
    return (room - held) // _block_bytes(question, deal)


def _attention(question: Question, tp: int) -> AttentionShape:
    return attention_shape(question.model, tp, question.precision, question.kv_dtype, question.machine.wide)


def _layer_bytes(question: Question, deal: Deal) -> int:
    """Weights of layers on the fullest chip."""
    span = Span(max(deal.layers), False, False)
    return weight_bytes(question.model, deal.tp, question.precision, span)


def _head_bytes(question: Question, deal: Deal) -> int:
    """Head, embedding, final norm and logits on one of the chips that share them."""
    model, chips = question.model, deal.chips_of_head
    matrix = model.vocab * model.hidden * SIXTEENTH_BYTES[_head_dtype(question)] // 16
    rows = (0 if model.tied else model.vocab) + model.learned_positions
    logits = logit_bytes(model, question.software.scheduler)
    return share(matrix + rows * model.hidden * ACTIVATION_BYTES + logits, chips) + model.hidden * ACTIVATION_BYTES


def _block_bytes(question: Question, deal: Deal) -> int:
    """Of a KV block on the fullest chip."""
    return block_bytes(_attention(question, deal.tp), max(deal.layers), question.software.scheduler)


def _head_dtype(question: Question) -> str:
    """Type of the head's weights: that of the others where the software says so, else 16 bits."""
    if question.machine.kernels.head == "weights" or question.precision == "fp16":
        return question.precision
    return question.machine.wide


def _head_uses(question: Question, deal: Deal) -> Iterator[Use]:
    for use in sequence_uses(question.model, deal.chips_of_head, question.precision, question.machine.wide):
        yield replace(use, dtype=_head_dtype(question)) if use.name == "head" else use


def _refusal(question: Question, tp: int, groups: int) -> InputError:
    chip, chips = question.system.accelerator, tp * groups
    most = chip.links.scale_up.devices // tp
    cures = [f"{chip.id}-x{tp * more}" for more in range(groups + 1, most + 1) if _fits(question, tp, more)][:1]
    cures += smaller(question, lambda changed: _fits(changed, tp, groups))
    if chip.tiers.hbm is not None:
        cures.append("--set system.accelerator.weights=hbm, which streams them")
    need = weight_bytes(question.model, 1, question.precision)
    where = f"on {chips} chip{'s' * (chips > 1)}, whole layers each"
    return does_not_fit(question, need, where, chips * budget_bytes(question), cures)


def _fits(question: Question, tp: int, groups: int) -> bool:
    deal = deal_out(question, tp, groups)
    return deal is not None and kv_blocks(question, deal) >= LEAST_BLOCKS
