"""Request files of a DRAM channel: lines to arrays and back, as fast as the channel runs them.

Reads `0xADDRESS READ|WRITE earliest_tick`, one request a line; writes `id,address,op,arrive,depart` (address in hex
without 0x, op R or W). A line that is not of this form stops the parser; Python says what is wrong with it.
"""

from libc.stdint cimport int64_t, uint8_t


cdef inline int hex_digit(uint8_t c) noexcept nogil:
    if 48 <= c <= 57:
        return c - 48
    c |= 32
    return c - 87 if 97 <= c <= 102 else -1


cdef Py_ssize_t word(const uint8_t* text, Py_ssize_t at, Py_ssize_t end, uint8_t* is_write) noexcept nogil:
    """Place behind READ or WRITE, -1 if neither stands there."""
    cdef const char* expected = b"READ"
    cdef int length = 4, i
    if at < end and text[at] == b"W":
        expected, length = b"WRITE", 5
    if end - at < length:
        return -1
    for i in range(length):
        if text[at + i] != <uint8_t>expected[i]:
            return -1
    is_write[0] = length == 5
    return at + length


cdef Py_ssize_t number(const uint8_t* text, Py_ssize_t at, Py_ssize_t end, int base, int64_t* value) noexcept nogil:
    """Place behind a number below 2^62, -1 if there is none."""
    cdef int64_t found = 0
    cdef int digit
    cdef Py_ssize_t start = at
    while at < end:
        digit = hex_digit(text[at])
        if digit < 0 or digit >= base:
            break
        if found >= <int64_t>1 << 57:
            return -1
        found = found * base + digit
        at += 1
    value[0] = found
    return at if at > start else -1


cdef Py_ssize_t blanks(const uint8_t* text, Py_ssize_t at, Py_ssize_t end) noexcept nogil:
    """Place behind spaces and tabs, -1 if there are none."""
    cdef Py_ssize_t start = at
    while at < end and (text[at] == 32 or text[at] == 9):
        at += 1
    return at if at > start else -1


cdef bint line(const uint8_t* text, Py_ssize_t at, Py_ssize_t end, int64_t* address, uint8_t* is_write,
               int64_t* earliest) noexcept nogil:
    """One request; False if the line is not one."""
    if end - at < 3 or text[at] != b"0" or text[at + 1] | 32 != b"x":
        return False
    at = number(text, at + 2, end, 16, address)
    at = blanks(text, at, end) if at >= 0 else -1
    at = word(text, at, end, is_write) if at >= 0 else -1
    at = blanks(text, at, end) if at >= 0 else -1
    at = number(text, at, end, 10, earliest) if at >= 0 else -1
    if at < 0:
        return False
    while at < end and (text[at] == 32 or text[at] == 9 or text[at] == 13):
        at += 1
    return at == end


def parse(const uint8_t[::1] text, int64_t[::1] address, uint8_t[::1] is_write, int64_t[::1] earliest):
    """Whole lines of a text into arrays, as far as these have room.

    Returns
    -------
    tuple of int, int, bool
        Requests read, bytes used, and whether the line that follows is wrong.
    """
    cdef Py_ssize_t at = 0, end, n = 0, size = text.shape[0], room = address.shape[0]
    cdef bint good = True
    if size == 0:
        return 0, 0, False
    with nogil:
        while n < room:
            end = at
            while end < size and text[end] != 10:
                end += 1
            if end == size:
                break
            good = line(&text[0], at, end, &address[n], &is_write[n], &earliest[n])
            if not good:
                break
            n += 1
            at = end + 1
    return n, at, not good


cdef inline Py_ssize_t put(char* out, Py_ssize_t at, int64_t value, int base) noexcept nogil:
    """Write a number; place behind it."""
    cdef char digits[24]
    cdef int n = 0
    cdef const char* figures = b"0123456789abcdef"
    while True:
        digits[n] = figures[value % base]
        value //= base
        n += 1
        if value == 0:
            break
    while n:
        n -= 1
        out[at] = digits[n]
        at += 1
    return at


def render(int64_t first, const int64_t[::1] address, const uint8_t[::1] is_write, const int64_t[::1] arrive,
           const int64_t[::1] depart):
    """Lines of consecutive requests, the first one numbered `first`: bytes."""
    cdef Py_ssize_t i, at = 0, n = address.shape[0]
    cdef bytearray made = bytearray(96 * n)
    cdef char* out = made
    with nogil:
        for i in range(n):
            at = put(out, at, first + i, 10)
            out[at] = b","
            at = put(out, at + 1, address[i], 16)
            out[at] = b","
            out[at + 1] = b"W" if is_write[i] else b"R"
            out[at + 2] = b","
            at = put(out, at + 3, arrive[i], 10)
            out[at] = b","
            at = put(out, at + 1, depart[i], 10)
            out[at] = b"\n"
            at += 1
    return bytes(memoryview(made)[:at])
