"""A network of links again, in plain Python: the rules the compiled core must reproduce to the tick.

At every time at which anything is planned, everything that can happen does, in this order and by number within each:
credits arrive · messages arrive · memories take lines · memories answer · answers join their link's queue · hosts
issue · ways send (the lowest that can, until none can). A flit is a list of slots, filled one after the other.
Memories with commands (DRAM) are not run here: a channel's own reference runs what was offered to it.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hwsim._core import link_tables as rows
from hwsim._core.link_tables import COMPLETION, DATA, READ, WRITE


@dataclass
class Message:
    """One request on its way out, later its answer on the way back; it holds at most one buffer (of a way's target)."""

    request: int
    host: int
    kind: int
    stamp: int = 0
    owed: int = 0
    buffer: int = -1


@dataclass
class Way:
    """One direction of a link."""

    row: Any
    ports: int
    port: int
    lines: list[list[deque[Message]]] = field(default_factory=list)
    free: int = 0
    turn: int = 0
    credits: list[int] = field(default_factory=list)
    returns: list[int] = field(default_factory=lambda: [0] * 4)
    data: deque[Message] = field(default_factory=deque)
    counts: dict[str, Any] = field(default_factory=lambda: {"flits": 0, "bare": 0, "headers": 0, "data": 0, "busy": 0})


class Network:
    """Runs the tables of link_rows.pxd; `requests` and `counts` are what the core would return."""

    def __init__(self, tables: Any) -> None:
        self.tables = tables
        self.requests = tables.requests.copy()
        self.nodes, self.hosts, self.devices = tables.nodes, tables.hosts, tables.devices
        targets = [int(row["target"]) for row in tables.ways]
        self.ways = [
            Way(row, max(1, int(self.nodes[row["source"]]["ports"])), targets[:w].count(targets[w]))
            for w, row in enumerate(tables.ways)
        ]
        for way in self.ways:
            way.lines = [[deque() for _ in range(4)] for _ in range(way.ports)]
            way.credits = [int(n) for n in way.row["credits"]]
            way.counts["sent"], way.counts["received"] = [0] * 4, [0] * 4
        self.next = [int(host["first"]) for host in self.hosts]
        self.outstanding = [[0, 0] for _ in self.hosts]
        self.waiting: list[list[deque[Message]]] = [[deque(), deque()] for _ in tables.channels]
        self.memory_free = [0] * len(tables.channels)
        self.path_free = [[0, 0] for _ in self.devices]
        self.credit_plan: list[tuple[int, int, list[int]]] = []
        self.arrival_plan: list[tuple[int, int, list[Message]]] = []
        self.answer_plan: list[tuple[int, int, Message]] = []
        self.leave_plan: list[tuple[int, int, Message]] = []
        self.times: list[int] = [0]
        self.t = self.stamp = 0

    def run(self) -> int:
        """Answer all requests; returns the last time at which anything was planned."""
        while self.times:
            self.t = heapq.heappop(self.times)
            while self.times and self.times[0] == self.t:
                heapq.heappop(self.times)
            for _, w, counts in self.due(self.credit_plan):
                self.ways[w].credits = [a + b for a, b in zip(self.ways[w].credits, counts)]
            for _, w, messages in self.due(self.arrival_plan):
                for message in messages:
                    self.arrive(w, message)
            for c in range(len(self.waiting)):
                while self.serve(c):
                    pass
            for _, _, message in self.due(self.answer_plan):
                self.answer(message)
            for _, _, message in self.due(self.leave_plan):
                message.kind = {READ: DATA, WRITE: COMPLETION}[message.kind]
                self.enqueue(int(self.device_of(message)["way"]), 0, message)
            for h in range(len(self.hosts)):
                while self.issue(h):
                    pass
            while any(self.send(w) for w in range(len(self.ways))):
                pass
        return self.t

    def due(self, plan: list[Any]) -> list[Any]:
        """What of a plan is for now, by number; it is taken out."""
        now = sorted((item for item in plan if item[0] == self.t), key=lambda item: item[1])
        plan[:] = [item for item in plan if item[0] != self.t]
        return now

    def plan(self, time: int) -> int:
        """Note that something will happen at a time."""
        heapq.heappush(self.times, time)
        return time

    def device_of(self, message: Message) -> Any:
        return self.devices[self.requests[message.request]["device"]]

    # ---- hosts

    def issue(self, h: int) -> bool:
        """Send a host's next request, if its time has come and its limit allows."""
        i = self.next[h]
        if i == self.hosts[h]["end"]:
            return False
        request = self.requests[i]
        kind = int(request["write"])
        if request["earliest"] > self.t:
            self.plan(int(request["earliest"]))
            return False
        if self.outstanding[h][kind] >= self.hosts[h]["limit"][kind]:
            return False
        self.outstanding[h][kind] += 1
        request["issued"] = self.t
        self.next[h] += 1
        self.enqueue(int(self.hosts[h]["way"]), 0, Message(i, h, WRITE if kind else READ))
        return True

    # ---- devices

    def serve(self, c: int) -> bool:
        """A memory that is free takes the oldest line it may; writes wait for the write path."""
        row = self.tables.channels[c]
        d = int(row["device"])
        ready = [line[0] for line in self.waiting[c] if line]
        if any(message.kind == WRITE for message in ready) and self.path_free[d][WRITE] > self.t:
            self.plan(self.path_free[d][WRITE])
            ready = [message for message in ready if message.kind == READ]
        if not ready:
            return False
        if self.memory_free[c] > self.t:
            self.plan(self.memory_free[c])
            return False
        message = min(ready, key=lambda message: message.stamp)
        self.waiting[c][message.kind].popleft()
        self.let_go(message)
        self.memory_free[c] = self.t + int(row["gap"][message.kind])
        posted = message.kind == WRITE and bool(self.devices[d]["posted"])
        if message.kind == WRITE:
            self.path_free[d][WRITE] = self.t + int(self.devices[d]["gap"][WRITE])
        time = self.t if posted else self.t + int(row["latency"][message.kind])
        self.answer_plan.append((self.plan(time), message.request, message))
        return True

    def answer(self, message: Message) -> None:
        """A line is read or written; reads pass the read path one by one."""
        device, d = self.device_of(message), int(self.requests[message.request]["device"])
        time = self.t
        if message.kind == READ:
            time = max(time, self.path_free[d][READ]) + int(device["gap"][READ])
            self.path_free[d][READ] = time
        self.leave_plan.append((self.plan(time + int(device["latency"])), message.request, message))

    # ---- ways

    def arrive(self, w: int, message: Message) -> None:
        """The target of a way looks at a message."""
        way = self.ways[w]
        target = int(way.row["target"])
        way.counts["received"][message.kind] += 1
        request = self.requests[message.request]
        if self.nodes[target]["kind"] == rows.SWITCH:
            end = self.device_of(message) if message.kind in (READ, WRITE) else self.hosts[message.host]
            self.enqueue(int(self.tables.route[target, end["place"]]), way.port, message)
        elif self.nodes[target]["kind"] == rows.DEVICE:
            message.stamp = self.stamp
            self.stamp += 1
            self.waiting[request["channel"]][message.kind].append(message)
        else:
            self.let_go(message)
            request["done"] = self.t
            self.outstanding[message.host][int(request["write"])] -= 1

    def enqueue(self, w: int, port: int, message: Message) -> None:
        """A message waits to leave."""
        message.stamp = self.stamp
        self.stamp += 1
        self.ways[w].lines[port][message.kind].append(message)

    def let_go(self, message: Message) -> None:
        """Its buffer is free again."""
        if message.buffer >= 0:
            self.ways[int(self.ways[message.buffer].row["reverse"])].returns[message.kind] += 1
        message.buffer = -1

    def pick(self, w: int, head: int, room: int) -> Message | None:
        """The next message: ports in turn; of a port the oldest with credit whose header fits."""
        way = self.ways[w]
        units = way.row["units"][4 * head : 4 * head + 4]
        for i in range(way.ports):
            port = (way.turn + i) % way.ports
            fits = [
                line[0]
                for kind, line in enumerate(way.lines[port])
                if line and units[kind] <= room and not (way.row["credits"][kind] and not way.credits[kind])
            ]
            if fits:
                message = min(fits, key=lambda message: message.stamp)
                way.lines[port][message.kind].popleft()
                way.turn = (port + 1) % way.ports
                way.counts["sent"][message.kind] += 1
                self.let_go(message)
                if way.row["credits"][message.kind]:
                    way.credits[message.kind] -= 1
                    message.buffer = w
                message.owed = int(way.row["body"][message.kind])
                return message
        return None

    def send(self, w: int) -> bool:
        """Send one flit, if the wire is free and there is anything to send."""
        way = self.ways[w]
        row, whole = way.row, []
        if way.free > self.t:
            return False
        used = 0
        if not row["update"] or sum(way.returns) < row["every"]:
            used, whole = [self.slots, self.stream, self.packet][row["format"]](w)
        carries = used == 0 or not row["update"]
        packet = row["format"] == rows.PACKETS
        if used == 0:
            if not any(way.returns):
                return False
            way.counts["bare"] += 1
            used = int(row["update"])
        way.free = self.plan(self.t + int(row["time"]) * (used if packet else 1))
        way.counts["flits"] += 1
        way.counts["busy"] += way.free - self.t
        there = way.free + int(row["latency"])
        if whole:
            self.arrival_plan.append((self.plan(there + int(row["hop"])), w, whole))
        if carries and any(way.returns):
            self.credit_plan.append((self.plan(there), int(row["reverse"]), way.returns))
            way.returns = [0] * 4
        return True

    def pay(self, way: Way) -> list[Message]:
        """Fill one slot with the data owed longest; the message, if these were its last."""
        way.counts["data"] += 1
        way.data[0].owed -= 1
        return [way.data.popleft()] if way.data[0].owed == 0 else []

    def slots(self, w: int) -> tuple[int, list[Message]]:
        """A flit of slots: how many are used, and the messages that are whole with it."""
        way = self.ways[w]
        row, n = way.row, int(way.row["slots"])
        used: int = 0
        whole: list[Message] = []
        owed = sum([message.owed for message in way.data])
        all_data = bool(row["all_data"]) and owed >= n
        for slot in range(n):
            head = bool(row["head"]) and slot == 0 and not all_data
            if way.data and not head:
                whole += self.pay(way)
                used += 1
                continue
            room, count = rows.ROOM, len(whole) + len(way.data)
            while message := self.pick(w, int(head), room):
                room -= int(row["units"][4 * head + message.kind])
                (way.data if message.owed else whole).append(message)
            if len(whole) + len(way.data) > count:
                way.counts["headers"] += 1
                used += 1
            elif not way.data:
                break
        return used, whole

    def stream(self, w: int) -> tuple[int, list[Message]]:
        """A flit through which messages run on."""
        way = self.ways[w]
        used, found = 0, False
        whole: list[Message] = []
        while used < way.row["slots"]:
            if not way.data:
                message = self.pick(w, 0, rows.ROOM)
                if message is None:
                    break
                found = True
                (way.data if message.owed else whole).append(message)
            else:
                whole += self.pay(way)
                used += 1
        return max(used, int(found)), whole

    def packet(self, w: int) -> tuple[int, list[Message]]:
        """One message, alone."""
        message = self.pick(w, 0, rows.ROOM)
        if message is None:
            return 0, []
        self.ways[w].counts["data"] += message.owed
        return max(1, message.owed), [message]

    @property
    def counts(self) -> np.ndarray:
        """What each way did, as COUNT_ROW."""
        names = rows.COUNT_ROW.names or ()
        return np.array([tuple(way.counts[name] for name in names) for way in self.ways], rows.COUNT_ROW)
