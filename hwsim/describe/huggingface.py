"""A model's `config.json`, as Hugging Face repositories carry it, read as a model description.

Only decoders whose layers `Model` can express are taken; everything else is refused by name, since a config that
is half understood gives wrong times. Source of the fields' meaning: the configuration classes of `transformers`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path as File
from typing import Any

from hwsim.describe.tree import Mark, Tree, excerpt
from hwsim.errors import Fault, InputError, bad

_LARGEST_FILE = 50_000_000


Config = dict[str, Any]


@dataclass(frozen=True)
class Architecture:
    """How one `model_type` of `transformers` maps to a model description.

    `keys` maps a field ("experts.count": one of a block) to its key in the config, `defaults` gives what `transformers`
    fills in for keys that are absent or null, `fixed` what the architecture always has.
    """

    keys: Mapping[str, str]
    defaults: Callable[[Config], Config]
    fixed: Mapping[str, bool]


def _quotient(config: Config, above: str, below: str) -> int | None:
    top, bottom = config.get(above), config.get(below)
    return top // bottom if isinstance(top, int) and isinstance(bottom, int) and bottom > 0 else None


def _llama_defaults(config: Config) -> Config:
    return {
        "num_key_value_heads": config.get("num_attention_heads"),
        "head_dim": _quotient(config, "hidden_size", "num_attention_heads"),
        "tie_word_embeddings": False,
        "attention_bias": False,
    }


def _gpt2_defaults(config: Config) -> Config:
    width = config.get("n_embd")
    return {
        "head_dim": _quotient(config, "n_embd", "n_head"),
        "n_inner": 4 * width if isinstance(width, int) else None,
        "tie_word_embeddings": True,
    }


_LLAMA = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "kv_heads": "num_key_value_heads",
    "head_dim": "head_dim",
    "ffn": "intermediate_size",
    "vocab": "vocab_size",
    "tied": "tie_word_embeddings",
    "positions": "max_position_embeddings",
    "rope_theta": "rope_theta",
    "sliding_window": "sliding_window",
}
_BIASED = _LLAMA | {"qkv_bias": "attention_bias", "output_bias": "attention_bias"}
_MIXTRAL = _LLAMA | {
    "experts.count": "num_local_experts",
    "experts.top_k": "num_experts_per_tok",
    "experts.ffn": "intermediate_size",
}
_QWEN3_MOE = _BIASED | {
    "experts.count": "num_experts",
    "experts.top_k": "num_experts_per_tok",
    "experts.ffn": "moe_intermediate_size",
}
_GPT2 = {
    "layers": "n_layer",
    "hidden": "n_embd",
    "heads": "n_head",
    "kv_heads": "n_head",
    "head_dim": "head_dim",
    "ffn": "n_inner",
    "vocab": "vocab_size",
    "tied": "tie_word_embeddings",
    "positions": "n_positions",
    "learned_positions": "n_positions",
}
_GPT2_ALWAYS = {"gated": False, "qkv_bias": True, "output_bias": True, "ffn_bias": True, "norm_bias": True}
_OPTIONAL = ("positions", "rope_theta", "sliding_window")

ARCHITECTURES: dict[str, Architecture] = {
    "llama": Architecture(_BIASED, _llama_defaults, {"gated": True}),
    "mistral": Architecture(_LLAMA, _llama_defaults, {"gated": True}),
    "qwen2": Architecture(_LLAMA, _llama_defaults, {"gated": True, "qkv_bias": True}),
    "qwen3": Architecture(_BIASED, _llama_defaults, {"gated": True, "qk_norm": True}),
    "mixtral": Architecture(_MIXTRAL, _llama_defaults, {"gated": True}),
    "qwen3_moe": Architecture(_QWEN3_MOE, _llama_defaults, {"gated": True, "qk_norm": True}),
    "phi3": Architecture(_LLAMA, _llama_defaults, {"gated": True}),
    "gpt2": Architecture(_GPT2, _gpt2_defaults, _GPT2_ALWAYS),
}

# Keys that change what a layer computes in a way no field says: only these values may stand there.
_NEUTRAL: dict[str, tuple[object, ...]] = {
    "mlp_bias": (None, False),
    "num_local_experts": (None, 0),
    "num_experts": (None, 0),
    "decoder_sparse_step": (None, 1),
    "mlp_only_layers": (None, []),
}


def tree_of_config(file: File) -> Tree:
    """Tree of a model description from a `config.json`.

    Raises
    ------
    InputError
        No JSON object, an architecture that is not supported, missing keys (all at once).
    """
    text = _text(file)
    config = _parse(text, file)
    kind = config.get("model_type")
    if not isinstance(kind, str) or kind not in ARCHITECTURES:
        got = f"model_type {json.dumps(kind)}" if "model_type" in config else "no model_type"
        expected = f"a decoder of a known architecture: {', '.join(ARCHITECTURES)}"
        cure = "describe it in YAML, or wait for its architecture" if kind else "take a config.json of `transformers`"
        raise bad(_place(text, file, "model_type"), got, expected, cure, excerpt=_shown(text, "model_type"))
    return _tree(config, ARCHITECTURES[kind], text, file)


def _text(file: File) -> str:
    try:
        if file.stat().st_size > _LARGEST_FILE:
            raise bad(str(file), f"{file.stat().st_size} bytes", f"a config of at most {_LARGEST_FILE} bytes")
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise bad(str(file), f"byte {error.object[error.start]:#04x} at offset {error.start}", "UTF-8 text") from None
    except OSError as error:
        raise bad(str(file), error.strerror or "no file", "a model's config.json") from None


def _parse(text: str, file: File) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        seen = dict(pairs)
        twice = [key for key in seen if sum(key == other for other, _ in pairs) > 1]
        if twice:
            raise bad(_place(text, file, twice[0]), f"'{twice[0]}' twice", "each key once")
        return seen

    try:
        config = json.loads(text, object_pairs_hook=once, parse_float=_decimal)
    except json.JSONDecodeError as error:
        lines = text.splitlines()
        shown = excerpt(lines[error.lineno - 1], error.colno) if error.lineno <= len(lines) else ""
        raise bad(
            f"{file}:{error.lineno}:{error.colno}", "text that is no JSON", f"JSON ({error.msg.lower()})", excerpt=shown
        ) from None
    except (RecursionError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise bad(str(file), "JSON that cannot be held", "a model's config.json") from None
    if not isinstance(config, dict):
        raise bad(f"{file}:1:1", f"a {type(config).__name__}", "an object of a model's config.json")
    return config


def _decimal(text: str) -> Fraction | float:
    """Decimals exactly; one with an absurd exponent stays a float, which no field takes."""
    return Fraction(text) if len(text) <= 40 and abs(int(text.lower().partition("e")[2] or 0)) <= 40 else float(text)


def _tree(config: Config, architecture: Architecture, text: str, file: File) -> Tree:
    """Tree with a mark for each field at its key in the file."""
    name = _name(config, file)
    value: dict[str, Any] = {"id": name, "name": name, **architecture.fixed}
    stated = Mark(str(file), source=str(file), status="published")
    tree = Tree(value, {(field,): replace(stated, raw=str(item)) for field, item in value.items()})
    tree.marks[()] = Mark(str(file), 1, 1)
    filled_in = architecture.defaults(config)
    for field, key in architecture.keys.items():
        found = config.get(key) if config.get(key) is not None else filled_in.get(key)
        if field == "sliding_window" and config.get("use_sliding_window") is False:
            found = None
        line, column = _position(text, key)
        if found is not None:
            *blocks, last = field.split(".")
            inside = value
            for block in blocks:
                inside = inside.setdefault(block, {})
                tree.marks.setdefault((block,), replace(stated, line=line, column=column))
            inside[last] = found
            tree.marks[(*blocks, last)] = replace(stated, line=line, column=column, raw=str(found))
        elif field not in _OPTIONAL:
            tree.faults.append(Fault(f"{file}:{line}:{column}", "nothing", f"the key '{key}'", path=field))
    tree.faults += _unsupported(config, set(architecture.keys.values()), text, file)
    return tree


def _unsupported(config: Config, read: set[str], text: str, file: File) -> Iterator[Fault]:
    for key, neutral in _NEUTRAL.items():
        if key not in read and config.get(key) not in neutral:
            got = f"{key} = {config[key]!r}"
            yield Fault(_place(text, file, key), got, "a decoder without it", path=key, excerpt=_shown(text, key))


def _name(config: dict[str, Any], file: File) -> str:
    """Name of the repository the config comes from, or of its folder."""
    stated = config.get("_name_or_path")
    if isinstance(stated, str) and stated.strip("./"):
        return stated.rstrip("/").rsplit("/", 1)[-1].lower()
    return (file.resolve().parent.name if file.stem == "config" else file.stem).lower()


def _position(text: str, key: str) -> tuple[int, int]:
    """Line and column of a key, counted from 1; (1, 1) where it does not stand."""
    match = re.search(rf'"{re.escape(key)}"\s*:', text)
    if match is None:
        return 1, 1
    before = text[: match.start()]
    return before.count("\n") + 1, match.start() - (before.rfind("\n") + 1) + 1


def _place(text: str, file: File, key: str) -> str:
    line, column = _position(text, key)
    return f"{file}:{line}:{column}"


def _shown(text: str, key: str) -> str:
    line, column = _position(text, key)
    return excerpt(text.splitlines()[line - 1], column) if text else ""
