"""Names of descriptions in the cells of a table: each is known, or a file that loads."""

from __future__ import annotations

from hwsim.describe import library
from hwsim.describe.library import a
from hwsim.describe.loader import load
from hwsim.errors import Fault, InputError


class Names:
    """Looks every name up once."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], tuple[Fault, ...]] = {}

    def faults(self, kind: str, name: str, where: str) -> list[Fault]:
        """What is wrong with a name in a cell: no such description, or all faults of the file that it names.

        Parameters
        ----------
        where : str
            `file:line` of the cell; faults of a described file stand behind the first cell that names it.
        """
        is_first = (kind, name) not in self.kept
        if is_first:
            self.kept[kind, name] = _problem(kind, name)
        found = self.kept[kind, name]
        if not found:
            return []
        one = found[0]
        if one.where in (name, repr(name)):
            return [Fault(where, f"{kind} {name!r}", f"the name of {a(kind)}", one.cure or one.got)]
        row = Fault(where, f"{kind} {name!r}, which does not load", "a description without faults")
        return [row, *found] if is_first else [row]


def _problem(kind: str, name: str) -> tuple[Fault, ...]:
    """Faults of loading a name."""
    if not name:
        return (Fault(name, "no name", f"the name of {a(kind)}", library.similar(name, kind)),)
    try:
        load(name, kind)
    except InputError as error:
        return error.faults
    return ()
