# Of call.pyx: gradients and Hessians.

# ---- what derivatives are multiplied with ----------------------------------------------------------------------------------------

cdef int take_factor(Call* call, int reduction, object grad_output, bint negative) except -1:
    """Have derivatives multiplied by incoming gradient over divisor: one number for all, a number a slice, or one an element."""
    cdef Job* job = &call.contiguous.job
    cdef double dividend = 1
    cdef double factors[3]
    cdef cnp.ndarray incoming = None
    if grad_output is not None and not read_number(grad_output, &dividend):
        if not convert.is_fraction(grad_output):
            incoming = as_incoming(call, reduction, grad_output, &dividend)
        elif reduction == MEAN:
            dividend = convert.as_float("grad_output", grad_output)
        else:
            return take_fraction(job, int(grad_output.numerator), int(grad_output.denominator), negative)
    set_default_mode()              # again: as in run_from_python()
    if incoming is not None:
        job.scale = -1 if negative else 1
    elif negative:
        dividend = -dividend
    if call.n_kept and reduction == MEAN and (incoming is not None or has(call, WEIGHT) or has(call, WHERE)):
        if incoming is not None:
            hold_as(call, DIVIDEND, incoming)
        call.dividend, call.finds_factors, call.is_contiguous = dividend, True, False
    elif incoming is not None:
        hold_as(call, GRAD_OUTPUT, incoming)
        call.is_contiguous = False
    elif call.n_kept and reduction == MEAN:
        set_factor(job, factor_by_count(dividend, job.size // max(count_slices(call), 1)))
    elif not set_scale(job, dividend, reduction == MEAN):
        want_factors(job, &dividend, factors)
        run(call)
        take_factors(job, factors)
    return 0


cdef inline bint read_number(object given, double* number) except -1:
    """Whether this is a number that float64 holds, of the usual types."""
    cdef int overflow = 0
    if isinstance(given, float):
        number[0] = PyFloat_AS_DOUBLE(given)
        return True
    if type(given) is SINGLE:
        number[0] = given
        return True
    if type(given) is int:
        number[0] = <double> PyLong_AsLongAndOverflow(given, &overflow)
        return overflow == 0 and fabs(number[0]) < 9007199254740992.0       # 2**53
    return False


cdef int take_fraction(Job* job, object numerator, object denominator, bint negative) except -1:
    """Have derivatives multiplied by a fraction, whose denominator is positive: to 64 bits, as the quotients of exact sums."""
    cdef int exponent
    if numerator == 0:
        job.scale = -0.0 if negative else 0.0
        return 0
    negative = negative != (numerator < 0)
    numerator = abs(numerator)
    shift = 64 - numerator.bit_length() + denominator.bit_length()
    digits, remainder = divmod(numerator << shift if shift > 0 else numerator, denominator << -shift if shift < 0 else denominator)
    if digits >> 64:                # the quotient has 64 or 65 digits
        digits, remainder, shift = digits >> 1, remainder or digits & 1, shift - 1
    exponent = max(-100000, min(100000, -shift))
    set_factor(job, factor_of_digits(digits, exponent, remainder != 0, negative))
    return 0


cdef cnp.ndarray as_incoming(Call* call, int reduction, object given, double* number):
    """An incoming gradient as an array that broadcasts to the shape of the call; None for one element, which goes to `number`."""
    cdef cnp.ndarray incoming = as_array("grad_output", given)
    cdef int storage = read_storage("grad_output", incoming)
    cdef Py_ssize_t shape[MAX_DIMS]
    if cnp.PyArray_SIZE(incoming) == 1:
        set_default_mode()          # again: as in run_from_python()
        read_strided(storage, <char*> cnp.PyArray_DATA(incoming), 0, cnp.PyArray_ISBYTESWAPPED(incoming), 1, number)
        return None
    if reduction == NONE:
        check_fit(call, "grad_output", incoming, call.shape)
        return incoming
    if not call.n_kept:
        raise ValueError(
            f"grad_output must be one number for reduction={convert.REDUCTIONS[reduction]!r}, got shape {(<object> incoming).shape}"
        )
    if have_shape(incoming, shape_left(call, False, shape), shape):
        incoming = incoming.reshape(as_tuple(shape_left(call, True, shape), shape))
    shape_left(call, True, shape)
    check_fit(call, "grad_output", incoming, shape)
    return incoming


cdef Py_ssize_t count_slices(const Call* call) noexcept:
    cdef Py_ssize_t slices = 1
    cdef int k
    for k in range(call.ndim):
        slices *= call.shape[k] if call.n_kept and call.kept[k] else 1
    return slices


cdef int find_factors_of_slices(Call* call) except -1:
    """Have the derivatives of each slice multiplied by a factor of its own, which takes a pass: incoming gradient over the sum of its
    weights.
    """
    cdef Job* job = &call.contiguous.job
    cdef int term = job.term
    cdef bint mean = job.divide
    cdef char* result = job.result
    cdef Py_ssize_t shape[2]
    cdef Py_ssize_t k
    cdef cnp.ndarray buffer
    cdef double* factors
    cdef unsigned int present = call.present
    shape[0], shape[1] = 3, count_slices(call)
    buffer = cnp.PyArray_EMPTY(2, <cnp.npy_intp*> shape, cnp.NPY_FLOAT64, 0)
    factors = <double*> cnp.PyArray_DATA(buffer)
    hold(call, buffer)
    want_factors(job, NULL if has(call, DIVIDEND) else &call.dividend, factors)
    call.finds_factors = False
    call.present &= ~OUTPUTS
    job.result, job.divide = NULL, False
    run_planned(call, call.n_kept, call.kept)
    call.present = present & ~(1u << DIVIDEND)
    job.term, job.result, job.divide, job.factors, job.dividend.data = term, result, mean, NULL, NULL
    call.factors = factors
    call.has_low_factors = not job.single and has(call, WEIGHT)       # else too little to count
    call.has_exponents = False
    for k in range(2 * shape[1], 3 * shape[1]):
        call.has_exponents = call.has_exponents or factors[k] != 0
    return 0


# ---- elementwise results ---------------------------------------------------------------------------------------------------------

cdef cnp.ndarray values_into(Call* call, str name, object out):
    """Weight times loss of each element."""
    cdef cnp.ndarray final = take_output(call, name, out, call.ndim, call.shape), written = apart(call, final, out is not None)
    if out is not None:
        check_weights_first(call, written, None)
    enter_output(call, OUT_VALUE, written)
    run(call)
    return moved(written, final)


cdef int check_distinct(str first, cnp.ndarray a, str second, cnp.ndarray b) except -1:
    if a is not None and b is not None and overlap(extent_of(a), extent_of(b)):
        raise ValueError(f"out for the {first} and out for the {second} share memory")
    return 0


cdef object derive(
    Call* call, int reduction, object axis, object grad_output, int by, bint with_value, int curvature, object out_value,
    object out_gradient, object out_hessian,
):
    """The gradient by an operand; or a pair of value and gradient, or of gradient and Hessian if a curvature is not negative.

    Outputs are checked before anything is written to them.
    """
    cdef cnp.ndarray operand = array_in(call, by), value = None, gradient, hessian = None
    cdef int ndim
    cdef const Py_ssize_t* shape
    cdef Py_ssize_t left[MAX_DIMS]
    cdef bint given = out_value is not None or out_gradient is not None or out_hessian is not None
    take_axes(call, axis)
    take_factor(call, reduction, grad_output, by == TARGET)
    ndim, shape = cnp.PyArray_NDIM(operand), shape_of(operand)
    if with_value and reduction == NONE:
        value = take_output(call, "out for the value", out_value, call.ndim, call.shape)
    elif out_value is not None:
        value = take_output(call, "out for the value", out_value, shape_left(call, False, left), left)
    gradient = take_output(call, "out for the gradient", out_gradient, ndim, shape)
    if curvature >= 0:
        hessian = take_output(call, "out for the hessian", out_hessian, ndim, shape)
    if given:
        check_distinct("value", value, "gradient", gradient)
        check_distinct("gradient", gradient, "hessian", hessian)
    call.contiguous.job.curvature = curvature if curvature > 0 else 0
    if not have_shape(operand, call.ndim, call.shape):
        return derive_over_broadcast(call, reduction, by, with_value, gradient, hessian, out_value, given)
    return derive_each(call, reduction, with_value, value, gradient, hessian, out_value, given)


cdef object derive_each(
    Call* call, int reduction, bint with_value, cnp.ndarray value, cnp.ndarray gradient, cnp.ndarray hessian, object out_value,
    bint given,
):
    """derive() where each element has a derivative: one pass for all that is wanted, written to these arrays or `out_value`."""
    cdef cnp.ndarray of_gradient = apart(call, gradient, given), of_hessian = None, of_value = None
    cdef object reduced = None
    if hessian is not None:
        of_hessian = apart(call, hessian, given)
    if with_value and reduction == NONE:
        of_value = apart(call, value, given)
    if given and (reduction != MEAN or call.finds_factors):     # else a mean has found bad weights when it summed its divisor
        check_weights_first(call, of_gradient, of_hessian if of_value is None else of_value)
    enter_output(call, OUT_GRADIENT, of_gradient)
    if hessian is not None:
        enter_output(call, OUT_HESSIAN, of_hessian)
    if of_value is not None:
        enter_output(call, OUT_VALUE, of_value)
    if with_value and reduction != NONE:
        reduced = sum_into(call, "out for the value", reduction == MEAN, out_value, False)
    else:
        run(call)
    moved(of_gradient, gradient)
    if hessian is not None:
        return gradient, moved(of_hessian, hessian)
    if with_value:
        return (reduced if of_value is None else moved(of_value, value)), gradient
    return gradient


cdef object derive_over_broadcast(
    Call* call, int reduction, int by, bint with_value, cnp.ndarray gradient, cnp.ndarray hessian, object out_value, bint given
):
    """derive() by an operand that was broadcast: derivatives are summed exactly, each in a pass of its own."""
    cdef cnp.ndarray of_gradient, of_hessian = None
    cdef object of_loss = None
    if call.finds_factors:          # of other slices than those that are summed here
        find_factors_of_slices(call)
    of_gradient = sum_over_broadcast(call, by, GRADIENTS, gradient, given)
    if hessian is not None:
        of_hessian = sum_over_broadcast(call, by, HESSIANS, hessian, given)
    if with_value and reduction == NONE:
        of_loss = values_into(call, "out for the value", out_value)
    elif with_value:
        of_loss = sum_into(call, "out for the value", reduction == MEAN, out_value, False)
    moved(of_gradient, gradient)            # when all passes are over: `gradient` may overlap an operand
    if hessian is not None:
        return gradient, moved(of_hessian, hessian)
    return (of_loss, gradient) if with_value else gradient
