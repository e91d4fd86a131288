"""Names of how tokens are spread over the experts of a layer."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from hwsim.describe.quantity import refuse

BALANCED, UNIFORM = 0, 1
WORDS = {"balanced": BALANCED, "uniform": UNIFORM}
THOUSANDTHS = 1000  # a power law is named by its exponent in these
STEEPEST = 4 * THOUSANDTHS
EXPECTED = (
    "balanced, uniform or power_law_<a> with an exponent above 1, to 4, of three decimals at most, e.g. power_law_1.2"
)
_PATTERN = r"power_law_([1-4](?:\.[0-9]{1,3})?)"


def distribution(text: str) -> int | None:
    """The number of a named distribution; None for a name that means none."""
    if text in WORDS:
        return WORDS[text]
    match = re.fullmatch(_PATTERN, text)
    exponent = Fraction(match[1]) * THOUSANDTHS if match else Fraction(0)
    return int(exponent) if THOUSANDTHS < exponent <= STEEPEST else None


@dataclass(frozen=True)
class RoutingText:
    """A name that `distribution` knows."""

    def validate(self, value: object) -> str:
        """The name itself."""
        if not isinstance(value, str) or distribution(value) is None:
            raise refuse(repr(value), EXPECTED)
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        return core_schema.no_info_plain_validator_function(self.validate)

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "pattern": f"^(balanced|uniform|{_PATTERN})$", "examples": ["power_law_1.2"]}


Routing = Annotated[str, RoutingText()]
