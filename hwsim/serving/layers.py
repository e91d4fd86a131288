"""A model's step as operators: what one device of those that share its matrices runs for a batch of tokens.

Operators that depend on the number of tokens alone (projections, norms, all-reduces) or of sequences alone (the head
and the sampler) are listed here as `Use`s; attention depends on each sequence and is described by `AttentionShape`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Literal

from hwsim.describe.model import Model
from hwsim.describe.plan import Plan
from hwsim.describe.routing import distribution
from hwsim.operators.operator import SIXTEENTH_BYTES
from hwsim.operators.step import StepShape
from hwsim.units import ceil_div

ACTIVATION_BYTES = 2

# Devices that share each matrix: a fraction where a device at the border of two layers works for both. The fullest
# device counts: whole heads, whole columns.
Devices = int | Fraction

# Where a step runs an operator: in every layer, in those without experts or with some, once with the embedding, once
# with the head, where tokens go on to the next stage.
Part = Literal["layer", "dense", "experts", "embedding", "head", "crossing"]


@dataclass(frozen=True)
class Span:
    """The part of a model that one stage runs.

    Attributes
    ----------
    layers : int
    embedding, head : bool
        Whether it begins with the embedding, ends with the head.
    crossing : str
        Name of the operator that carries its tokens to the next stage; empty for the last one.
    dense : int or None
        Layers of them without experts; None for all.
    offloaded, fetched : int
        Layers of it that lie behind a link, and the bytes that one of its devices fetches in every step.
    """

    layers: int
    embedding: bool = True
    head: bool = True
    crossing: str = ""
    dense: int | None = None
    offloaded: int = 0
    fetched: int = 0

    @property
    def without_experts(self) -> int:
        """Its layers that have none."""
        return self.layers if self.dense is None else self.dense


@dataclass(frozen=True)
class Use:
    """One operator of a step.

    Parameters
    ----------
    name : str
        Its role in the model ("qkv", "mlp_norm").
    kind : str
        Operator kind of `hwsim.operators.operator`.
    dims : mapping
        Dimensions that do not depend on the batch.
    varies : str
        The dimension that grows with the batch.
    scale : int
        Value of `varies` per token (or per sequence).
    count : int
        How often a step runs it in its part: in ONE layer, or at all.
    dtype : str
        Precision of weights and arithmetic.
    part : Part
        Where.
    """

    name: str
    kind: str
    dims: dict[str, int]
    varies: str
    count: int
    dtype: str
    scale: int = 1
    part: Part = "layer"

    def times(self, span: Span) -> int:
        """How often a step runs it in a stage."""
        crosses = span.crossing == self.name
        dense = span.without_experts
        inside = {
            "layer": span.layers,
            "dense": dense,
            "experts": span.layers - dense,
            "embedding": span.embedding,
            "head": span.head,
            "crossing": crosses,
        }
        return self.count * inside[self.part]


@dataclass(frozen=True)
class AttentionShape:
    """Attention of one layer on one device: heads it holds, and how often a step runs it."""

    heads: int
    kv_heads: int
    head_dim: int
    count: int
    dtype: str
    kv_dtype: str

    def steps(self, most_tokens: int, most_decodes: int, longest: int) -> StepShape:
        """Steps of one layer of it, up to so many new tokens, decodes, and keys of a sequence."""
        heads = self.heads, self.kv_heads, self.head_dim
        return StepShape(*heads, most_tokens, most_decodes, longest, self.kv_dtype, self.dtype)

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of keys and values that one token adds on one device, all layers."""
        return 2 * self.count * self.kv_heads * self.head_dim * SIXTEENTH_BYTES[self.kv_dtype] // 16


@dataclass(frozen=True)
class Routing:
    """How the devices of a layer share its experts, and how tokens choose them.

    Attributes
    ----------
    ep : int
        Devices that share the experts out; each expert lies on tp / ep of them.
    distribution : str
        A name that `hwsim.describe.routing` knows.
    """

    ep: int = 1
    distribution: str = "uniform"

    @staticmethod
    def of(plan: Plan) -> Routing:
        """What a plan says."""
        return Routing(plan.ep, plan.routing or Routing.distribution)


def share(amount: int, tp: Devices) -> int:
    """What the fullest of the devices has of an amount."""
    return ceil_div(amount, tp)


