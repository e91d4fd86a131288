"""The compiled cores: flat tables in, integers out. They never see a description."""

import hashlib
from pathlib import Path

FOLDER = Path(__file__).parent
STAMP = FOLDER / "built.sha256"
"""What `setup.py build_ext --inplace` made the cores of; an installed hwsim has neither it nor the sources."""


def sources_digest() -> str:
    """Of the Cython sources beside the cores."""
    digest = hashlib.sha256()
    for path in sorted([*FOLDER.glob("*.pyx"), *FOLDER.glob("*.pxd")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


if STAMP.exists() and STAMP.read_text() != sources_digest():
    raise ImportError("the compiled cores are older than their sources: build again: make dev")
