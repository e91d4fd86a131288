"""A set-associative cache with least recently used lines; reference/cache.py says by stack distances what is right.

Design: a set is a row of `ways` tags, most recent first; a hit moves its tag to the front. Sets are short, so a scan beats
any list. The set of a line is its number modulo the sets; who hashes does so before.
"""

import numpy as np

from libc.stdint cimport int64_t, uint8_t

cdef enum:
    EMPTY = -1


cdef inline int64_t touch(int64_t* tags, uint8_t* dirty, int64_t ways, int64_t line, uint8_t write,
                          uint8_t* cleaned) noexcept nogil:
    """Bring a line to the front of its set; returns the place it was found at, or `ways`. `cleaned`: 1, a dirty one left."""
    cdef int64_t place = 0, i
    cdef uint8_t was = write
    while place < ways and tags[place] != line:
        place += 1
    i = place
    cleaned[0] = 0
    if place < ways:
        was |= dirty[place]
    else:
        i = ways - 1
        cleaned[0] = tags[i] != EMPTY and dirty[i]
    while i > 0:
        tags[i], dirty[i] = tags[i - 1], dirty[i - 1]
        i -= 1
    tags[0], dirty[0] = line, was
    return place


def access(int64_t[:, ::1] tags, uint8_t[:, ::1] dirty, const int64_t[::1] lines, const uint8_t[::1] is_write,
           uint8_t[::1] hit, uint8_t[::1] cleaned):
    """Pass lines through a cache, without the GIL.

    Parameters
    ----------
    tags : int64[sets, ways]
        Line numbers, most recent first, -1 empty; changed.
    dirty : uint8[sets, ways]
        Changed.
    lines : int64[n], not negative
    is_write : uint8[n]
    hit, cleaned : uint8[n]
        Out: the line was there; a dirty line left for it.
    """
    cdef Py_ssize_t i
    cdef int64_t sets = tags.shape[0], ways = tags.shape[1], s
    assert dirty.shape[0] == sets and dirty.shape[1] == ways and sets > 0 and ways > 0
    for length in (is_write.shape[0], hit.shape[0], cleaned.shape[0]):
        assert length == lines.shape[0]
    with nogil:
        for i in range(lines.shape[0]):
            s = lines[i] % sets
            hit[i] = touch(&tags[s, 0], &dirty[s, 0], ways, lines[i], is_write[i], &cleaned[i]) < ways


def stack_distances(const int64_t[::1] lines, int64_t n_lines):
    """Different lines since each line's last use, -1 the first time: one pass answers for every LRU capacity.

    Parameters
    ----------
    lines : int64[n]
        Numbers from 0 to n_lines - 1.

    Returns
    -------
    int64[n]
        A fully associative LRU cache of c lines hits where 0 <= distance < c.
    """
    cdef Py_ssize_t n = lines.shape[0], i, at
    cdef int64_t[::1] last = np.full(n_lines, -1, np.int64), tree = np.zeros(n + 1, np.int64)
    cdef int64_t[::1] out = np.empty(n, np.int64)
    cdef int64_t count, used = 0
    with nogil:
        for i in range(n):
            out[i] = -1
            if last[lines[i]] >= 0:
                # A Fenwick tree counts the last uses at or before that of this line.
                count, at = 0, last[lines[i]] + 1
                while at > 0:
                    count += tree[at]
                    at -= at & -at
                out[i] = used - count
                at = last[lines[i]] + 1
                while at <= n:
                    tree[at] -= 1
                    at += at & -at
                used -= 1
            at = i + 1
            while at <= n:
                tree[at] += 1
                at += at & -at
            used += 1
            last[lines[i]] = i
    return np.asarray(out)
