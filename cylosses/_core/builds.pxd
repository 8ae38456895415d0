# What call.pyx and the C level (capi.pyx) ask of the process: a valid loss, and to run a job.

from cylosses._core.job cimport Job, Quantity

cdef enum:
    MAX_THREADS = 1024          # larger numbers are cut off

cdef bint is_loss(int loss) noexcept nogil
cpdef bint fits(int loss, double parameter, bint single) noexcept nogil
cdef double take_parameter(int loss, object given, bint* fits_float32) except -1
cpdef int check_rounded(int loss, double parameter, str place=*) except -1
cdef double evaluate_loss(int loss, double parameter, bint single, Quantity quantity, double residual) noexcept nogil
cdef void run_job(Job* job) noexcept nogil
