"""Exact totals as objects: what StreamingLoss holds and replaces."""

cimport cython
cimport numpy as cnp
from libc.stdint cimport int64_t
from libc.stdlib cimport free, malloc

from cylosses._core.dtypes cimport dtype_of, scalar_of, storage_of, wider
from cylosses._core.job cimport FLOAT64
from cylosses._core.summation.exact_sums cimport ExactSums, clear_exact_sums, have_room, merge_exact_sums
from cylosses._core.summation.superaccumulator cimport BIAS, LIMBS, Superaccumulator, make_magnitude
from cylosses._core.totals cimport round_exact_sums

import numpy as np

from cylosses._core import convert

cnp.import_array()

cdef enum:
    RELEASE_GIL = 64            # slices; below, releasing the GIL costs more than a waiting thread loses

cdef Py_ssize_t MOST_SLICES = (<size_t> -1 // 2) // sizeof(ExactSums)


cdef class Total:
    """Exact sums of weighted losses and of weights, and the numbers of elements that count, of each slice of the data, or of all of
    it; and the dtype of results.

    A total that several objects share changes no more.
    """

    def __cinit__(self, tuple layout=None):
        cdef Py_ssize_t k, length, addresses = 1
        self.layout = layout
        self.slices = 1
        for kept in layout or ():
            if kept is not None:
                length = kept
                # Axes of length 0 do not count: NumPy makes no array of what is left of such data, either.
                if length > MOST_SLICES // addresses:
                    raise MemoryError
                addresses *= max(length, 1)
                self.slices *= length
        self.sums = <ExactSums*> malloc(max(self.slices, 1) * sizeof(ExactSums))
        if self.sums is NULL:
            raise MemoryError
        for k in range(self.slices):
            clear_exact_sums(&self.sums[k])

    def __dealloc__(self):
        free(self.sums)

    @property
    def shape(self):
        """The lengths of the axes that are kept."""
        return () if self.layout is None else tuple([length for length in self.layout if length is not None])

    @property
    def count(self):
        """Number of elements that count: an int, or for sliced data what NumPy makes of one for each slice."""
        cdef cnp.ndarray counts
        cdef Py_ssize_t k
        if self.layout is None:
            return self.sums.count
        counts = np.empty(self.shape, np.int64)
        for k in range(self.slices):
            (<int64_t*> cnp.PyArray_DATA(counts))[k] = self.sums[k].count
        return counts[()]

    def plus(self, Total other not None):
        """The total of both; ValueError for sums of other slices, OverflowError beyond 2**63 - 1 elements of one."""
        cdef Total total
        cdef Py_ssize_t full
        if self.dtype is None or other.dtype is None:       # nothing yet, and the slices are not known
            return self if other.dtype is None else other
        if self.layout != other.layout:
            convert.refuse_layouts(self.layout, other.layout)
        total = Total(self.layout)
        if self.slices < RELEASE_GIL:
            full = add_sums(total.sums, self.sums, other.sums, self.slices)
        else:
            with nogil:
                full = add_sums(total.sums, self.sums, other.sums, self.slices)
        if full < self.slices:
            raise OverflowError(
                f"a total holds at most 2**63 - 1 elements; {self.sums[full].count} and {other.sums[full].count} are more"
            )
        total.dtype = self.dtype
        if self.dtype is not other.dtype:
            total.dtype = dtype_of(wider(storage_of(self.dtype), storage_of(other.dtype)))
        return total

    def rounded(self, bint mean):
        """The mean or sum of the losses, each rounded once to the dtype: a scalar, or an array of the kept shape."""
        cdef int storage = FLOAT64 if self.dtype is None else storage_of(self.dtype)
        cdef char number[8]
        cdef cnp.ndarray result
        cdef Py_ssize_t k
        if self.layout is None:
            round_exact_sums(self.sums, mean, storage, number)
            return scalar_of(storage, number)
        result = np.empty(self.shape, dtype_of(storage))
        for k in range(self.slices):
            round_exact_sums(&self.sums[k], mean, storage, cnp.PyArray_BYTES(result) + k * cnp.PyArray_ITEMSIZE(result))
        return result[()]

    def parts(self):
        """Of each slice the losses, the weights and the count; of the first two (n, exponent, special): n * 2**exponent is the sum,
        n odd or both 0.
        """
        return [
            (parts_of(&self.sums[k].losses), parts_of(&self.sums[k].weights), self.sums[k].count) for k in range(self.slices)
        ]

    @staticmethod
    def from_parts(parts, cnp.dtype dtype, tuple layout=None):
        """The total that has these parts; ValueError if they lie outside what sums of data can reach."""
        cdef Total total = Total(layout)
        cdef Py_ssize_t k = 0
        for losses, weights, count in parts:
            if k == total.slices:
                raise ValueError(f"a total of {total.slices} slices has no more parts")
            set_parts(&total.sums[k].losses, losses[0], losses[1], losses[2])
            set_parts(&total.sums[k].weights, weights[0], weights[1], weights[2])
            total.sums[k].count = count
            k += 1
        total.dtype = dtype
        return total


cdef Py_ssize_t add_sums(ExactSums* total, const ExactSums* first, const ExactSums* second, Py_ssize_t slices) noexcept nogil:
    """Set totals to those of both; return the first slice that has no room for them, or the number of slices."""
    cdef Py_ssize_t k
    for k in range(slices):
        if not have_room(&first[k], second[k].count):
            return k
        total[k] = first[k]
        merge_exact_sums(&total[k], &second[k])
    return slices


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
