# Column sums: float32 terms that are not negative, a quarter of a block at once, summed without a split and almost without a
# measurement.
#
# A quarter becomes 32 columns, sums of 8 terms each in float64. With a window w such that every column is below 2**w, and every
# nonzero term at least 2**(w - 29), all terms are multiples of 2**(w - 52) and all columns are less than 2**52 of them: so every
# addition was exact. Adding 2**w to a column leaves that number of multiples in the low 52 bits, to be summed as an integer, and an
# exponent that tells whether the column was below 2**w, which infinities and NaN are not. So only the smallest term is looked for
# beforehand, and the window is a guess, the one of the quarter before, that is verified afterwards.

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cylosses._core.bits cimport Bits32, Bits64, exponent_of, power_of_two
from cylosses._core.summation.bins cimport QUARTER
from cylosses._core.summation.lanes cimport LANES, ONE, add_by_fma
from cylosses._core.summation.superaccumulator cimport BIAS, Superaccumulator, add_at_bit, deposit

cdef extern from *:
    """
    #include <stdint.h>
    /* The bits of a float, shifted to where a double has them, give its value over this scale: the exponents' biases differ. */
    #define CYLOSSES_FLOAT_SCALE 0x1p896
    #define CYLOSSES_FLOAT_FIELD UINT64_C(0x0fffffffe0000000)
    """
    const double FLOAT_SCALE "CYLOSSES_FLOAT_SCALE"
    const uint64_t FLOAT_FIELD "CYLOSSES_FLOAT_FIELD"

cdef enum:
    COLUMNS = 32            # gcc unrolls loops of 16 early, and then they stay scalar
    MOST_QUARTERS = 32      # until the sums are deposited: COLUMNS * MOST_QUARTERS integers below 2**52 sum to less than 2**63
    MOST_TINY = 16          # terms of a quarter that are deposited one by one so that the others fit the window
    WINDOW_SLACK = 2        # by which the window may be higher than a quarter needs
    NO_WINDOW = -2000       # fits no column


cdef struct ColumnSums:
    uint64_t sums[COLUMNS]  # of the bits of 2**window + column, modulo 2**64; undefined without a window
    double offset           # 2**window
    int window
    uint32_t least          # bits of the smallest term that the window takes, other than zero
    int quarters            # that were added


cdef inline void clear_column_sums(ColumnSums* columns) noexcept nogil:
    columns.offset = 0
    columns.window = NO_WINDOW
    columns.quarters = 0


@cython.overflowcheck(False)        # sums of bits wrap around, and back
cdef inline void deposit_column_sums(Superaccumulator* total, ColumnSums* columns) noexcept nogil:
    """Add the column sums to the total and make them zero; the window stays."""
    cdef uint64_t multiples = 0
    cdef Bits64 bits
    cdef int j
    if columns.quarters == 0:
        return
    bits.f = columns.offset
    for j in range(COLUMNS):
        multiples += columns.sums[j] - <uint64_t> columns.quarters * bits.u
        columns.sums[j] = 0
    columns.quarters = 0
    add_at_bit(total, <int64_t> (multiples & 0xffffffffu), columns.window - 52 + BIAS)
    add_at_bit(total, <int64_t> (multiples >> 32), columns.window - 20 + BIAS)


cdef inline void set_window(Superaccumulator* total, ColumnSums* columns, int window) noexcept nogil:
    cdef int bottom = window - 29, j
    deposit_column_sums(total, columns)
    for j in range(COLUMNS):
        columns.sums[j] = 0
    columns.window = window
    columns.offset = power_of_two(window)
    # Where 2**(window - 52) is 2**-149 or less, all float32 numbers are multiples of it.
    columns.least = <uint32_t> (bottom + 127) << 23 if bottom > -126 else 0


@cython.overflowcheck(False)        # zero wraps to the top
cdef inline uint32_t least_word(const float* terms, uint32_t offset) noexcept nogil:
    """The bits of the smallest term, or with an offset of 1 of the smallest nonzero term, minus the offset."""
    cdef uint32_t least = 0xffffffffu, word
    cdef Bits32 bits
    cdef int i
    for i in range(QUARTER):
        bits.f = terms[i]
        word = bits.u - offset
        least = word if word < least else least
    return least


