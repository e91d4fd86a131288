"""The serving run again, event by event in plain Python: the semantics the compiled core must reproduce exactly.

It loops over requests and blocks as the real schedulers do (vLLM's `schedule`), keeps its events in
one heap ordered by (time, kind, replica or request), and shares nothing with the core but the tables of serve_types.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwsim._core import serve_types as types
from hwsim._core.step_tables import StepSums
from hwsim.reference.blocks import Blocks, Request
from hwsim.reference.steps import Steps
from hwsim.units import ceil_div

OUTPUT, ARRIVAL, SCHEDULE = range(3)
Fill = Callable[[int, int, int], None]


@dataclass
class Replica:
    """One engine with its queues and the batches in flight (end, requests that finish with it, that start, lane)."""

    blocks: Blocks
    stage_free: list[int]
    lane_busy: list[bool]  # a batch with its decodes is in flight
    lane_end: list[int]  # when its last batch is out
    inbox: list[Request] = field(default_factory=list)
    waiting: list[Request] = field(default_factory=list)
    running: list[Request] = field(default_factory=list)
    in_flight: list[tuple[int, list[Request], list[Request], int]] = field(default_factory=list)
    idle: bool = True
    awaits: tuple[int, int] = (-1, -1)  # time and kind of its next event: others in the heap are void
    preempted: int = 0
    chunks: bool | None = None  # whether its last step had some


@dataclass
class Batch:
    """Tokens a step gives: a decode has its context, a chunk (tokens, cached before)."""

    lane: int = 0
    decodes: list[tuple[Request, int]] = field(default_factory=list)
    chunks: list[tuple[Request, int, int]] = field(default_factory=list)
    preempted: int = 0

    @property
    def tokens(self) -> int:
        return len(self.decodes) + sum(tokens for _, tokens, _ in self.chunks)


@dataclass
class Outcome:
    """The tables of a run: rows as the core writes them."""

    requests: NDArray[np.void]
    steps: NDArray[np.void]
    chunks: NDArray[np.void]


class Serving:
    """A run in progress. `fill(table, ix, iy)` must put a missing sample into the cost tables."""

    def __init__(self, requests: types.Requests, rules: types.Rules, costs: types.Costs, fill: Fill | None) -> None:
        self.rules, self.costs, self.fill = rules, costs, fill
        self.table = [self._request(requests, i) for i in range(len(requests))]
        self.refused = rules.refused(requests)
        self.replicas = [
            Replica(Blocks(rules), [0] * rules.stages, [False] * rules.lanes, [0] * rules.lanes)
            for _ in range(rules.replicas)
        ]
        self.routed = 0
        self.steps: list[tuple[int, ...]] = []
        self.chunks: list[tuple[int, ...]] = []
        self.events: list[tuple[int, int, int]] = []
        self.replacements: Iterator[Request] = iter(())
        if rules.concurrency:
            for request in self.table:
                request.arrival = -1
            self.replacements = iter(self.table[rules.concurrency :])
            for request in self.table[: rules.concurrency]:
                self._arrives(request, 0)
        else:
            for request in self.table:
                if not self.refused[request.number]:
                    self._arrives(request, request.arrival)

    def _request(self, requests: types.Requests, i: int) -> Request:
        size, width = self.rules.block_tokens, requests.prefix_block_tokens
        prompt = int(requests.prompt_tokens[i])
        contents: list[Hashable] = []
        if width:
            assert requests.prefix_offset is not None and requests.prefix_ids is not None
            ids = requests.prefix_ids[requests.prefix_offset[i] : requests.prefix_offset[i + 1]]
            full = min(prompt, width * len(ids)) // size
            contents = [("id", int(ids[j * size // width]), j * size % width) for j in range(full)]
        return Request(i, int(requests.arrival_ps[i]), prompt, int(requests.output_tokens[i]), contents)

    def _arrives(self, request: Request, when: int) -> None:
        request.arrival = when
        heapq.heappush(self.events, (when, ARRIVAL, request.number))

    def _wakes(self, number: int, when: int, kind: int = SCHEDULE) -> None:
        self.replicas[number].awaits = when, kind
        heapq.heappush(self.events, (when, kind, number))

    def run(self) -> Outcome:
        """All events in their order."""
        while self.events:
            now, kind, number = heapq.heappop(self.events)
            if kind == ARRIVAL:
                self.arrive(self.table[number], now)
            elif (now, kind) != self.replicas[number].awaits:
                continue
            elif kind == OUTPUT:
                self.output(number, now)
            else:
                self.iterate(number, now)
        rows = [
            (r.arrival, r.queued, r.admitted, r.first_token, r.finish, r.prompt, r.output, max(r.cached, 0),
             r.preemptions, r.replica)
            for r in self.table
        ]  # fmt: skip
        return Outcome(
            np.array(rows, types.REQUEST_DTYPE),
            np.array(self.steps, types.STEP_DTYPE),
            np.array(self.chunks, types.CHUNK_DTYPE),
        )

    def arrive(self, request: Request, now: int) -> None:
        """Route a request to a replica's inbox and wake the replica if it sleeps."""
        number = self.routed % len(self.replicas)
        if self.rules.router == "least-loaded":
            loads = [4 * (len(r.inbox) + len(r.waiting)) + len(r.running) for r in self.replicas]
            number = loads.index(min(loads))
        self.routed += 1
        request.replica = number
        replica = self.replicas[number]
        replica.inbox.append(request)
        seen = now + self.rules.frontend_ps
        if replica.idle or self.enters_before_output(replica, seen):
            replica.idle = False
            self._wakes(number, seen)

    def enters_before_output(self, replica: Replica, seen: int) -> bool:
        """Even micro-batches: whether a replica that waits for a batch has room for another before that is out."""
        room = len(replica.in_flight) < self.rules.async_depth
        return self.rules.even and room and replica.awaits[1] == OUTPUT and seen < replica.awaits[0]

    def output(self, number: int, now: int) -> None:
        """The oldest batch is done: finished requests go, others may join a lane; the scheduler gets its turn."""
        replica = self.replicas[number]
        _, finished, starting, lane = replica.in_flight.pop(0)
        for request in starting:
            if request in replica.running:  # else preempted while its first token was on the way
                request.lane = self.emptiest_lane(replica)
        for request in finished:
            (replica.running if request in replica.running else replica.waiting).remove(request)
            replica.blocks.give_back(request, returns=False)
            follower = next(self.replacements, None)
            if follower is not None:
                self._arrives(follower, now)
        if lane >= 0:
            replica.lane_busy[lane] = False
        self._wakes(number, now)

    def iterate(self, number: int, now: int) -> None:
        """One turn of a replica's engine loop: drain the inbox, schedule, wait."""
        replica = self.replicas[number]
        while replica.inbox and replica.inbox[0].arrival + self.rules.frontend_ps <= now:
            request = replica.inbox.pop(0)
            request.queued = now
            replica.waiting.append(request)
        batch = self.schedule(replica, now)
        replica.preempted += batch.preempted
        if batch.tokens:
            self.launch(number, batch, now)
            if len(replica.in_flight) < self.rules.async_depth:
                self._wakes(number, now)
                return
        seen = replica.inbox[0].arrival + self.rules.frontend_ps if replica.inbox else -1
        if replica.in_flight:
            self._wakes(number, replica.in_flight[0][0], OUTPUT)
            if replica.inbox and self.enters_before_output(replica, seen):
                self._wakes(number, seen)
        elif batch.preempted:
            self._wakes(number, now)
        elif replica.inbox:
            self._wakes(number, seen)
        else:
            assert not replica.waiting, "a request waits for ever"
            replica.idle = True

    # -------------------------------------------------------------- scheduling

    def schedule(self, replica: Replica, now: int) -> Batch:
        """The next batch."""
        batch = Batch(self.next_lane(replica) if self.rules.even else self.free_lane(replica))

        def may_decode(request: Request) -> bool:
            return request.decodes and request.lane == batch.lane

        def lacks_prompt(request: Request) -> bool:
            return not request.decodes

        if self.rules.scheduler == "mixed":
            both = lambda request: lacks_prompt(request) or may_decode(request)  # noqa: E731
            self.continue_running(replica, batch, self.rules.token_budget, both)
            self.admit(replica, batch, now)
        else:
            self.continue_running(replica, batch, self.rules.token_budget, lacks_prompt)
            self.admit(replica, batch, now)
            if not batch.tokens:
                self.continue_running(replica, batch, self.rules.max_num_seqs, may_decode)
        if self.rules.even and not batch.decodes:
            batch.lane = -1
        return batch

    def decoding(self, replica: Replica) -> list[Request]:
        """Requests with a token to come from a lane."""
        return [r for r in replica.running if r.decodes and r.sampled < r.output and r.lane >= 0]

    def next_lane(self, replica: Replica) -> int:
        """Even micro-batches: of the lanes with decodes and not in flight the one that came back first, or -2."""
        lanes = {request.lane for request in self.decoding(replica)}
        ready = [(replica.lane_end[lane], lane) for lane in lanes if not replica.lane_busy[lane]]
        return min(ready)[1] if ready else -2

    def emptiest_lane(self, replica: Replica) -> int:
        """Even micro-batches: the lane with the fewest decodes, of these the one that is back first."""
        lanes = [request.lane for request in self.decoding(replica)]
        return min(range(self.rules.lanes), key=lambda lane: (lanes.count(lane), replica.lane_end[lane], lane))

    def free_lane(self, replica: Replica) -> int:
        """Lane of the next batch: with one stage always the only one; else of those not in flight one with decodes."""
        if self.rules.lanes == 1:
            return 0
        free = [lane for lane, busy in enumerate(replica.lane_busy) if not busy]
        decoding = {request.lane for request in self.decoding(replica)}
        return next((lane for lane in free if lane in decoding), free[0])

    def continue_running(self, replica: Replica, batch: Batch, budget: int, wanted: Callable[[Request], bool]) -> None:
        """Pass 1: running requests in order, each its missing tokens as far as the budget goes."""
        at = 0
        while at < len(replica.running) and batch.tokens < budget:
            request = replica.running[at]
            at += 1
            if request.sampled >= request.output or not wanted(request):
                continue
            tokens = min(request.lacks, budget - batch.tokens)
            needed = self._holds(request, replica, request.computed + tokens)
            fits = True
            while needed - len(request.blocks) > len(replica.blocks.free):
                victim = replica.running.pop()
                self.preempt(replica, victim, batch)
                if victim is request:
                    fits = False
                    break
            if not fits:
                break
            self.give(replica, batch, request, tokens)

    def admit(self, replica: Replica, batch: Batch, now: int) -> None:
        """Pass 2: waiting requests, first come first served; never in a step that preempted."""
        rules, blocks = self.rules, replica.blocks
        static = rules.scheduler == "static"
        if batch.preempted or (static and replica.running):
            return
        while replica.waiting and len(replica.running) < rules.max_num_seqs:
            left = rules.token_budget - batch.tokens
            if left <= 0 and not static:
                break
            request = replica.waiting[0]
            if rules.lanes > 1 and request.known > now:
                break
            found = blocks.find(request)
            hit = len(found) * rules.block_tokens
            tokens = min(request.lacks - hit, left)
            must_fit = self._holds(request, replica, hit + tokens if rules.reserve == "chunk" else request.lacks)
            sleeping = sum(1 for block in found if blocks.refs[block] == 0)
            if must_fit - len(found) + sleeping > len(blocks.free):
                break
            replica.running.append(replica.waiting.pop(0))
            blocks.hold(request, found)
            request.computed = hit
            if request.admitted < 0:
                request.admitted, request.cached = now, hit
            blocks.extend(request, self._holds(request, replica, hit + tokens))
            if tokens:
                self.give(replica, batch, request, tokens)

    def _holds(self, request: Request, replica: Replica, tokens: int) -> int:
        everything = request.prompt + request.output
        return replica.blocks.count(everything if self.rules.reserve == "output" else tokens)

    def preempt(self, replica: Replica, victim: Request, batch: Batch) -> None:
        replica.blocks.give_back(victim, returns=True)
        victim.computed = 0
        if victim.lane >= 0:
            victim.known = max(victim.known, replica.lane_end[victim.lane])
        victim.decodes, victim.lane = False, -1
        victim.preemptions += 1
        batch.preempted += 1
        replica.waiting.insert(0, victim)

    def give(self, replica: Replica, batch: Batch, request: Request, tokens: int) -> None:
        """Schedule `tokens` of a request; the one that completes what it lacks samples an output token."""
        before = request.computed
        replica.blocks.extend(request, self._holds(request, replica, before + tokens))
        if request.decodes:
            batch.decodes.append((request, before + 1))
        else:
            batch.chunks.append((request, tokens, before))
        request.computed += tokens
        replica.blocks.publish(request, before)
        if not request.lacks:
            request.sampled += 1
            if not request.decodes:
                request.lane = -1 if self.rules.even else batch.lane
            request.decodes = True

    # -------------------------------------------------------------- time

    def launch(self, number: int, batch: Batch, now: int) -> None:
        """Put a batch in flight: its time, its outputs, its rows."""
        replica, rules = self.replicas[number], self.rules
        start = max(now, replica.stage_free[0])
        if self.costs.change_ps and replica.chunks == (not batch.chunks):
            start = max(start, *replica.stage_free) + self.costs.change_ps
        end, replica.chunks = start, bool(batch.chunks)
        padded, attention, cells = self.price(batch)
        busy = of_layers = wait = 0
        for stage, kind in enumerate(self._ints("prefill_order" if batch.chunks else "decode_order")):
            end = max(end, replica.stage_free[stage])
            if kind >= 0:
                computed = max(1, self.stage_time(batch, kind, padded, attention))
                time = max(computed, self._ints("fetch_ps")[kind])
                wait += time - computed
                end, busy = end + time, busy + time
                of_layers += attention * self._ints("layers")[kind]
            replica.stage_free[stage] = end
        scheduled = [request for request, _ in batch.decodes] + [request for request, _, _ in batch.chunks]
        for request in scheduled:
            if request.decodes:
                request.known = end
            if request.first_token < 0 and request.sampled:
                request.first_token = end
        finished = [request for request in scheduled if request.sampled == request.output]
        for request in finished:
            request.finish = end
        starting = [r for r in scheduled if rules.even and r.decodes and r.lane < 0 and r.sampled < r.output]
        replica.in_flight.append((end, finished, starting, batch.lane))
        if batch.lane >= 0:
            replica.lane_busy[batch.lane], replica.lane_end[batch.lane] = True, end
        contexts = [context for _, context in batch.decodes]
        self.chunks += [(len(self.steps), request.number, tokens, cached) for request, tokens, cached in batch.chunks]
        self.steps.append((
            number, batch.lane, now, start, end, busy, of_layers, wait, batch.tokens, padded, len(contexts),
            sum(request.sampled == request.output for request, _ in batch.decodes), len(batch.chunks),
            len(scheduled), sum(contexts), sum(ceil_div(c, rules.tile_tokens) for c in contexts),
            max(contexts, default=0),
            replica.preempted, rules.kv_blocks - 1 - len(replica.blocks.free),
            len(replica.inbox) + len(replica.waiting), len(replica.running), *cells,
        ))  # fmt: skip
        replica.preempted = 0

    def stage_time(self, batch: Batch, kind: int, padded: int, attention: int) -> int:
        """Time of a batch on a kind of stage; `attention` is of one layer."""
        costs, sequences = self.costs, len(batch.decodes) + len(batch.chunks)
        time = self._sample(types.TOKEN_TIME, costs.token_time, (kind, padded))
        time += self._sample(types.SEQ_TIME, costs.seq_time, (kind, sequences))
        time += self._ints("step_gap_ps")[kind] + self._ints("seq_gap_ps")[kind] * sequences
        time += self._ints("mixed_gap_ps")[kind] if batch.chunks else 0
        return time + attention * self._ints("layers")[kind]

    def price(self, batch: Batch) -> tuple[int, int, tuple[int, int]]:
        """Padded tokens, attention of one layer, and the cells that priced it."""
        costs = self.costs
        assert costs.pad is not None
        padded = int(costs.pad[batch.tokens])
        tiles = [ceil_div(context, self.rules.tile_tokens) for _, context in batch.decodes]
        uniform = len(batch.chunks) == 1 if not tiles else not batch.chunks and len(set(tiles)) == 1
        if costs.step is None or (uniform and costs.prefill is not None):
            return padded, self.attend(batch, tiles), (-1, -1)
        contexts = [context for _, context in batch.decodes]
        sums = sums_of([(t, cached) for _, t, cached in batch.chunks], contexts, self.rules.tile_tokens)
        return padded, *Steps(costs.step).price(sums)

    def attend(self, batch: Batch, tiles: list[int]) -> int:
        """Attention of one layer: each chunk, then the decodes together, one after the other."""
        total = sum(self._ask(types.PREFILL, tokens, cached, 1) for _, tokens, cached in batch.chunks)
        return total + (self._ask(types.DECODE, len(tiles), sum(tiles), len(tiles)) if tiles else 0)

    def _ints(self, name: str) -> list[int]:
        """A column of the costs, one entry a kind of stage or a stage."""
        return [int(value) for value in getattr(self.costs, name)]

    def _sample(self, number: int, table: types.Ints, at: tuple[int, ...]) -> int:
        if table[at] < 0:
            assert self.fill is not None, f"table {number} lacks {at}"
            self.fill(number, *at[::-1] if number in (types.TOKEN_TIME, types.SEQ_TIME) else at)
        return int(table[at])

    def _ask(self, number: int, x: int, num: int, den: int) -> int:
        """Bilinear between the grid points around (x, num / den), rounded up."""
        costs = self.costs
        surface = costs.prefill if number == types.PREFILL else costs.decode
        assert surface is not None
        num += surface.skew * x * den
        ix = int(np.searchsorted(surface.grid_x, x, "right")) - 1
        iy = int(np.searchsorted(surface.grid_y * den, num, "right")) - 1
        total, area = 0, 1
        sides = []
        for grid, i, position, scale in ((surface.grid_x, ix, x, 1), (surface.grid_y, iy, num, den)):
            off = position - int(grid[i]) * scale
            span = (int(grid[i + 1]) - int(grid[i])) * scale if off else 1
            sides.append([(i, span - off), (i + 1, off)] if off else [(i, span)])
            area *= span
        for jx, weight_x in sides[0]:
            for jy, weight_y in sides[1]:
                total += self._sample(number, surface.value, (jx, jy)) * weight_x * weight_y
        return ceil_div(total, area)


def sums_of(chunks: list[tuple[int, int]], contexts: list[int], tile_tokens: int) -> StepSums:
    """Sums of a step from its chunks (tokens, cached) and the contexts of its decodes."""
    tiles = [ceil_div(context, tile_tokens) for context in contexts]
    return StepSums(
        tokens=sum(t for t, _ in chunks),
        squares=sum(t * t for t, _ in chunks),
        behind=sum(t * cached for t, cached in chunks),
        reach=max((t + cached for t, cached in chunks), default=0),
        widest=max((t for t, _ in chunks), default=0),
        decodes=len(tiles),
        tiles=sum(tiles),
        longest=max(tiles, default=0),
        keys=sum(contexts),
        moment=sum(context * context for context in contexts),
    )


def replay(requests: types.Requests, rules: types.Rules, costs: types.Costs, fill: Fill | None = None) -> Outcome:
    """Run the requests to the end.

    Parameters
    ----------
    requests, rules, costs
        As for the core.
    fill : callable(table, ix, iy), optional
        Asked for each sample that is missing (-1) in the cost tables; puts it there.
    """
    costs.check(rules)
    return Serving(requests, rules, costs, fill).run()
