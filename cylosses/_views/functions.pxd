# What the inline functions of cylosses/views.pxd call.

cimport cython
from cpython.pythread cimport PyThread_type_lock
from libc.stdint cimport uint64_t

from cylosses._views.requests cimport Request
from cylosses.capi cimport Accumulator

cdef int run_request(Request* request) except -1 nogil


@cython.final
cdef class LossAccumulator:
    # Threads may share one: a lock, never held while something needs the GIL, lets one after the other in. It is faster to have one
    # for each thread, and to merge them at the end.
    cdef Accumulator* state
    cdef PyThread_type_lock lock
    cdef bint narrow        # whether there was float32
    cdef bint wide          # or float64

    cdef int add(self, Request* request) except -1 nogil
    cdef uint64_t elements(self) noexcept nogil
    cpdef int merge(self, LossAccumulator other) except -1 nogil
    cpdef double compute(self, int reduction=*) except? -1 nogil
    cpdef void reset(self) noexcept nogil
