"""One model: the dimensions of a network. Parameters and bytes follow from them."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hwsim.describe.block import Description
from hwsim.describe.quantity import Bare, Natural, Parts, Whole, Width


class Model(Description):
    """A dense decoder-only transformer."""

    kind: ClassVar[str] = "model"

    family: Literal["dense"] = "dense"
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

    @model_validator(mode="after")
    def _heads_divide(self) -> Model:
        if self.heads % self.kv_heads:
            raise PydanticCustomError(
                "hwsim",
                "{expected}",
                {
                    "got": str(self.kv_heads),
                    "expected": f"a divisor of heads = {self.heads}",
                    "cure": "",
                    "at": "kv_heads",
                },
            )
        return self

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
    def layer_params(self) -> int:
        """Weights of one layer, norms included."""
        norm = self.hidden * (2 if self.norm_bias else 1)
        return self.attention_params + self.ffn_params + self.norms * norm

    @property
    def embedding_params(self) -> int:
        """Embedding, learned positions, and the head where it is a matrix of its own."""
        return self.vocab * self.hidden * (1 if self.tied else 2) + self.learned_positions * self.hidden

    @property
    def params(self) -> int:
        """All weights."""
        return self.layers * self.layer_params + self.embedding_params + self.hidden * (2 if self.norm_bias else 1)
