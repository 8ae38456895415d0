"""Exact totals as objects: what StreamingLoss holds and replaces."""

cimport cython
cimport numpy as cnp
from libc.stdint cimport int64_t, uint64_t

from cylosses._core.dtypes cimport dtype_of, scalar_of, storage_of, wider
from cylosses._core.summation.superaccumulator cimport BIAS, LIMBS, Superaccumulator, make_magnitude
from cylosses._core.job cimport FLOAT64
from cylosses._core.totals cimport clear_exact_sums, have_room, merge_exact_sums, round_exact_sums

cnp.import_array()


cdef class Total:
    """Exact sums of weighted losses and of weights, the number of elements that count, and the dtype of results.

    A total that several objects share changes no more.
    """

    def __cinit__(self):
        clear_exact_sums(&self.sums)

    @property
    def count(self):
        """Number of elements that count."""
        return self.sums.count

    def plus(self, Total other not None):
        """The total of both; OverflowError beyond 2**63 - 1 elements."""
        cdef Total total = Total()
        if not have_room(&self.sums, other.sums.count):
            raise OverflowError(
                f"a total holds at most 2**63 - 1 elements; {self.sums.count} and {other.sums.count} are more"
            )
        total.sums = self.sums
        merge_exact_sums(&total.sums, &other.sums)
        total.dtype = self.dtype or other.dtype
        if self.dtype is not other.dtype and self.dtype is not None and other.dtype is not None:
            total.dtype = dtype_of(wider(storage_of(self.dtype), storage_of(other.dtype)))
        return total

    def rounded(self, bint mean):
        """The mean or sum of the losses, rounded once to the dtype."""
        cdef char number[8]
        cdef int storage = FLOAT64 if self.dtype is None else storage_of(self.dtype)
        round_exact_sums(&self.sums, mean, storage, number)
        return scalar_of(storage, number)

    def parts(self):
        """Of the losses and the weights each (n, exponent, special): the sum is n * 2**exponent, n odd or both 0."""
        return parts_of(&self.sums.losses), parts_of(&self.sums.weights)

    @staticmethod
    def from_parts(losses, weights, uint64_t count, cnp.dtype dtype):
        """The total that has these parts; ValueError if they lie outside what sums of data can reach."""
        cdef Total total = Total()
        set_parts(&total.sums.losses, losses[0], losses[1], losses[2])
        set_parts(&total.sums.weights, weights[0], weights[1], weights[2])
        total.sums.count = count
        total.dtype = dtype
        return total


cdef tuple parts_of(const Superaccumulator* sum):
    """(n, exponent, special); special has the bits of Special in the superaccumulator's file."""
    cdef Superaccumulator copy = sum[0]
    cdef bint negative = make_magnitude(&copy)
    cdef int k
    n = 0
    for k in range(copy.high, copy.low - 1, -1):
        n = (n << 32) | copy.limb[k]
    if n == 0:
        return 0, 0, copy.special
    zeros = (n & -n).bit_length() - 1
    n >>= zeros
    return -n if negative else n, 32 * copy.low + zeros - BIAS, copy.special


cdef int set_parts(Superaccumulator* sum, n, exponent, int special) except -1:
    """Set an empty sum."""
    cdef int k = 0, sign = -1 if n < 0 else 1
    sum.special = special
    if n == 0:
        return 0
    if exponent < -BIAS or exponent + BIAS + n.bit_length() > 32 * (LIMBS - 1):
        raise ValueError(f"a sum with the exponent {exponent} lies outside the range of exact sums")
    magnitude = abs(n) << (exponent + BIAS)
    sum.low = 0
    while magnitude:
        sum.limb[k] = sign * <int64_t> (magnitude & 0xffffffff)
        sum.high = k
        magnitude >>= 32
        k += 1
    return 0


cdef class Cell:
    """Holds one object, which several threads replace, each by what it makes of the one before."""
    cdef object held

    def __init__(self, content):
        self.held = content

    @property
    def content(self):
        """The object that is held now."""
        with cython.critical_section(self):     # nothing with a GIL, which suffices
            return self.held

    def replace(self, old, new):
        """Hold `new` instead of `old`; false, and nothing done, if `old` is not held any more. No signal handler runs meanwhile."""
        with cython.critical_section(self):
            if self.held is not old:
                return False
            self.held = new
            return True
