"""Classes of accelerators: what each describes beyond what all share. A new class is one module and one line here.

Three kinds of blocks differ by class: an accelerator, its generation and the kernels a software has for it. Each has a
base with the fields that all classes share, in the module of its kind, and a subclass of the same name in the module of
every class. A file says its class with the word `class`; the base, asked to validate it, gives an object of the class.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ModelWrapValidatorHandler, model_validator
from pydantic_core import PydanticCustomError

from hwsim.describe.block import Block
from hwsim.describe.misplaced import similar
from hwsim.describe.quantity import refuse

# class -> the module with its Accelerator, Generation and Kernels
CLASSES: Mapping[str, str] = {
    "gpu": "hwsim.describe.gpu",
    "systolic": "hwsim.describe.systolic",
    "pipeline": "hwsim.describe.pipeline",
    "wafer": "hwsim.describe.wafer",
    "manycore": "hwsim.describe.manycore",
}
DEFAULT_CLASS = "gpu"  # of a generation, and of kernels, that do not say theirs


class OfClass(Block):
    """A block with a field `class_` (written `class`) that decides about its other fields."""

    @classmethod
    def is_shared(cls) -> bool:
        """Whether this is the base that all classes share."""
        return cls.__module__ not in CLASSES.values()

    @classmethod
    def subclasses(cls) -> dict[str, type[Block]]:
        """The subclass of every class of accelerators; empty for one of them."""
        if not cls.is_shared():
            return {}
        return {word: getattr(import_module(module), cls.__name__) for word, module in CLASSES.items()}

    @classmethod
    def of_value(cls, value: object) -> type[Block]:
        """The subclass that a plain value asks for; `cls` where it asks for none."""
        if not isinstance(value, dict) or not cls.is_shared():
            return cls
        return cls.subclasses().get(value.get("class", cls.model_fields["class_"].default), cls)

    @model_validator(mode="wrap")
    @classmethod
    def _as_its_class(cls, value: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        if not isinstance(value, dict) or not cls.is_shared():
            return handler(value)
        found = cls.of_value(value)
        if found is cls or _misspelt(value):
            raise _unknown(value)
        return found.model_validate(value)


def _misspelt(value: dict[str, Any]) -> str:
    """The key that stands for `class`, where that does not stand there itself."""
    return "" if "class" in value else similar("class", map(str, value))


def _unknown(value: dict[str, Any]) -> PydanticCustomError:
    word = value.get("class")
    misspelt = _misspelt(value)
    if misspelt:
        return refuse(f"unknown field '{misspelt}'", "the field 'class'", "did you mean 'class'?", at=misspelt)
    near = difflib.get_close_matches(str(word), CLASSES, n=1)
    got = "nothing" if word is None else repr(word)
    return refuse(got, "one of " + ", ".join(CLASSES), f"did you mean '{near[0]}'?" if near else "", at="class")


def narrowed(annotation: object, value: object) -> object:
    """An annotation, or where it is a block that differs by class, the block of the class that a plain value names."""
    if isinstance(annotation, type) and issubclass(annotation, OfClass):
        return annotation.of_value(value)
    return annotation
