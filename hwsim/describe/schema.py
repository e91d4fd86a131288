"""JSON schema of a kind, for editors: completion and a first check while one writes a file."""

from __future__ import annotations

from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from hwsim.describe.classes import OfClass
from hwsim.describe.kinds import class_of
from hwsim.describe.quantity import SOURCE_SCHEMA


class _FileSchema(GenerateJsonSchema):
    """What a file may hold beyond the fields: a base, sources in any mapping, single numbers with their own source."""

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        for each in schema["cls"].subclasses().values() if issubclass(schema["cls"], OfClass) else ():
            _join(made["properties"], self.model_schema(_model(each.__pydantic_core_schema__))["properties"])
        if "properties" in made:
            made["properties"]["extends"] = {"type": "string", "description": "name of a description of the same kind"}
        return made

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        made = super().dict_schema(schema)
        if "enum" in made.get("propertyNames", {}):
            made["propertyNames"]["enum"] += [key for key in SOURCE_SCHEMA if key not in made["propertyNames"]["enum"]]
        made["properties"] = dict(SOURCE_SCHEMA)
        return made


def _model(schema: Any) -> Any:
    """The model schema inside what validates it."""
    while schema["type"] != "model":
        schema = schema["schema"]
    return schema


def _join(into: dict[str, Any], other: dict[str, Any]) -> None:
    """Fields of another class: a field that differs may be as in either."""
    for name, field in other.items():
        known = into.setdefault(name, field)
        if known != field and field not in known.get("anyOf", []):
            into[name] = {"anyOf": [*known.get("anyOf", [known]), field]}


def json_schema(kind: str) -> dict[str, Any]:
    """JSON schema (draft 2020-12) of the files of a kind.

    Raises
    ------
    InputError
        Unknown kind.
    """
    made = class_of(kind).model_json_schema(by_alias=True, schema_generator=_FileSchema)
    for block in (made, *made.get("$defs", {}).values()):
        block.pop("required", None)  # a file that extends another names only what differs
    made["properties"]["kind"] = {"const": kind, "description": "needed only outside a folder of this kind"}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **made}
