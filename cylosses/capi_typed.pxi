# Of capi.pyx: the functions of capi.pxd, each for float32 and float64.

cdef int value_float32(
    int loss, double parameter, int reduction, const float* input, const float* target, const float* weight, ptrdiff_t n,
    int n_threads, float* result,
) noexcept nogil:
    return reduce_values(loss, parameter, reduction, input, target, weight, n, n_threads, result)


cdef int value_float64(
    int loss, double parameter, int reduction, const double* input, const double* target, const double* weight, ptrdiff_t n,
    int n_threads, double* result,
) noexcept nogil:
    return reduce_values(loss, parameter, reduction, input, target, weight, n, n_threads, result)


cdef int elementwise_value_float32(
    int loss, double parameter, const float* input, const float* target, const float* weight, ptrdiff_t n, int n_threads,
    float* values,
) noexcept nogil:
    return each_value(loss, parameter, input, target, weight, n, n_threads, values)


cdef int elementwise_value_float64(
    int loss, double parameter, const double* input, const double* target, const double* weight, ptrdiff_t n, int n_threads,
    double* values,
) noexcept nogil:
    return each_value(loss, parameter, input, target, weight, n, n_threads, values)


cdef int gradient_float32(
    int loss, double parameter, int reduction, const float* input, const float* target, const float* weight, ptrdiff_t n,
    int n_threads, float* gradient,
) noexcept nogil:
    return derive(
        loss, parameter, reduction, EXACT_CURVATURE, input, target, weight, n, n_threads, gradient, False, <float*> NULL, False,
        <float*> NULL
    )


cdef int gradient_float64(
    int loss, double parameter, int reduction, const double* input, const double* target, const double* weight, ptrdiff_t n,
    int n_threads, double* gradient,
) noexcept nogil:
    return derive(
        loss, parameter, reduction, EXACT_CURVATURE, input, target, weight, n, n_threads, gradient, False, <double*> NULL, False,
        <double*> NULL
    )


cdef int value_and_gradient_float32(
    int loss, double parameter, int reduction, const float* input, const float* target, const float* weight, ptrdiff_t n,
    int n_threads, float* result, float* gradient,
) noexcept nogil:
    return derive(
        loss, parameter, reduction, EXACT_CURVATURE, input, target, weight, n, n_threads, gradient, False, <float*> NULL, True,
        result
    )


cdef int value_and_gradient_float64(
    int loss, double parameter, int reduction, const double* input, const double* target, const double* weight, ptrdiff_t n,
    int n_threads, double* result, double* gradient,
) noexcept nogil:
    return derive(
        loss, parameter, reduction, EXACT_CURVATURE, input, target, weight, n, n_threads, gradient, False, <double*> NULL, True,
        result
    )


cdef int gradient_and_hessian_float32(
    int loss, double parameter, int reduction, int curvature, const float* input, const float* target, const float* weight,
    ptrdiff_t n, int n_threads, float* gradient, float* hessian,
) noexcept nogil:
    return derive(
        loss, parameter, reduction, curvature, input, target, weight, n, n_threads, gradient, True, hessian, False, <float*> NULL
    )


cdef int gradient_and_hessian_float64(
    int loss, double parameter, int reduction, int curvature, const double* input, const double* target, const double* weight,
    ptrdiff_t n, int n_threads, double* gradient, double* hessian,
) noexcept nogil:
    return derive(
        loss, parameter, reduction, curvature, input, target, weight, n, n_threads, gradient, True, hessian, False, <double*> NULL
    )


cdef float scalar_value_float32(int loss, double parameter, float residual) noexcept nogil:
    return scalar(loss, parameter, VALUE, residual)


cdef double scalar_value_float64(int loss, double parameter, double residual) noexcept nogil:
    return scalar(loss, parameter, VALUE, residual)


cdef float scalar_derivative_float32(int loss, double parameter, float residual) noexcept nogil:
    return scalar(loss, parameter, DERIVATIVE, residual)


cdef double scalar_derivative_float64(int loss, double parameter, double residual) noexcept nogil:
    return scalar(loss, parameter, DERIVATIVE, residual)


cdef float scalar_second_derivative_float32(int loss, double parameter, float residual) noexcept nogil:
    return scalar(loss, parameter, SECOND_DERIVATIVE, residual)


cdef double scalar_second_derivative_float64(int loss, double parameter, double residual) noexcept nogil:
    return scalar(loss, parameter, SECOND_DERIVATIVE, residual)


cdef float scalar_irls_weight_float32(int loss, double parameter, float residual) noexcept nogil:
    return scalar(loss, parameter, IRLS_WEIGHT, residual)


cdef double scalar_irls_weight_float64(int loss, double parameter, double residual) noexcept nogil:
    return scalar(loss, parameter, IRLS_WEIGHT, residual)


cdef int accumulator_update_float32(
    Accumulator* accumulator, int loss, double parameter, const float* input, const float* target, const float* weight,
    ptrdiff_t n, int n_threads,
) noexcept nogil:
    return update(accumulator, loss, parameter, input, target, weight, n, n_threads)


cdef int accumulator_update_float64(
    Accumulator* accumulator, int loss, double parameter, const double* input, const double* target, const double* weight,
    ptrdiff_t n, int n_threads,
) noexcept nogil:
    return update(accumulator, loss, parameter, input, target, weight, n, n_threads)


cdef int accumulator_finish_float32(const Accumulator* accumulator, int reduction, float* result) noexcept nogil:
    return round_into(accumulator, reduction, result)


cdef int accumulator_finish_float64(const Accumulator* accumulator, int reduction, double* result) noexcept nogil:
    return round_into(accumulator, reduction, result)
