"""KV blocks of the reference's replicas, one by one, and the requests that hold them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass, field

from hwsim._core import serve_types as types
from hwsim.units import ceil_div


@dataclass
class Request:
    """One request: `computed` tokens have keys and values scheduled, `sampled` output tokens are scheduled."""

    number: int
    arrival: int
    prompt: int
    output: int
    contents: list[Hashable]  # of its full prompt blocks that trace ids name
    computed: int = 0
    sampled: int = 0
    decodes: bool = False  # all its prompt (and all a preemption lost) is scheduled: one token a step from now on
    lane: int = -1  # of its decodes; -1 = none yet
    known: int = 0  # when the token scheduled last is out
    blocks: list[int] = field(default_factory=list)
    last_held: dict[int, int] = field(default_factory=dict)  # block position -> block it held there last
    queued: int = -1
    admitted: int = -1
    first_token: int = -1
    finish: int = -1
    cached: int = -1
    preemptions: int = 0
    replica: int = -1

    @property
    def lacks(self) -> int:
        """Tokens to compute now: the rest of the prompt (and of what a preemption lost), or 1."""
        return self.prompt + self.sampled - self.computed


class Blocks:
    """KV blocks of a replica: references, contents, and a free list in the order of reuse."""

    def __init__(self, rules: types.Rules) -> None:
        self.rules = rules
        self.refs = [0] * (rules.kv_blocks - 1)
        self.content: list[Hashable] = [None] * (rules.kv_blocks - 1)
        self.free: OrderedDict[int, None] = OrderedDict.fromkeys(range(rules.kv_blocks - 1))
        self.holders: dict[Hashable, list[int]] = {}  # content -> blocks that hold it, oldest first

    def count(self, tokens: int) -> int:
        return ceil_div(tokens, self.rules.block_tokens)

    def find(self, request: Request) -> list[int]:
        """Leading blocks that are still there; at least one token is left to compute."""
        found: list[int] = []
        if not self.rules.prefix_caching:
            return found
        for j in range((request.lacks - 1) // self.rules.block_tokens):
            if j < len(request.contents):
                holders = self.holders.get(request.contents[j])
                block = holders[0] if holders else -1
            else:
                block = request.last_held.get(j, -1)
                if block >= 0 and self.content[block] != (request.number, j):
                    block = -1
            if block < 0:
                break
            found.append(block)
        return found

    def hold(self, request: Request, found: list[int]) -> None:
        for block in found:
            self.free.pop(block, None)
            self.refs[block] += 1
            request.blocks.append(block)

    def extend(self, request: Request, blocks: int) -> None:
        """Give a request new blocks until it holds `blocks`."""
        while len(request.blocks) < blocks:
            block, _ = self.free.popitem(last=False)
            self._set_content(block, None)
            self.refs[block] = 1
            request.last_held[len(request.blocks)] = block
            request.blocks.append(block)

    def publish(self, request: Request, before: int) -> None:
        """Prompt blocks that have become full since `before` tokens can be found by others."""
        if self.rules.prefix_caching:
            size = self.rules.block_tokens
            for j in range(before // size, min(request.computed // size, len(request.contents))):
                self._set_content(request.blocks[j], request.contents[j])

    def give_back(self, request: Request, returns: bool) -> None:
        for j in reversed(range(len(request.blocks))):
            block = request.blocks[j]
            if returns and len(request.contents) <= j < request.computed // self.rules.block_tokens:
                self.content[block] = (request.number, j)
            self.refs[block] -= 1
            if self.refs[block] == 0:
                self.free[block] = None
        request.blocks = []

    def _set_content(self, block: int, content: Hashable) -> None:
        old = self.content[block]
        if old in self.holders and block in self.holders[old]:
            self.holders[old].remove(block)
            if not self.holders[old]:
                del self.holders[old]
        self.content[block] = content
        if content is not None:
            self.holders.setdefault(content, []).append(block)
