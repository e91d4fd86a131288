"""Where descriptions live and what they are called.

The root is `descriptions/` of the source tree, or `hwsim/descriptions/` of an installed package. A name is looked up in
the folder of its kind, or in all of them.
"""

from __future__ import annotations

import difflib
import re
from functools import cache
from pathlib import Path

from hwsim.errors import bad

# kind -> folder below the root. The order is that of `hwsim list`; a name of several kinds means the first of them, so
# the parts of other descriptions come last.
FOLDERS: dict[str, str] = {
    "accelerator": "accelerators",
    "system": "systems",
    "model": "models",
    "software": "software",
    "protocol": "protocols",
    "plan": "plans",
    "recipe": "recipes",
    "device": "devices",
    "memory": "memories",
    "link": "links",
    "host": "hosts",
    "generation": "generations",
    "collectives": "collectives",
    "study": "studies",
}

# (kind, short name) -> the version it means today; `hwsim show` says which.
ALIASES: dict[tuple[str, str], str] = {
    ("software", "vllm"): "vllm-0.19",
    ("software", "trtllm"): "trtllm-1.3",
    ("software", "nccl"): "nccl-2.29",
    ("accelerator", "cs-2"): "wse-2",
    ("accelerator", "cs-3"): "wse-3",
    ("software", "cerebras"): "cerebras-2024-08",
    ("model", "mistral-7b"): "mistral-7b-v0.1",
}
# What to write where a kind has no file of its own.
EXAMPLES: dict[str | None, str] = {"plan": "tp=8"}
_COUNT = re.compile(r"-x\d{1,9}$")  # of a derived system


@cache
def root() -> Path:
    """Folder of all descriptions."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "descriptions"
    return installed if installed.is_dir() else package.parent / "descriptions"


def names(kind: str) -> list[str]:
    """Names of a kind that have a file, sorted."""
    return sorted(path.stem for path in (root() / FOLDERS[kind]).glob("*.yaml"))


def kind_of_file(path: Path) -> str | None:
    """Kind of a file by the folder it lies in, or None."""
    return next((kind for kind, folder in FOLDERS.items() if path.resolve().parent.name == folder), None)


def file_of(name: str, kind: str) -> Path | None:
    """File of a name or alias of one kind, or None."""
    if "/" in name or name.startswith("."):
        return None
    path = root() / FOLDERS[kind] / f"{ALIASES.get((kind, name), name)}.yaml"
    return path if path.is_file() else None


def check_kind(kind: str, where: str = "kind") -> str:
    """The kind itself; an unknown one is refused."""
    if kind not in FOLDERS:
        near = difflib.get_close_matches(kind, FOLDERS, n=1)
        raise bad(where, repr(kind), f"one of {', '.join(FOLDERS)}", f"did you mean '{near[0]}'?" if near else "")
    return kind


def a(kind: str) -> str:
    """A kind with its article."""
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"


def similar(name: str, kind: str | None) -> str:
    """`did you mean '...'?` over the names of a kind (or all) and of derived systems, or how to list them."""
    kinds = [kind] if kind else list(FOLDERS)
    known = [item for k in kinds for item in names(k)] + [short for k, short in ALIASES if k in kinds]
    count = _COUNT.search(name)
    if count and "system" in kinds:
        known += [chip + count.group() for chip in names("accelerator")]
    begun = [each for each in known if len(name) > 2 and each.startswith(_COUNT.sub("", name) + "-")]
    near = difflib.get_close_matches(name, begun or known, n=1, cutoff=0.3 if begun else 0.6)
    if not known:
        return f"write one, e.g. {EXAMPLES[kind]}" if kind in EXAMPLES else "name a file"
    return f"did you mean '{near[0]}'?" if near else f"`hwsim list{' ' + kind if kind else ''}` prints the names"
