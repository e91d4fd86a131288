"""A model's step as operators: what one device of a tensor-parallel group runs for a batch of tokens.

Operators that depend on the number of tokens alone (projections, norms, all-reduces) or of sequences alone (the head
and the sampler) are listed here as `Use`s; attention depends on each sequence and is described by `AttentionShape`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from hwsim.describe.model import Model
from hwsim.operators.operator import SIXTEENTH_BYTES

ACTIVATION_BYTES = 2


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
        How often a step runs it.
    dtype : str
        Precision of weights and arithmetic.
    """

    name: str
    kind: str
    dims: dict[str, int]
    varies: str
    count: int
    dtype: str
    scale: int = 1


@dataclass(frozen=True)
class AttentionShape:
    """Attention of one layer on one device: heads it holds, and how often a step runs it."""

    heads: int
    kv_heads: int
    head_dim: int
    count: int
    dtype: str
    kv_dtype: str

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of keys and values that one token adds on one device, all layers."""
        return 2 * self.count * self.kv_heads * self.head_dim * SIXTEENTH_BYTES[self.kv_dtype] // 16


def attention_shape(model: Model, tp: int, precision: str, kv_dtype: str) -> AttentionShape:
    """Heads a device holds: KV heads are replicated where there are fewer than devices."""
    return AttentionShape(
        heads=model.heads // tp,
        kv_heads=max(1, model.kv_heads // tp),
        head_dim=model.head_dim,
        count=model.layers,
        dtype="fp16" if precision == "fp16" else "bf16",
        kv_dtype=kv_dtype,
    )


def token_uses(model: Model, tp: int, precision: str) -> Iterator[Use]:
    """Operators of the layers and the embedding whose cost depends on the number of tokens alone."""
    shape = attention_shape(model, tp, precision, "bf16")
    hidden, layers, ffn = model.hidden, model.layers, model.ffn // tp
    act = shape.dtype
    q_cols = shape.heads * model.head_dim
    kv_cols = shape.kv_heads * model.head_dim

    def gemm(name: str, n: int, k: int) -> Use:
        return Use(name, "gemm", {"n": n, "k": k}, "m", layers, precision)

    def rows(name: str, kind: str, cols: int, count: int = layers) -> Use:
        return Use(name, kind, {"cols": cols}, "rows", count, act)

    yield rows("embedding", "embed", hidden, count=1)
    yield rows("norms", "norm", hidden, count=layers * model.norms + 1)
    yield gemm("qkv", q_cols + 2 * kv_cols, hidden)
    if model.qk_norm:
        yield rows("qk_norm", "norm", q_cols + kv_cols)
    if model.rope_theta is not None:
        yield rows("rope", "rope", q_cols + kv_cols)
    yield gemm("attention_output", hidden, q_cols)
    yield gemm("gate_up" if model.gated else "up", ffn * (2 if model.gated else 1), hidden)
    yield rows("activation", "activation", ffn)
    yield gemm("down", hidden, ffn)
    if tp > 1:
        reduces = 1 if model.parallel_residual else 2
        size = hidden * ACTIVATION_BYTES
        yield Use("all_reduce", "all_reduce", {"devices": tp}, "bytes", reduces * layers, act, scale=size)


def sequence_uses(model: Model, tp: int, precision: str) -> Iterator[Use]:
    """Operators whose cost depends on the number of scheduled sequences alone: the head and the sampler."""
    act = "fp16" if precision == "fp16" else "bf16"
    vocab = -(-model.vocab // tp)
    yield Use("head", "gemm", {"n": vocab, "k": model.hidden}, "m", 1, act)
    if tp > 1:
        size = vocab * tp * ACTIVATION_BYTES
        yield Use("gather_logits", "all_gather", {"devices": tp}, "bytes", 1, act, scale=size)
    yield Use("sampler", "sample", {"cols": model.vocab}, "rows", 1, act)


def weight_bytes(model: Model, tp: int, precision: str) -> int:
    """Bytes of weights that one device holds: matrices at `precision`, embedding, head and norms at 16 bits.

    A device keeps 1/tp of every matrix, the KV projection of at least one head, and all norms.
    """
    shape = attention_shape(model, tp, precision, "bf16")
    columns = (2 * shape.heads + 2 * shape.kv_heads) * model.head_dim
    matrices = model.layers * (model.hidden * columns + model.ffn_params // tp)
    norms = model.layers * model.norms + 1
    wide = -(-model.embedding_params // tp) + norms * model.hidden
    return matrices * SIXTEENTH_BYTES[precision] // 16 + wide * ACTIVATION_BYTES
