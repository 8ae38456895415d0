# What the C level (capi.pyx) calls.

from libc.stdint cimport uint64_t

from cylosses._core.factor cimport Factor
from cylosses._core.job cimport Job, Quantity
from cylosses._core.summation.superaccumulator cimport Superaccumulator

cdef enum:
    MAX_THREADS = 1024          # larger numbers are cut off

cdef bint is_loss(int loss) noexcept nogil
cpdef bint fits(int loss, double parameter, bint single) noexcept nogil
cdef double evaluate_loss(int loss, double parameter, bint single, Quantity quantity, double residual) noexcept nogil
cdef Factor factor_by_count(double dividend, uint64_t count) noexcept nogil
cdef void run_job(Job* job) noexcept nogil
cdef void round_into(const Superaccumulator* total, const Superaccumulator* divisor, int storage, char* result) noexcept nogil
