"""What all descriptions share: blocks of numbers with their source, and named descriptions made of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, GetJsonSchemaHandler, PrivateAttr
from pydantic_core import core_schema

from hwsim.describe.plain import to_plain
from hwsim.describe.tree import PROSE, Status, Tree


@dataclass(frozen=True)
class Reference:
    """Marks a field that holds another description: a file names it, the loaded object holds it."""

    kind: str

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        named = {"type": "string", "description": f"name of a {self.kind}"}
        return {"anyOf": [named, {"type": "object", "description": f"a {self.kind}, written out or with `extends`"}]}


class Block(BaseModel):
    """Numbers that belong together, with the source they come from.

    `source` and `status` hold for the whole block and the blocks in it that state none of their own; a number without
    either is refused when a file is read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, validate_by_name=True, validate_by_alias=True)

    source: str = Field("", description="where the numbers of this block come from")
    status: Status | None = Field(None, description="how far they can be trusted")

    @cached_property
    def plain(self) -> dict[str, Any]:
        """Values without prose, exact and ready for JSON; not to be changed."""
        return {key: _plain(getattr(self, key)) for key in type(self).model_fields if key not in (*PROSE, "id")}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """A copy that keeps nothing of what was worked out for the original."""
        copied = super().model_copy(update=update, deep=deep)
        for name in vars(copied).keys() - type(self).model_fields.keys():
            del vars(copied)[name]
        return copied


class Description(Block):
    """A described thing with a name."""

    kind: ClassVar[str] = ""
    # Whether each number of the kind needs a source (a plan is a wish, not a fact).
    needs_source: ClassVar[bool] = True

    id: str = Field("", description="name it is loaded by; the file's name unless it says otherwise")
    name: str = Field("", description="full name for people")
    doc: str = Field("", description="what a reader should know")

    _tree: Tree | None = PrivateAttr(None)

    @property
    def tree(self) -> Tree:
        """The merged values as written, each with its place and source."""
        if self._tree is None:
            raise ValueError(f"{self.id or self.name} was not read from a file")
        return self._tree

    @cached_property
    def digest(self) -> str:
        """sha256 over all values in base units; names, prose and sources do not count."""
        return digest_of([type(self).__name__, self])

    def resolved(self) -> dict[str, Any]:
        """All values as written with their sources, as JSON can hold them; `hwsim.describe.restore` reads them back."""
        return to_plain(self.tree)

    def __hash__(self) -> int:
        return hash(self.digest)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Description) and self.digest == other.digest


def digest_of(value: Any) -> str:
    """sha256 over the values of a description, of a part of one, or of lists and mappings of such."""
    return hashlib.sha256(json.dumps(_plain(value), sort_keys=True).encode()).hexdigest()


def _plain(value: Any) -> Any:
    """Values without prose, exact and ready for JSON."""
    if isinstance(value, Block):
        return value.plain
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Fraction) else value