@cython.overflowcheck(False)        # bits leave on the left
cdef inline void sum_columns(const float* terms, double* column) noexcept nogil:
    """Sums of every 32nd term, divided by FLOAT_SCALE. Taking two terms from 64 bits costs less than converting them."""
    cdef Bits64 even, odd
    cdef uint64_t pair
    cdef double sum_even, sum_odd, one = ONE
    cdef int j, k
    for j in range(COLUMNS // 2):
        sum_even = sum_odd = 0
        for k in range(QUARTER // COLUMNS):
            memcpy(&pair, terms + k * COLUMNS + 2 * j, sizeof(pair))
            even.u = (pair << 29) & FLOAT_FIELD
            odd.u = (pair >> 3) & FLOAT_FIELD
            sum_even = add_by_fma(even.f, one, sum_even)
            sum_odd = add_by_fma(odd.f, one, sum_odd)
        column[j] = sum_even
        column[j + COLUMNS // 2] = sum_odd


@cython.overflowcheck(False)        # sums of bits wrap around
cdef inline bint add_columns(ColumnSums* columns, const double* column, uint32_t least) noexcept nogil:
    """Add the columns of a quarter, whose smallest term is `least`; False, and nothing done, if they do not fit the window."""
    cdef Bits64 bits[COLUMNS]
    cdef uint64_t fields = 0
    cdef int j
    for j in range(COLUMNS):
        bits[j].f = column[j] * FLOAT_SCALE + columns.offset
    for j in range(COLUMNS):
        fields |= bits[j].u
    if <int> (fields >> 52) != columns.window + 1023 or least < columns.least:
        return False
    for j in range(COLUMNS):
        columns.sums[j] += bits[j].u
    columns.quarters += 1
    return True


@cython.overflowcheck(False)        # zero wraps to the top
cdef inline bint add_without_tiny(Superaccumulator* total, ColumnSums* columns, const float* terms) noexcept nogil:
    """Add a quarter in which a few terms are too small for the window: those are deposited one by one. False, and nothing done, if
    there are too many, or the columns do not fit the window."""
    cdef float others[QUARTER]
    cdef double column[COLUMNS]
    cdef Bits32 bits
    cdef uint32_t least = columns.least
    cdef int i, k, count = 0, found
    for i in range(QUARTER):
        bits.f = terms[i]
        found = bits.u - 1 < least - 1
        count += found
        bits.u = 0 if found else bits.u
        others[i] = bits.f
    if count > MOST_TINY:
        return False
    sum_columns(<float*> others, column)
    if not add_columns(columns, column, least):
        return False
    for k in range(QUARTER // LANES):
        found = 0
        for i in range(LANES):
            found |= others[k * LANES + i] != terms[k * LANES + i]
        if found:
            for i in range(LANES):
                deposit(total, terms[k * LANES + i] - others[k * LANES + i])
    return True


@cython.overflowcheck(False)        # zero wraps to the top
cdef inline bint add_after_misfit(
    Superaccumulator* total, ColumnSums* columns, const float* terms, const double* column, uint32_t least
) noexcept nogil:
    """Add a quarter that does not fit the window as it is; False, and nothing done, if no window takes it."""
    cdef double most = 0
    cdef int j, window
    if least == 0:                  # zeros are multiples of anything
        least = least_word(terms, 1)
        least += least != 0xffffffffu
        if add_columns(columns, column, least):
            return True
    for j in range(COLUMNS):
        most = column[j] if column[j] > most else most
    window = exponent_of(most * FLOAT_SCALE) + 1 if most > 0 else 0
    if window > 126:
        return False
    # As a rule a few terms are too small. The lowest window would soon be left again, for the next large column.
    if columns.window - WINDOW_SLACK <= window <= columns.window and add_without_tiny(total, columns, terms):
        return True
    if window != columns.window:
        set_window(total, columns, window)
        if add_columns(columns, column, least):
            return True
    return add_without_tiny(total, columns, terms)


cdef inline bint add_quarter_of_floats(Superaccumulator* total, ColumnSums* columns, const float* terms) noexcept nogil:
    """Add QUARTER terms, none of them negative; False, and nothing done, if they fit no window."""
    cdef double column[COLUMNS]
    cdef uint32_t least = least_word(terms, 0)
    sum_columns(terms, column)
    if not (add_columns(columns, column, least) or add_after_misfit(total, columns, terms, column, least)):
        return False
    if columns.quarters == MOST_QUARTERS:
        deposit_column_sums(total, columns)
    return True
