# The exponents that the terms of a block span. Sums in float64 are exact only if this range is narrow enough for the grids that
# they are split on, so it is measured beforehand: without this guard results would be silently inexact.

cimport cython
from cython cimport floating
from libc.math cimport fabs
from libc.stdint cimport uint32_t

from cylosses._core.bits cimport Bits32, exponent_of
from cylosses._core.summation.lanes cimport LANES, fold, greatest, least_of

cdef struct ExponentRange:
    int top                 # exponent of the largest term
    int bottom              # exponent of the smallest nonzero term, at least that of the smallest normal number
    bint empty              # all terms are zero
    bint binnable           # false: there is a term that is NaN, infinite, or so large or small that grids leave the range


cdef inline double smallest_nonzero(const floating* terms, Py_ssize_t n) noexcept nogil:
    """The smallest magnitude of n terms other than zero; n is a multiple of LANES. A loop of its own, since zeros are rare."""
    cdef double smallest[LANES]
    cdef double size, bottom = 1.7976931348623157e308
    cdef Py_ssize_t i
    cdef int j
    for j in range(LANES):
        smallest[j] = bottom
    for i in range(n // LANES):
        for j in range(LANES):
            size = fabs(terms[i * LANES + j])
            size = size if size != 0 else 1.7976931348623157e308
            smallest[j] = size if size < smallest[j] else smallest[j]
    return least_of(smallest)


cdef inline ExponentRange exponent_range(double top, double bottom) noexcept nogil:
    """The range between the exponents of two magnitudes, the smallest one other than zero and the largest."""
    cdef ExponentRange exponents
    exponents.top = exponent_of(top)
    exponents.bottom = exponent_of(bottom) if bottom >= 2.2250738585072014e-308 else -1022
    exponents.empty = top == 0
    # Outside these bounds the grids leave the range of float64.
    exponents.binnable = -960 < exponents.top < 1000
    return exponents


@cython.overflowcheck(False)        # zero wraps to the top
cdef inline ExponentRange measure(const floating* terms, Py_ssize_t n) noexcept nogil:
    """The range of n terms; n is a multiple of LANES, at least one."""
    cdef ExponentRange exponents
    cdef Bits32 bits
    cdef uint32_t word, most = 0, least = 0x7fffffff
    cdef double largest[LANES]
    cdef double smallest[LANES]
    cdef double poison[LANES]
    cdef double size, bottom
    cdef Py_ssize_t i
    cdef int j
    if floating is float:
        for i in range(n):
            bits.f = terms[i]
            word = bits.u & 0x7fffffffu
            most = word if word > most else most
            word = word - 1                 # zero wraps to the top
            least = word if word < least else least
        exponents.empty = most == 0
        exponents.binnable = most < 0x7f800000u     # else there is an infinity or NaN
        most >>= 23
        least = (least + 1) >> 23
        exponents.top = <int> (most if most > 1 else 1) - 127
        exponents.bottom = <int> (least if least > 1 else 1) - 127
    else:
        for j in range(LANES):
            largest[j] = smallest[j] = poison[j] = fabs(terms[j])
        for i in range(1, n // LANES):
            for j in range(LANES):
                size = fabs(terms[i * LANES + j])
                largest[j] = size if size > largest[j] else largest[j]
                smallest[j] = size if size < smallest[j] else smallest[j]
                poison[j] += size           # NaN, which comparisons do not see
        fold(poison)
        bottom = least_of(smallest)
        if bottom == 0:
            bottom = smallest_nonzero(terms, n)
        exponents = exponent_range(greatest(largest), bottom)
        exponents.empty = poison[0] == 0
        exponents.binnable = exponents.binnable and poison[0] == poison[0]
    return exponents
