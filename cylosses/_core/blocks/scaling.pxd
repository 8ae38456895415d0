# What a block of results is multiplied with, and which of its elements count.

from cython cimport floating
from libc.math cimport fabs
from libc.stdint cimport int64_t
from libc.string cimport memcpy

from cylosses._core.bits cimport power_of_two
from cylosses._core.blocks.sums cimport fits_24_bits
from cylosses._core.compiler cimport outlined, rare
from cylosses._core.error_free cimport float_to_odd, product_to_odd
from cylosses._core.factor cimport MODERATE, significand_of, times_factor, times_weight
from cylosses._core.job cimport Job
from cylosses._core.memory.half cimport narrowed


# ---- elements that count ---------------------------------------------------------------------------------------------------------

cdef inline Py_ssize_t count_selected(const floating* selected, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i, count = 0
    for i in range(n):
        count += selected[i] != 0
    return count


cdef inline outlined clear_weights(const floating* selected, double* weights, Py_ssize_t n) noexcept nogil:
    """Weight 0 for each element that is not selected."""
    cdef Py_ssize_t i
    for i in range(n):
        weights[i] = weights[i] if selected[i] != 0 else 0


cdef inline outlined select_weighted(const double* weights, floating* selected, Py_ssize_t n) noexcept nogil:
    """Select the elements whose weight is not 0: weight 0 is removal."""
    cdef Py_ssize_t i
    for i in range(n):
        selected[i] = weights[i] != 0


cdef inline outlined keep_selected(const floating* selected, floating* values, Py_ssize_t n) noexcept nogil:
    """0 for each element that is not selected, whatever it was."""
    cdef Py_ssize_t i
    for i in range(n):
        values[i] = values[i] if selected[i] != 0 else <floating> 0


# ---- factors of derivatives ------------------------------------------------------------------------------------------------------

cdef inline bint has_factors(const Job* job) noexcept nogil:
    """Whether derivatives have incoming gradients, or factors of their slices."""
    return job.grad_output.data is not NULL or job.finds_factors


cdef inline bint set_factors(
    const Job* job, const double* weights, const double* lows, double* factors, Py_ssize_t n, const floating* working_type
) noexcept nogil:
    """Make factors[:n], which are those of grad_output if there are any, what each derivative is multiplied with.

    False, and factors are then undefined, if one of the numbers is not moderate. `weights` and `lows` may be NULL. Of working_type
    only the type is used.
    """
    cdef double least = power_of_two(-MODERATE), most = power_of_two(MODERATE), scale = job.scale, low = job.scale_low, size
    cdef bint each = has_factors(job)
    cdef Py_ssize_t i
    cdef int64_t extreme = 0        # as wide as float64: loops over both need no packing
    if job.scale_exponent != 0 or not scale - scale == 0:
        return False
    if job.finds_factors:           # which has checked them
        if scale != 1:
            for i in range(n):
                factors[i] = factors[i] * scale
    elif each:
        for i in range(n):
            size = fabs(factors[i])
            extreme |= (size > most) | ((size < least) & (size != 0)) | (size != size)
            factors[i] = factors[i] * scale
    elif weights is NULL:
        for i in range(n):
            factors[i] = scale
    elif scale == 1 and low == 0:
        memcpy(factors, weights, n * sizeof(double))
        return True
    if weights is not NULL:
        if floating is float:
            for i in range(n):
                extreme |= (weights[i] > most) | ((weights[i] < least) & (weights[i] != 0))
                factors[i] = (factors[i] if each else scale) * weights[i]
            return not extreme
        for i in range(n):
            extreme |= (weights[i] > most) | ((weights[i] < least) & (weights[i] != 0))
        if lows is not NULL:
            for i in range(n):
                factors[i] = times_weight(factors[i], lows[i] * scale, weights[i])
        else:
            for i in range(n):
                factors[i] = times_weight(factors[i] if each else scale, low, weights[i])
    return not extreme


cdef inline rare set_extreme_factors(
    const Job* job, const double* weights, const double* lows, const double* exponents, double* factors, double* shifts,
    Py_ssize_t n, const floating* working_type
) noexcept nogil:
    """set_factors() of any numbers: the factors are factors * 2**shifts."""
    cdef bint each = has_factors(job)
    cdef double factor, weight, low
    cdef Py_ssize_t i
    cdef int exponent, shift
    for i in range(n):
        factor = significand_of(factors[i] * job.scale if each else job.scale, &exponent)
        low = lows[i] * job.scale if lows is not NULL else job.scale_low
        if exponent != 0 and low != 0:
            low = low * power_of_two(-exponent)     # it is of a moderate number, or the exponent is 0
        exponent += job.scale_exponent
        if exponents is not NULL:
            exponent += <int> exponents[i]
        if weights is not NULL:
            weight = significand_of(weights[i], &shift)
            exponent += shift
            if floating is float or not factor - factor == 0:
                factor = factor * weight
            else:
                factor = times_weight(factor, low, weight)
        factors[i] = factor
        shifts[i] = exponent


# ---- products --------------------------------------------------------------------------------------------------------------------

cdef inline outlined weigh_values(const Job* job, floating* values, const double* weights, Py_ssize_t n) noexcept nogil:
    """values * weights, rounded once to the type of the result."""
    cdef Py_ssize_t i
    if floating is float:
        if job.narrow >= 0:
            for i in range(n):
                values[i] = narrowed(float_to_odd(product_to_odd(values[i], weights[i])), job.narrow)
        elif not fits_24_bits(job.weight.storage):
            for i in range(n):
                values[i] = <float> product_to_odd(values[i], weights[i])
        else:
            for i in range(n):
                values[i] = <float> (values[i] * weights[i])
    else:
        for i in range(n):
            values[i] = values[i] * weights[i]


cdef inline outlined scale_by(
    const Job* job, floating* values, const double* factors, const double* shifts, Py_ssize_t n
) noexcept nogil:
    """values * scale, or values * factors if there are any, or values * factors * 2**shifts; float32 values are multiplied in
    float64 and rounded once.
    """
    cdef Py_ssize_t i
    cdef double scale = job.scale
    if shifts is not NULL:
        for i in range(n):
            values[i] = <floating> times_factor(values[i], factors[i], <int> shifts[i])
    elif factors is not NULL:
        for i in range(n):
            values[i] = <floating> (values[i] * factors[i])
    elif scale != 1:
        for i in range(n):
            values[i] = <floating> (values[i] * scale)


cdef inline outlined narrow_block(const Job* job, floating* values, Py_ssize_t n) noexcept nogil:
    """Round to half precision if that is what results have."""
    cdef Py_ssize_t i
    if floating is float:               # which half precision is computed in
        if job.narrow >= 0:
            for i in range(n):
                values[i] = narrowed(values[i], job.narrow)
