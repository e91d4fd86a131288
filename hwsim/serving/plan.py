"""What each device of a system holds under a plan, and whether it fits."""

from __future__ import annotations

from dataclasses import dataclass

from hwsim.describe.model import Model
from hwsim.describe.plan import Plan
from hwsim.describe.software import Scheduler
from hwsim.describe.system import System
from hwsim.errors import Fault, InputError, bad
from hwsim.serving.layers import AttentionShape, attention_shape, weight_bytes


@dataclass(frozen=True)
class Placement:
    """One replica's share of a system.

    Attributes
    ----------
    tp, replicas : int
        Devices of a replica; replicas of the system.
    weight_bytes, kv_bytes : int
        What a device keeps of the weights, and for the KV cache.
    kv_blocks : int
        Blocks of a replica (each device holds its heads' part of every block).
    """

    tp: int
    replicas: int
    attention: AttentionShape
    weight_bytes: int
    kv_bytes: int
    kv_blocks: int


def place(system: System, model: Model, plan: Plan, scheduler: Scheduler, precision: str, kv_dtype: str) -> Placement:
    """Divide the model over the devices.

    Raises
    ------
    InputError
        The plan does not divide the model or the system, or the weights leave no room for the KV cache of one request;
        the message says what would fit.
    """
    _check_divides(system, model, plan)
    replicas = system.count // plan.tp
    attention = attention_shape(model, plan.tp, precision, kv_dtype)
    weights = weight_bytes(model, plan.tp, precision)
    workspace = workspace_bytes(model, plan.tp, scheduler)
    budget = int(system.accelerator.room * scheduler.memory_fraction)
    block = attention.kv_bytes_per_token * scheduler.block_tokens
    kv = budget - weights - workspace
    if kv < 2 * block:  # one block is the null block
        raise _does_not_fit(system, model, plan, scheduler, precision, budget - workspace)
    return Placement(plan.tp, replicas, attention, weights, kv, kv // block)


def workspace_bytes(model: Model, tp: int, scheduler: Scheduler) -> int:
    """Peak of activations: the residual, its norm and the widest product of a full step, and the logits in fp32.

    What a serving stack measures in its profiling run before it sizes the KV cache; counted here from the dimensions.
    """
    widest = max(3 * model.ffn // tp, (model.heads + 2 * model.kv_heads) * model.head_dim // tp)
    return scheduler.token_budget * (2 * model.hidden + widest) * 2 + scheduler.max_num_seqs * model.vocab * 4


def _check_divides(system: System, model: Model, plan: Plan) -> None:
    faults = []

    def refuse(got: str, expected: str, cure: str) -> None:
        faults.append(Fault("--plan", got, expected, cure))

    for name, value in (("pp", plan.pp), ("ep", plan.ep)):
        if value != 1:
            refuse(f"{name}={value}", f"{name}=1", "this version replays tensor parallelism and replicas")
    if model.heads % plan.tp:
        fits = [n for n in range(1, system.count + 1) if model.heads % n == 0 and model.ffn % n == 0]
        refuse(f"tp={plan.tp}", f"a divisor of {model.heads} query heads", f"try tp={fits[-1]}")
    elif model.ffn % plan.tp:
        refuse(f"tp={plan.tp}", f"a divisor of the feed-forward width {model.ffn}", "choose a smaller tp")
    elif max(model.kv_heads, plan.tp) % min(model.kv_heads, plan.tp):
        refuse(f"tp={plan.tp}", f"a divisor or a multiple of {model.kv_heads} KV heads", "choose another tp")
    used = plan.tp * (plan.dp or max(1, system.count // plan.tp))
    if used != system.count:
        want = f"tp x dp = {system.count}, the devices of {system.id}"
        refuse(f"tp={plan.tp}" + (f",dp={plan.dp}" if plan.dp else ""), want, "devices may not be left over")
    if faults:
        raise InputError(faults)


def _does_not_fit(
    system: System, model: Model, plan: Plan, scheduler: Scheduler, precision: str, room: int
) -> InputError:
    need = weight_bytes(model, plan.tp, precision)
    chip = system.accelerator
    cures = [
        f"tp={tp}" + (f" on {chip.id}-x{tp}" if tp > system.count else "")
        for tp in range(plan.tp + 1, system.accelerator.links.scale_up.devices + 1)
        if model.heads % tp == 0 and model.ffn % tp == 0 and weight_bytes(model, tp, precision) < room
    ][:1]
    cures += [
        p
        for p in ("fp8", "int4")
        if p != precision and p in chip.units.tensor.per_cycle and weight_bytes(model, plan.tp, p) < room
    ][:1]
    cure = "it would fit with " + " or ".join(cures) if cures else "use a larger device or a smaller model"
    got = f"{need / 1e9:.1f} GB of {precision} weights a device under tp={plan.tp}"
    expected = f"at most {room / 1e9:.1f} GB beside the activations and one KV block"
    return bad(f"{system.id} {model.id}", got, expected, cure)
