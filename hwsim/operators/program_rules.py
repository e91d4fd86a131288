"""What must hold for a template whatever its values: the refusals of `TemplateBuilder.build`.

The counter law is the subtle one. A consumer waits for "counter >= n" and takes it that the first n commands are
done. That is so only if the commands of one queue that signal one counter complete in the order they were issued.
"""

from __future__ import annotations

import numpy as np

from hwsim._core import tables
from hwsim.errors import Fault

MAX_QUEUES = 65535
MAX_COUNTERS = 1 << 23
Names = dict[str, tuple[str, ...]]


def check_rows(
    template: str, names: Names, resources: np.ndarray, queues: np.ndarray, rows: np.ndarray, vary: np.ndarray
) -> list[Fault]:
    """All faults of the static tables of a template, in the order of its rows."""
    where = f"template {template!r}"
    faults = _sizes(where, names, queues, rows)
    for index, row in enumerate(rows):
        place = f"{where}: row {names['rows'][index]!r}"
        if row["slot"] >= 0:
            faults += _reach(place, row, vary)
        for part, used in (("delay", "op"), ("step0", "wait0"), ("step1", "wait1")):
            if row[used] >= 0 and row["op"] == tables.RUN and row[part] < 0:
                faults.append(Fault(place, f"{part.rstrip('01')} {row[part]}", "0 or more"))
        if row["flags"] & tables.CUT and resources[row["resource"]]["kind"] == tables.ROTATE:
            got = "cut-through from a rotating resource"
            faults.append(Fault(place, got, "a fifo resource", "say cut=False: the next hop takes whole requests"))
        if row["flags"] & tables.HOP and row["slots"] != rows[index - 1]["slots"]:
            faults.append(Fault(place, "hops with slots of different sizes", "one size along a chain"))
    for queue_name, queue in zip(names["queues"], queues):
        faults += _counter_law(f"{where}: queue {queue_name!r}", names, queue, rows)
    return faults


def _sizes(where: str, names: Names, queues: np.ndarray, rows: np.ndarray) -> list[Fault]:
    faults = [
        Fault(f"{where}: queue {name!r}", "no rows", "at least one row")
        for name, queue in zip(names["queues"], queues)
        if queue["first"] == queue["end"]
    ]
    faults += [
        Fault(f"{where}: queue {name!r}", f"issue interval {queue['issue']}", "at least 1 cycle")
        for name, queue in zip(names["queues"], queues)
        if queue["issue"] < 1
    ]
    if not 1 <= len(queues) <= MAX_QUEUES:
        faults.append(Fault(where, f"{len(queues)} queues", f"1 to {MAX_QUEUES}"))
    if len(names["counters"]) > MAX_COUNTERS:
        faults.append(Fault(where, f"{len(names['counters'])} counters", f"at most {MAX_COUNTERS}"))
    paces = int(np.count_nonzero(rows["pace"] >= 0))
    if paces > tables.MAX_PACE:
        cure = "flag one inner and one outer loop of the first group"
        faults.append(Fault(where, f"{paces} loops with pace=True", f"at most {tables.MAX_PACE}", cure))
    return faults


def _reach(place: str, row: np.void, vary: np.ndarray) -> list[Fault]:
    """FIRST and LAST terms must stay inside the slot; ITER terms depend on trips and are checked by bind."""
    terms = vary[row["vary"] : row["vary"] + row["terms"]]
    reach = int(terms["stride"][terms["kind"] != tables.ITER].sum())
    if reach < row["slots"]:
        return []
    return [Fault(place, f"vary terms that reach column {reach}", f"a column below the slot's size {row['slots']}")]


def _counter_law(where: str, names: Names, queue: np.void, rows: np.ndarray) -> list[Fault]:
    """Signals of one counter come from one path, or every chain that gives them is waited for (SYNC, zero row)."""
    paths: dict[int, set[tuple[int, ...]]] = {}
    waited: dict[int, bool] = {}
    path: tuple[int, ...] = ()
    for index in range(queue["first"], queue["end"]):
        row = rows[index]
        if row["op"] != tables.RUN:
            continue
        if not row["flags"] & tables.HOP:
            path = ()
        last = rows[index + row["chain"] - 1]
        sync = row["resource"] < 0 or bool(last["flags"] & tables.WAIT_DONE)
        served = (*path, int(row["law"]))
        path = (*served, int(row["delay"]), int(row["flags"] & tables.CUT))
        for counter, signature in ((row["freed"], (0, *served)), (row["done"], (1, *path[:-1]))):
            if counter >= 0:
                paths.setdefault(int(counter), set()).add(signature)
                waited[int(counter)] = waited.get(int(counter), True) and sync
    return [
        Fault(
            where,
            f"counter {names['counters'][counter]!r} signalled along {len(found)} paths that may overtake each other",
            "commands that complete in the order of issue (the same laws and delays)",
            "use one counter for each stream, or sync=True on all of them",
        )
        for counter, found in paths.items()
        if len(found) > 1 and not waited[counter]
    ]
