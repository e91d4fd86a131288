"""rows.pxd and its Python mirror say the same."""

import re
from pathlib import Path

import hwsim
from hwsim._core import tables
from hwsim._core.bounds import BOUND_CLASSES

TEXT = (Path(hwsim.__file__).parent / "_core" / "rows.pxd").read_text()


def struct_fields(name: str) -> list[tuple[str, str]]:
    body = re.search(rf"struct {name}:\n(.*?)\n(?:\n|$)", TEXT, re.S).group(1)
    return re.findall(r"(int\d+)_t (\w+)", body)


def test_each_dtype_has_the_fields_of_its_struct():
    for name, dtype in [
        ("ResourceRow", tables.RESOURCE_ROW),
        ("QueueRow", tables.QUEUE_ROW),
        ("Row", tables.ROW),
        ("VaryRow", tables.VARY_ROW),
        ("CommandRow", tables.COMMAND_ROW),
    ]:
        assert [(str(dtype[field]), field) for field in dtype.names] == struct_fields(name)


def test_bound_classes_follow_the_enum():
    names = re.search(r"cdef enum Bound:.*?\n\s+(.*?)\n\n", TEXT, re.S).group(1).split(", ")
    renamed = {"SYNCHRONISE": "SYNC", "QUEUED": "QUEUE"}
    assert tuple(renamed.get(name, name).lower() for name in names) == BOUND_CLASSES


def test_rows_pxd_stays_small():
    assert len(TEXT.splitlines()) < 100
