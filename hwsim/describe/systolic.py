"""Class systolic: cores with a few arrays of multipliers, a vector unit and a large scratchpad (TPU)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from hwsim.describe import accelerator, generation, software
from hwsim.describe.block import Block, Reference
from hwsim.describe.quantity import Count, Seconds, Share, Width


class Tensor(accelerator.Tensor):
    """Arrays of multipliers; a unit is a core with all its arrays."""

    arrays: Width = Field(description="arrays of ONE core")
    rows: Width = Field(description="rows of an array: the stationary operand's inner dimension")
    cols: Width = Field(description="columns of an array")

    @model_validator(mode="after")
    def _rates_fit_arrays(self) -> Tensor:
        """A multiplier takes one pair of 16 bits a cycle; another rate would make more arrays a slower chip."""
        wide = [dtype for dtype in self.per_cycle if dtype in ("bf16", "fp16")]
        fastest = max(wide or self.per_cycle, key=self.per_cycle.__getitem__)
        accelerator.check_rate(self.per_cycle, fastest, self.arrays * self.rows * self.cols, "arrays")
        return self


class Units(accelerator.Units):
    """Arithmetic of the device."""

    tensor: Tensor


class Tiers(accelerator.Tiers):
    """Where bytes can be: the cores' scratchpads, the device's memory."""

    hbm: accelerator.Hbm


class Generation(generation.Generation):
    """Shared numbers of the chips of one generation."""

    class_: Literal["systolic"] = Field("systolic", alias="class", description="class of the accelerators")


class Accelerator(accelerator.Accelerator):
    """One systolic accelerator; its `sram` is the scratchpad (VMEM) of a core."""

    class_: Literal["systolic"] = Field(alias="class", description="which mapper writes its programs")
    generation: Annotated[Generation, Reference("generation")]
    units: Units
    tiers: Tiers


class InputStationary(Block):
    """Products whose activations, not their weights, a compiler keeps in the arrays."""

    depth: Count = Field(description="inner dimension beyond which it does")
    rows: Count = Field(description="fewest rows of activations")
    arrays: Count = Field(description="arrays that work on it")


class Gemm(Block):
    """Matrix multiplications of a compiler: blocks in the scratchpad, folds on the arrays."""

    dataflows: list[Literal["ws", "is", "os"]] = Field(description="operand that may stay: weights, inputs, outputs")
    rows: list[Count] = Field(description="largest rows of a block of the output; blocks are of equal size")
    columns: list[Count] = Field(description="the same for its columns")
    depths: list[Count] = Field(description="the same along k")
    scratchpad: Share = Field(description="share of the usable scratchpad for the blocks of one product")
    efficiency: Share = Field(description="share of the arrays' sustained rate that its loops reach")
    block: Seconds = Field(description="start of a block: its copies and addresses")
    inputs: InputStationary | None = Field(None, description="products that keep activations; none = where faster")


class Attention(Block):
    """Paged attention with keys and values as the stationary operand: a row of them enters an array each cycle."""

    arrays: Count = Field(description="arrays of a core that a kernel uses")
    queries: Count = Field(description="query tokens of a block")
    keys: Count = Field(description="keys of a block")
    launch: Seconds = Field(description="start of the kernel")
    sequence: Seconds = Field(description="start of a sequence, per KV head of a core")
    block: Seconds = Field(description="start of a block of queries, per KV head of a core")
    small: Count = Field(description="keys of all sequences below which the kernel takes small blocks")
    small_keys: Count = Field(description="keys of a small block")
    small_block: Seconds = Field(description="start of a small block, per KV head of a core")


class Elementwise(Block):
    """Norms, activations, rotary embedding, residual additions, sampling."""

    launch: Seconds = Field(description="start of one fused loop")
    efficiency: Share = Field(description="share of the memory's sustained rate a long loop reaches")


class Kernels(software.Kernels):
    """Kernels for the systolic accelerators of one generation."""

    class_: Literal["systolic"] = Field("systolic", alias="class", description="class of the accelerators")
    gemm: Gemm
    attention: Attention
    elementwise: Elementwise