def attention_shape(model: Model, tp: Devices, precision: str, kv_dtype: str, wide: str) -> AttentionShape:
    """Heads a device holds: it has all KV heads that its query heads ask, so some are on several devices.

    Parameters
    ----------
    wide : str
        Type of 16 bits that activations have.
    """
    own, group = share(model.heads, tp), model.heads // model.kv_heads
    ends = ((first, min(first + own, model.heads) - 1) for first in range(0, model.heads, own))
    return AttentionShape(
        heads=own,
        kv_heads=max(last // group - first // group + 1 for first, last in ends),
        head_dim=model.head_dim,
        count=model.layers,
        dtype="fp16" if precision == "fp16" else wide,
        kv_dtype=kv_dtype,
    )


def token_uses(
    model: Model,
    tp: Devices,
    precision: str,
    wide: str,
    routing: Routing = Routing(),
) -> Iterator[Use]:
    """Operators of the layers and the embedding whose cost depends on the number of tokens alone."""
    shape = attention_shape(model, tp, precision, wide, wide)
    hidden, ffn = model.hidden, share(model.ffn, tp)
    act = shape.dtype
    q_cols = shape.heads * model.head_dim
    kv_cols = shape.kv_heads * model.head_dim

    def gemm(name: str, n: int, k: int, part: Part = "layer") -> Use:
        return Use(name, "gemm", {"n": n, "k": k}, "m", 1, precision, part=part)

    def rows(name: str, kind: str, cols: int, count: int = 1, part: Part = "layer", **variant: int) -> Use:
        return Use(name, kind, {"cols": cols} | variant, "rows", count, act, part=part)

    def feed_forward(name: str, ffn: int, gated: bool, part: Part) -> Iterator[Use]:
        yield gemm(name + ("gate_up" if gated else "up"), ffn * (2 if gated else 1), hidden, part)
        yield rows(name + "activation", "activation", ffn, part=part, gated=int(gated))
        yield gemm(name + "down", hidden, ffn, part)

    yield rows("embedding", "embed", hidden, part="embedding")
    yield rows("norms", "norm", hidden, count=model.norms, residual=1)
    yield rows("final_norm", "norm", hidden, part="head", residual=1)
    yield gemm("qkv", q_cols + 2 * kv_cols, hidden)
    if model.qk_norm:
        yield rows("qk_norm", "norm", q_cols + kv_cols)
    if model.rope_theta is not None:
        yield rows("rope", "rope", q_cols + kv_cols)
    yield gemm("attention_output", hidden, q_cols)
    if model.dense_layers:
        yield from feed_forward("", ffn, model.gated, "dense" if model.experts else "layer")
    if model.experts:
        yield from _expert_uses(model, tp, precision, act, routing)
        if model.experts.shared_ffn:
            yield from feed_forward("shared_", share(model.experts.shared_ffn, tp), True, "experts")
    if tp > 1:
        reduces = 1 if model.parallel_residual else 2
        size = hidden * ACTIVATION_BYTES
        yield Use("all_reduce", "all_reduce", {"devices": ceil(tp)}, "bytes", reduces, act, scale=size)


def _expert_uses(model: Model, tp: Devices, precision: str, act: str, routing: Routing) -> Iterator[Use]:
    """The router, whole on every device at 16 bits, and the experts of the fullest device.

    All devices of a layer have all its tokens, so that none are sent to experts: each device adds up what its own
    experts give, and the all-reduce of the layer adds up the devices.
    """
    of = model.experts
    assert of is not None
    yield Use("router", "gemm", {"n": of.count, "k": model.hidden}, "m", 1, act, part="experts")
    dims = {"hidden": model.hidden, "intermediate": of.ffn, "experts": of.count, "top_k": of.top_k}
    number = distribution(routing.distribution)
    assert number is not None
    dims |= {"tp": ceil(tp) // routing.ep, "ep": routing.ep, "distribution": number}
    yield Use("experts", "moe", dims, "tokens", 1, precision, part="experts")


def sequence_uses(model: Model, tp: Devices, precision: str, wide: str) -> Iterator[Use]:
    """Operators whose cost depends on the number of scheduled sequences alone: the head and the sampler."""
    act = "fp16" if precision == "fp16" else wide
    vocab, devices = share(model.vocab, tp), ceil(tp)
    yield Use("head", "gemm", {"n": vocab, "k": model.hidden}, "m", 1, act, part="head")
    if tp > 1:
        size = vocab * devices * ACTIVATION_BYTES
        yield Use("gather_logits", "all_gather", {"devices": devices}, "bytes", 1, act, scale=size, part="head")
    yield Use("sampler", "sample", {"cols": model.vocab}, "rows", 1, act, part="head")


def crossing(model: Model, precision: str, wide: str) -> Use:
    """What goes from one stage to the next: the residual of every token, from each device to its peer."""
    act = "fp16" if precision == "fp16" else wide
    size = model.hidden * ACTIVATION_BYTES
    return Use("send", "send", {"devices": 2}, "bytes", 1, act, scale=size, part="crossing")


def weight_bytes(model: Model, tp: Devices, precision: str, span: Span | None = None) -> int:
    """Bytes of weights that one device holds: matrices at `precision`, embedding, head and norms at 16 bits.

    A device keeps 1/tp of every matrix of its stage (the whole model without a span), the KV projection of at least one
    head, and all norms. A stage with the head of a tied model, but not its embedding, keeps the shared matrix too.
    """
    span = span or Span(model.layers, dense=model.dense_layers)
    shape = attention_shape(model, tp, precision, "bf16", "bf16")
    columns = (2 * shape.heads + 2 * shape.kv_heads) * model.head_dim
    dense, sparse = span.without_experts, span.layers - span.without_experts
    matrices = span.layers * model.hidden * columns + dense * share(model.ffn_params, tp)
    norms = span.layers * model.norms + span.head
    if model.experts:
        norms += sparse * model.experts.count  # the router, of as many rows
        matrices += sparse * share(model.expert_params - model.experts.count * model.hidden, tp)
    rows = (model.vocab + model.learned_positions) * span.embedding
    rows += model.vocab * (span.head and not (model.tied and span.embedding))
    wide = share(rows * model.hidden, tp) + norms * model.hidden
    return matrices * SIXTEENTH_BYTES[precision] // 16 + wide * ACTIVATION_BYTES
