"""A model's step as operators: what each moves and computes, counted by hand."""

import pytest

from hwsim.describe import load
from hwsim.operators.machine import Machine
from hwsim.operators.simulate import simulate
from hwsim.serving.layers import token_uses, weight_bytes

ROWS = 20000  # too many for the L2: every element goes through memory


@pytest.mark.parametrize(("name", "tp", "halves"), [("llama-3.1-8b", 1, 2), ("llama-3.1-70b", 8, 2), ("gpt2-xl", 1, 1)])
def test_norms_and_activations_of_a_layer_move_what_a_server_moves(name: str, tp: int, halves: int) -> None:
    """The residual is read and written beside the normed row; a gated activation reads both halves."""
    model = load(name, "model")
    uses = {use.name: use for use in token_uses(model, tp, "bf16", "bf16")}
    machine = Machine.of("h100-sxm", "ideal")

    def moved(use: str) -> int:
        one = uses[use]
        return int(simulate(machine, one.kind, one.dims | {one.varies: ROWS * one.scale}).bytes["hbm"][0])

    assert moved("norms") == 4 * ROWS * model.hidden * 2
    assert moved("activation") == (halves + 1) * ROWS * (model.ffn // tp) * 2


@pytest.mark.parametrize("name", ["llama-3.1-8b", "qwen3-32b", "codellama-34b"])
def test_products_of_a_step_hold_the_weights_of_the_model(name: str) -> None:
    model = load(name, "model")
    products = sum(
        use.dims["n"] * use.dims["k"] * use.count for use in token_uses(model, 1, "bf16", "bf16") if use.kind == "gemm"
    )
    others = (model.vocab * (1 if model.tied else 2) + model.learned_positions) * model.hidden
    norms = (model.layers * model.norms + 1) * model.hidden
    assert weight_bytes(model, 1, "bf16") == 2 * (model.layers * products + others + norms)
