"""Parameter counts of the described models."""

import json
from pathlib import Path

import pytest

import hwsim
from hwsim.describe import library

# What the counts of the facts leave out and ours holds: norms of queries and keys, biases, learned positions.
LEFT_OUT = {
    "qwen3-32b": 64 * 2 * 128,
    "qwen2-72b": 80 * (8192 + 2 * 1024),
    "gpt2-xl": 1024 * 1600 + 48 * (4 * 1600 + 6400 + 1600 + 2 * 1600) + 1600,
}


@pytest.mark.shared
def test_parameter_counts_are_those_of_the_facts(shared: Path):
    facts = json.loads((shared / "facts" / "models.json").read_text())["models"]
    named = {
        fact["name"].lower().removesuffix("-v0.1") if fact["experts"] else fact["name"].lower(): fact
        for fact in facts
        if fact["family"] in ("dense", "moe")
    }
    assert set(named) <= set(library.names("model"))
    for name, fact in named.items():
        model = hwsim.load(name, "model")
        assert model.params - LEFT_OUT.get(name, 0) == fact["params_total_computed"], name
        assert 2 * 2 * model.layers * model.kv_heads * model.head_dim == fact["kv_bytes_per_token_bf16"], name


def test_llama_3_1_70b_has_its_published_count_of_parameters():
    assert hwsim.load("llama-3.1-70b").params == 70_553_706_496
