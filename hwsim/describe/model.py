"""One model: the dimensions of a network. Parameters and bytes follow from them."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, ClassVar

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hwsim.describe.block import Block, Description
from hwsim.describe.quantity import Bare, Natural, Parts, Whole, Width


class Experts(Block):
    """Feed-forwards of a layer among which a router chooses some for each token."""

    count: Annotated[int, Whole(1, 2**12)] = Field(description="experts of a layer")
    top_k: Annotated[int, Whole(1, 2**6)] = Field(description="experts of a token")
    ffn: Parts = Field(description="width of one expert, which has gate, up and down")
    shared_ffn: Natural = Field(0, description="width of the feed-forward beside them that all tokens pass; 0 = none")
    dense_layers: Natural = Field(0, description="layers without experts, the first of the model")

    @model_validator(mode="after")
    def _has_as_many_as_are_chosen(self) -> Experts:
        if self.top_k > self.count:
            raise _refusal(str(self.top_k), f"at most the {self.count} experts of a layer", "top_k")
        return self


class Model(Description):
    """A decoder-only transformer, dense or with experts."""

    kind: ClassVar[str] = "model"

    layers: Width
    hidden: Parts = Field(description="width of the residual stream")
    heads: Width = Field(description="query heads")
    kv_heads: Width = Field(description="key and value heads; equal to heads without grouping")
    head_dim: Width
    ffn: Parts = Field(description="width of the feed-forward layer")
    gated: bool = Field(description="feed-forward with gate, up and down (three matrices) instead of two")
    vocab: Annotated[int, Whole(1, 2**24)]
    tied: bool = Field(description="output head shares the embedding's weights")
    positions: Natural = Field(0, description="longest context; 0 = not stated")
    learned_positions: Natural = Field(0, description="learned position embeddings; 0 = rotary or none")
    rope_theta: Annotated[Fraction, Bare(10**12)] | None = None
    qkv_bias: bool = Field(False, description="query, key and value have biases")
    output_bias: bool = Field(False, description="the attention's output has a bias")
    ffn_bias: bool = Field(False, description="the feed-forward's matrices have biases")
    qk_norm: bool = Field(False, description="queries and keys are normalised per head")
    parallel_residual: bool = Field(False, description="attention and feed-forward read the same input")
    sliding_window: Natural = Field(0, description="keys a query sees; 0 = all")
    norms: Width = Field(2, description="norms of a layer")
    norm_bias: bool = Field(False, description="norms have a bias beside the scale")
    experts: Experts | None = Field(None, description="experts of its layers; `ffn` is that of layers without any")

    @model_validator(mode="after")
    def _heads_divide(self) -> Model:
        if self.heads % self.kv_heads:
            raise _refusal(str(self.kv_heads), f"a divisor of heads = {self.heads}", "kv_heads")
        return self

    @model_validator(mode="after")
    def _layers_have_experts(self) -> Model:
        if self.experts and self.experts.dense_layers >= self.layers:
            got = str(self.experts.dense_layers)
            raise _refusal(got, f"fewer than the {self.layers} layers of the model", "experts.dense_layers")
        return self

    @property
    def dense_layers(self) -> int:
        """Layers without experts, the first of the model."""
        return self.layers if self.experts is None else self.experts.dense_layers

    @property
    def attention_params(self) -> int:
        """Weights of one layer's attention: query, key, value, output."""
        width = self.heads * self.head_dim
        kv = self.kv_heads * self.head_dim
        small = width + 2 * kv if self.qkv_bias else 0
        small += self.hidden if self.output_bias else 0
        small += 2 * self.head_dim if self.qk_norm else 0
        return self.hidden * (width + 2 * kv) + width * self.hidden + small

    @property
    def ffn_params(self) -> int:
        """Weights of one layer's feed-forward."""
        inward = 2 if self.gated else 1
        bias = inward * self.ffn + self.hidden if self.ffn_bias else 0
        return (inward + 1) * self.hidden * self.ffn + bias

    @property
    def expert_params(self) -> int:
        """Weights of the experts of one layer, of what lies beside them and of their router."""
        of = self.experts
        return self.hidden * (3 * (of.count * of.ffn + of.shared_ffn) + of.count) if of else 0

    @property
    def layer_params(self) -> int:
        """Weights of one layer without experts, norms included."""
        norm = self.hidden * (2 if self.norm_bias else 1)
        return self.attention_params + self.ffn_params + self.norms * norm

    @property
    def embedding_params(self) -> int:
        """Embedding, learned positions, and the head where it is a matrix of its own."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + self.learned_positions * self.hidden

    @property
    def params(self) -> int:
        """All weights."""
        more = (self.layers - self.dense_layers) * (self.expert_params - self.ffn_params)
        last = self.hidden * (2 if self.norm_bias else 1)
        return self.layers * self.layer_params + more + self.embedding_params + last


def _refusal(got: str, expected: str, at: str) -> PydanticCustomError:
    return PydanticCustomError("hwsim", "{expected}", {"got": got, "expected": expected, "cure": "", "at": at})
