"""A description changed at a few paths is taken from what was built before: it must be the one that is built anew."""

import random
from fractions import Fraction

import pytest

from hwsim import load
from hwsim.describe import resolve
from hwsim.describe.loader import build, rebuilt
from hwsim.describe.tree import Mark, Tree, is_number
from hwsim.errors import InputError

NAMES = (
    ("h100-sxm-x8", "system"),
    ("gb200-nvl72", "system"),
    ("groq-576", "system"),
    ("wse-2", "system"),
    ("ipu-gc200", "system"),
    ("tpu-v6e", "system"),
    ("vllm", "software"),
    ("ideal", "software"),
    ("llama-3.1-70b", "model"),
)
MARK = Mark("axis", source="a test", status="assumed")


def outcome(make, *given):
    """Digest of what is made, or why it is refused."""
    try:
        return make(*given).digest
    except InputError as error:
        return str(error)


def other(value):
    """Another number of the same unit, some of which no field takes."""
    if isinstance(value, int | Fraction):
        return value * 2 + 1
    number, _, unit = value.partition(" ")
    return f"3{number} {unit}"


@pytest.mark.parametrize("name, kind", NAMES, ids=[name for name, _ in NAMES])
def test_a_changed_number_gives_what_building_it_whole_gives(name, kind):
    whole = load(name, kind)
    numbers = [path for path, value in whole.tree.leaves() if is_number(value) and path[-1] not in ("source", "name")]
    changed = 0
    for path in random.Random(name).sample(numbers, min(12, len(numbers))):
        tree = resolve.opened(whole.tree, [path])
        resolve.lay(tree, kind, path, Tree(other(whole.tree.at(path)), {(): MARK}), "axis")
        quick, slow = outcome(rebuilt, whole, tree, [path]), outcome(build, kind, tree)
        assert quick == slow, path
        changed += quick != whole.digest
    assert changed > 3


def test_the_original_stays_as_it_was():
    whole = load("h100-sxm-x8", "system")
    before, path = whole.resolved(), ("accelerator", "tiers", "hbm", "capacity")
    tree = resolve.opened(whole.tree, [path])
    resolve.lay(tree, "system", path, Tree("100 GB", {(): MARK}), "axis")
    assert rebuilt(whole, tree, [path]).accelerator.tiers.hbm.capacity == 100 * 10**9
    assert whole.resolved() == before
    assert whole.accelerator.tiers.hbm.capacity == 80 * 10**9


def test_a_value_that_a_block_further_out_refuses_is_refused():
    """Heads of a model must share KV heads evenly: the rule is the model's, not the number's."""
    whole = load("llama-3.1-8b", "model")
    tree = resolve.opened(whole.tree, [("kv_heads",)])
    resolve.lay(tree, "model", ("kv_heads",), Tree(7, {(): MARK}), "axis")
    assert "kv_heads" in outcome(rebuilt, whole, tree, [("kv_heads",)])


def test_a_copy_has_a_digest_of_its_own():
    whole = load("llama-3.1-8b", "model")
    assert whole.digest != whole.model_copy(update={"kv_heads": 32}).digest
