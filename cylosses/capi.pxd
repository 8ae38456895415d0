# The C level for Cython: exact regression losses on plain pointers, without Python objects and without the GIL.
#
#     from cylosses.capi cimport HUBER, MEAN, OK, import_cylosses, status_message, value_float64
#
#     import_cylosses()           # once in each module: an ImportError if it was compiled for another version of this interface
#     status = value_float64(HUBER, 1.0, MEAN, &x[0], &y[0], NULL, n, 1, &mean)
#
# Compile with `include_dirs=[cylosses.get_include()]`. What arguments mean and what is guaranteed: cylosses/include/cylosses.h. The
# guide: docs/c-api.md.

from libc.stddef cimport ptrdiff_t
from libc.stdint cimport uint64_t

cdef extern from "cylosses.h" nogil:
    cpdef enum LossCode "cylosses_loss":
        # generated: numbers of the losses (python -m tools.generate)
        SMOOTH_L1 "CYLOSSES_SMOOTH_L1"
        L1 "CYLOSSES_L1"
        MSE "CYLOSSES_MSE"
        HUBER "CYLOSSES_HUBER"
        TUKEY "CYLOSSES_TUKEY"
        QUANTILE "CYLOSSES_QUANTILE"
        EPSILON_INSENSITIVE "CYLOSSES_EPSILON_INSENSITIVE"
        PSEUDO_HUBER "CYLOSSES_PSEUDO_HUBER"
        CHARBONNIER "CYLOSSES_CHARBONNIER"
        GEMAN_MCCLURE "CYLOSSES_GEMAN_MCCLURE"
        # generated: end

    cpdef enum Reduction "cylosses_reduction":
        SUM "CYLOSSES_SUM"
        MEAN "CYLOSSES_MEAN"

    cpdef enum Curvature "cylosses_curvature":
        EXACT_CURVATURE "CYLOSSES_EXACT_CURVATURE"
        MM_CURVATURE "CYLOSSES_MM_CURVATURE"
        UNIT_CURVATURE "CYLOSSES_UNIT_CURVATURE"

    cpdef enum Status "cylosses_status":
        OK "CYLOSSES_OK"
        BAD_LOSS "CYLOSSES_BAD_LOSS"
        BAD_PARAMETER "CYLOSSES_BAD_PARAMETER"
        BAD_REDUCTION "CYLOSSES_BAD_REDUCTION"
        BAD_CURVATURE "CYLOSSES_BAD_CURVATURE"
        BAD_SIZE "CYLOSSES_BAD_SIZE"
        BAD_ARRAY "CYLOSSES_BAD_ARRAY"
        BAD_WEIGHT "CYLOSSES_BAD_WEIGHT"
        BAD_THREADS "CYLOSSES_BAD_THREADS"
        TOO_MANY "CYLOSSES_TOO_MANY"

    ctypedef struct Accumulator "cylosses_accumulator":
        pass

cdef extern from "cylosses.h":
    int import_cylosses "cylosses_import"() except -1

cdef int check_float32(int loss, double parameter) noexcept nogil
cdef int check_float64(int loss, double parameter) noexcept nogil
cdef const char* status_message(int status) noexcept nogil

cdef int value_float32(
    int loss, double parameter, int reduction, const float* input, const float* target, const float* weight, ptrdiff_t n,
    int n_threads, float* result,
) noexcept nogil
cdef int value_float64(
    int loss, double parameter, int reduction, const double* input, const double* target, const double* weight, ptrdiff_t n,
    int n_threads, double* result,
) noexcept nogil
cdef int elementwise_value_float32(
    int loss, double parameter, const float* input, const float* target, const float* weight, ptrdiff_t n, int n_threads,
    float* values,
) noexcept nogil
cdef int elementwise_value_float64(
    int loss, double parameter, const double* input, const double* target, const double* weight, ptrdiff_t n, int n_threads,
    double* values,
) noexcept nogil
cdef int gradient_float32(
    int loss, double parameter, int reduction, const float* input, const float* target, const float* weight, ptrdiff_t n,
    int n_threads, float* gradient,
) noexcept nogil
cdef int gradient_float64(
    int loss, double parameter, int reduction, const double* input, const double* target, const double* weight, ptrdiff_t n,
    int n_threads, double* gradient,
) noexcept nogil
cdef int value_and_gradient_float32(
    int loss, double parameter, int reduction, const float* input, const float* target, const float* weight, ptrdiff_t n,
    int n_threads, float* result, float* gradient,
) noexcept nogil
cdef int value_and_gradient_float64(
    int loss, double parameter, int reduction, const double* input, const double* target, const double* weight, ptrdiff_t n,
    int n_threads, double* result, double* gradient,
) noexcept nogil
cdef int gradient_and_hessian_float32(
    int loss, double parameter, int reduction, int curvature, const float* input, const float* target, const float* weight,
    ptrdiff_t n, int n_threads, float* gradient, float* hessian,
) noexcept nogil
cdef int gradient_and_hessian_float64(
    int loss, double parameter, int reduction, int curvature, const double* input, const double* target, const double* weight,
    ptrdiff_t n, int n_threads, double* gradient, double* hessian,
) noexcept nogil

cdef float scalar_value_float32(int loss, double parameter, float residual) noexcept nogil
cdef double scalar_value_float64(int loss, double parameter, double residual) noexcept nogil
cdef float scalar_derivative_float32(int loss, double parameter, float residual) noexcept nogil
cdef double scalar_derivative_float64(int loss, double parameter, double residual) noexcept nogil
cdef float scalar_second_derivative_float32(int loss, double parameter, float residual) noexcept nogil
cdef double scalar_second_derivative_float64(int loss, double parameter, double residual) noexcept nogil
cdef float scalar_irls_weight_float32(int loss, double parameter, float residual) noexcept nogil
cdef double scalar_irls_weight_float64(int loss, double parameter, double residual) noexcept nogil

cdef Accumulator* accumulator_new() noexcept nogil
cdef void accumulator_free(Accumulator* accumulator) noexcept nogil
cdef void accumulator_clear(Accumulator* accumulator) noexcept nogil
cdef uint64_t accumulator_count(const Accumulator* accumulator) noexcept nogil
cdef int accumulator_update_float32(
    Accumulator* accumulator, int loss, double parameter, const float* input, const float* target, const float* weight,
    ptrdiff_t n, int n_threads,
) noexcept nogil
cdef int accumulator_update_float64(
    Accumulator* accumulator, int loss, double parameter, const double* input, const double* target, const double* weight,
    ptrdiff_t n, int n_threads,
) noexcept nogil
cdef int accumulator_merge(Accumulator* accumulator, const Accumulator* other) noexcept nogil
cdef int accumulator_finish_float32(const Accumulator* accumulator, int reduction, float* result) noexcept nogil
cdef int accumulator_finish_float64(const Accumulator* accumulator, int reduction, double* result) noexcept nogil
