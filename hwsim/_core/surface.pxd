# Cost lookups of the serving core: bilinear in integers, rounded up; a value depends on question and grid alone.
from libc.stdint cimport int64_t

cdef extern from *:
    """
    /* ceil of the bilinear mean; 128 bits, since time x two grid cells x sequences passes 64. */
    static inline int64_t hwsim_bilinear(int64_t v00, int64_t v01, int64_t v10, int64_t v11,
                                         int64_t wx, int64_t dx, int64_t wy, int64_t dy) {
        __int128 low = (__int128)v00 * (dy - wy) + (__int128)v01 * wy;
        __int128 high = (__int128)v10 * (dy - wy) + (__int128)v11 * wy;
        __int128 area = (__int128)dx * dy;
        return (int64_t)((low * (dx - wx) + high * wx + area - 1) / area);
    }
    """
    int64_t hwsim_bilinear(int64_t v00, int64_t v01, int64_t v10, int64_t v11,
                           int64_t wx, int64_t dx, int64_t wy, int64_t dy) noexcept nogil

cdef enum:
    OUTSIDE = -2        # `ask`: the question is off the grid

cdef struct Surface:
    const int64_t *x    # [nx] rising
    const int64_t *y    # [ny] rising
    const int64_t *value  # [nx * ny], -1 = missing
    int64_t nx
    int64_t ny
    int64_t skew        # y is asked at y + skew * x
    int64_t table       # its number in the list of missing samples

cdef struct MissingList:
    int64_t *row        # (table, ix, iy) triples
    int64_t count
    int64_t room


cdef inline void miss(MissingList *missing, int64_t table, int64_t ix, int64_t iy) noexcept nogil:
    if missing.count < missing.room:
        missing.row[3 * missing.count] = table
        missing.row[3 * missing.count + 1] = ix
        missing.row[3 * missing.count + 2] = iy
        missing.count += 1


cdef inline int64_t cell(const int64_t *grid, int64_t n, int64_t num, int64_t den) noexcept nogil:
    """Last index whose point is not above num / den, or OUTSIDE."""
    cdef int64_t low = 0, high = n - 1, middle
    if grid[0] * den > num or grid[n - 1] * den < num:
        return OUTSIDE
    while low < high:
        middle = (low + high + 1) >> 1
        if grid[middle] * den <= num:
            low = middle
        else:
            high = middle - 1
    return low


cdef inline int64_t sample(const Surface *s, int64_t ix, int64_t iy, MissingList *missing) noexcept nogil:
    cdef int64_t value = s.value[ix * s.ny + iy]
    if value < 0:
        miss(missing, s.table, ix, iy)
    return value


cdef inline int64_t ask(const Surface *s, int64_t x, int64_t num, int64_t den, MissingList *missing) noexcept nogil:
    """Value at (x, num / den) or OUTSIDE; samples it lacks go to `missing` (the value is then meaningless)."""
    cdef int64_t ix, iy
    cdef int64_t wx, wy, dx = 1, dy = 1, v00, v01, v10, v11
    num += s.skew * x * den
    ix, iy = cell(s.x, s.nx, x, 1), cell(s.y, s.ny, num, den)
    if ix == OUTSIDE or iy == OUTSIDE:
        return OUTSIDE
    wx = x - s.x[ix]
    wy = num - s.y[iy] * den
    v00 = sample(s, ix, iy, missing)
    if wx == 0 and wy == 0:
        return v00
    if wx:
        dx = s.x[ix + 1] - s.x[ix]
    if wy:
        dy = (s.y[iy + 1] - s.y[iy]) * den
    v01 = sample(s, ix, iy + 1, missing) if wy else v00
    v10 = sample(s, ix + 1, iy, missing) if wx else v00
    v11 = v00
    if wx and wy:
        v11 = sample(s, ix + 1, iy + 1, missing)
    elif wx:
        v11 = v10
    elif wy:
        v11 = v01
    return hwsim_bilinear(v00, v01, v10, v11, wx, dx, wy, dy)
