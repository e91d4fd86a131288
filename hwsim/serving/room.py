"""What a model takes of a device's memory, and what a plan is told that does not suit.

Placers say how a model lies on the devices of their class; its bytes there are counted and its refusals worded here,
alike for all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace

from hwsim.describe.model import Model
from hwsim.describe.software import Scheduler
from hwsim.errors import Fault, InputError, bad
from hwsim.serving.layers import ACTIVATION_BYTES, AttentionShape, Devices, share
from hwsim.serving.plan import Question

LOGIT_BYTES = 4
LEAST_BLOCKS = 2  # one block is the null block
SMALLER = ("fp8", "int8", "int4")  # precisions of weights that take less


def budget_bytes(question: Question) -> int:
    """Memory of a device that the server may use."""
    return int(question.system.accelerator.room * question.software.scheduler.memory_fraction)


def activation_bytes(model: Model, scheduler: Scheduler, shape: AttentionShape, tp: Devices, streamed: bool) -> int:
    """Peak of the activations of a full step on the fullest of tp devices, logits apart.

    The residual and the product under way where products stream past the units; else also the norm of the residual,
    and the activation's output beside what it reads: what a serving stack finds in its profiling run before it sizes
    the KV cache, counted here from the dimensions.
    """
    ffn = share(model.ffn, tp) * (1 if streamed else 3 if model.gated else 2) if model.dense_layers else 0
    if of := model.experts:  # rows of all its experts; the first product's room is that of the second's result
        ffn = max(ffn, of.top_k * (max(2 * share(of.ffn, tp), model.hidden) + share(of.ffn, tp)))
    widest = max(ffn, (shape.heads + 2 * shape.kv_heads) * shape.head_dim)
    residual = model.hidden * (1 if streamed else 2)
    return scheduler.token_budget * (residual + widest) * ACTIVATION_BYTES


def logit_bytes(model: Model, scheduler: Scheduler) -> int:
    """Logits of a full batch in fp32, all columns."""
    return scheduler.max_num_seqs * model.vocab * LOGIT_BYTES


def block_bytes(shape: AttentionShape, layers: int, scheduler: Scheduler) -> int:
    """Of a KV block on a device that holds so many layers."""
    return replace(shape, count=layers).kv_bytes_per_token * scheduler.block_tokens


def refuse_words(question: Question, allowed: Collection[str], cure: str = "") -> list[Fault]:
    """Faults of the plan's words that mean nothing to the class: degrees and "regions" other than the allowed ones.

    Parameters
    ----------
    cure : str
        What to do about a degree; that a model has no experts is said without it.
    """
    plan, faults, no_experts = question.plan, [], f"{question.model.id} has no experts"
    for name in ("tp", "pp", "ep"):
        if name not in allowed and (value := getattr(plan, name)) != 1:
            why = no_experts if name == "ep" else cure
            faults.append(Fault("--plan", f"{name}={value}", f"{name}=1", why))
    if plan.routing is not None and question.model.experts is None:
        faults.append(Fault("--plan", f"routing={plan.routing}", "no routing", no_experts))
    if plan.offload is not None and "offload" not in allowed:
        why = f"{question.system.accelerator.id} streams no weights from behind a link: leave it out"
        faults.append(Fault("--plan", f"offload={plan.offload.id}", "no offload", why))
    if plan.offload is None and plan.offload_layers is not None:
        faults.append(Fault("--plan", f"offload_layers={plan.offload_layers}", "offload=DEVICE with it", "name both"))
    if "regions" not in allowed:
        why = f"{question.system.accelerator.id} is no wafer: leave it out"
        given = [name for name in ("prefill_region", "decode_region") if getattr(plan, name) is not None]
        faults += [Fault("--plan", name, "no region", why) for name in given]
    return faults


def smaller(question: Question, fits: Callable[[Question], bool]) -> list[str]:
    """The first precision of the chip's that would fit, as it is asked for, or none."""
    others = (p for p in SMALLER if p != question.precision and p in question.machine.tensor)
    return [f"--precision {p}" for p in others if fits(replace(question, precision=p))][:1]


def would_fit(cures: Iterable[str], otherwise: str) -> str:
    """What to do, where any of the cures would fit or none would."""
    cures = list(cures)
    return "it would fit with " + " or ".join(cures) if cures else f"use {otherwise}"


def does_not_fit(question: Question, need: int, where: str, room: int, cures: Iterable[str]) -> InputError:
    """Weights of `need` bytes on the devices `where` with `room` for them; `cures` would fit."""
    cure = would_fit(cures, "larger devices, more of them or a smaller model")
    got = f"{need / 1e9:.2f} GB of {question.precision} weights {where}"
    expected = f"at most {room / 1e9:.2f} GB beside activations and one KV block"
    return bad(f"{question.system.id} {question.model.id}", got, expected, cure)
