"""Models read from a Hugging Face config.json."""

import json

import pytest

import hwsim
from hwsim.errors import InputError

LLAMA = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "model_type": "llama",
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {"factor": 8.0, "rope_type": "llama3"},
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
QWEN3 = {
    "model_type": "qwen3",
    "attention_bias": False,
    "head_dim": 128,
    "hidden_size": 5120,
    "intermediate_size": 25600,
    "max_position_embeddings": 40960,
    "num_attention_heads": 64,
    "num_hidden_layers": 64,
    "num_key_value_heads": 8,
    "sliding_window": None,
    "use_sliding_window": False,
    "tie_word_embeddings": False,
    "vocab_size": 151936,
}
GPT2 = {
    "model_type": "gpt2",
    "n_ctx": 1024,
    "n_embd": 1600,
    "n_head": 25,
    "n_layer": 48,
    "n_positions": 1024,
    "vocab_size": 50257,
}


MIXTRAL = {
    "model_type": "mixtral",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 32768,
    "num_attention_heads": 32,
    "num_experts_per_tok": 2,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "num_local_experts": 8,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "vocab_size": 32000,
}
QWEN3_MOE = QWEN3 | {
    "model_type": "qwen3_moe",
    "decoder_sparse_step": 1,
    "hidden_size": 2048,
    "intermediate_size": 6144,
    "mlp_only_layers": [],
    "moe_intermediate_size": 768,
    "num_attention_heads": 32,
    "num_experts": 128,
    "num_experts_per_tok": 8,
    "num_hidden_layers": 48,
    "num_key_value_heads": 4,
    "rope_theta": 1000000.0,
}


@pytest.fixture
def write(tmp_path):
    def write(config: object, **changes: object):
        (tmp_path / "some-model").mkdir(exist_ok=True)
        file = tmp_path / "some-model" / "config.json"
        file.write_text(config if isinstance(config, str) else json.dumps(config | changes, indent=2))
        return file

    return write


def test_a_llama_config_equals_the_described_model(write):
    assert hwsim.load(write(LLAMA)) == hwsim.load("llama-3.1-8b")


def test_a_qwen3_config_equals_the_described_model_but_for_rope(write):
    assert hwsim.load(write(QWEN3)) == hwsim.load("qwen3-32b")


def test_gpt2_has_the_published_count_of_parameters(write):
    assert hwsim.load(write(GPT2)).params == 1_557_611_200


def test_the_folder_of_a_repository_can_be_named(write):
    model = hwsim.load(write(LLAMA).parent)
    assert (model.id, model.kind) == ("some-model", "model")


def test_what_transformers_fills_in_is_filled_in(write):
    old = {key: value for key, value in LLAMA.items() if key not in ("num_key_value_heads", "tie_word_embeddings")}
    model = hwsim.load(write(old))
    assert (model.kv_heads, model.head_dim, model.tied) == (32, 128, False)


def test_a_window_that_is_switched_off_is_none(write):
    assert hwsim.load(write(QWEN3, model_type="qwen2", sliding_window=4096)).sliding_window == 0
    assert hwsim.load(write(LLAMA, model_type="mistral", sliding_window=4096)).sliding_window == 4096


def test_a_field_knows_its_line_in_the_config(write):
    mark = hwsim.load(write(LLAMA)).tree.mark(("vocab",))
    assert (mark.line, mark.status) == (20, "published")


@pytest.mark.parametrize(
    ("changes", "parts"),
    [
        (
            {"model_type": "deepseek_v3"},
            ('got model_type "deepseek_v3"', "a decoder of a known architecture: llama, mistral, qwen2"),
        ),
        ({"model_type": "qwen2_moe"}, ('got model_type "qwen2_moe"',)),
        ({"model_type": "mamba2"}, ('got model_type "mamba2"',)),
        ({"model_type": None}, ("got model_type null",)),
        ({"model_type": 5}, ("got model_type 5",)),
        ({"num_local_experts": 8}, ("got num_local_experts = 8", "a decoder without it")),
        ({"mlp_bias": True}, ("got mlp_bias = True",)),
        ({"vocab_size": None}, ("vocab: got nothing, expected the key 'vocab_size'",)),
        ({"hidden_size": "4096"}, ("hidden: got '4096', expected a whole number",)),
        ({"hidden_size": -4096}, ("hidden: got -4096",)),
        ({"num_attention_heads": 0}, ("heads: got 0,",)),
        ({"num_key_value_heads": 5}, ("kv_heads: got 5, expected a divisor of heads = 32",)),
        ({"tie_word_embeddings": "no"}, ("tied: got 'no', expected true or false",)),
        ({"rope_theta": float("nan")}, ("rope_theta: got nan",)),
        ({"head_dim": {"a": 1}}, ("head_dim: got a block",)),
    ],
)
def test_a_config_that_is_not_understood_is_refused(write, changes, parts):
    file = write(LLAMA, **changes)
    with pytest.raises(InputError) as caught:
        hwsim.load(file)
    assert all(part in str(caught.value) for part in (str(file), *parts)), caught.value


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "expected JSON"),
        ("{", "expected JSON"),
        ("[]", "got a list"),
        ('{"model_type": "llama", "model_type": "llama"}', "'model_type' twice"),
        ("{}", "got no model_type"),
        ("[" * 100_000, "expected"),
        ('{"model_type": "llama", "hidden_size": 1' + "0" * 5000 + "}", "expected"),
        ('{"model_type": "llama", "hidden_size": 1e999999999}', "hidden: got inf"),
    ],
    ids=range(8),
)
def test_a_file_that_is_no_config_is_refused(write, text, part):
    with pytest.raises(InputError, match=part):
        hwsim.load(write(text))


def test_missing_keys_come_all_at_once(write):
    with pytest.raises(InputError) as caught:
        hwsim.load(write({"model_type": "llama"}))
    assert len(caught.value.faults) == 7


@pytest.mark.parametrize(("config", "name"), [(MIXTRAL, "mixtral-8x7b"), (QWEN3_MOE, "qwen3-30b-a3b")])
def test_experts_are_read_as_they_are_described(write, config, name):
    assert hwsim.load(write(config), "model") == hwsim.load(name, "model")


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"decoder_sparse_step": 2}, "got decoder_sparse_step = 2"),
        ({"mlp_only_layers": [0]}, "got mlp_only_layers = [0]"),
        ({"num_experts": None}, "the key 'num_experts'"),
        ({"num_experts": 6}, "got 8, expected at most the 6 experts of a layer"),
    ],
)
def test_experts_that_cannot_be_described_are_refused(write, changes, expected):
    with pytest.raises(InputError) as caught:
        hwsim.load(write(QWEN3_MOE, **changes), "model")
    assert expected in str(caught.value)
