# Of call.pyx: operands, settings and axes.

# ---- operands --------------------------------------------------------------------------------------------------------------------

cdef inline cnp.ndarray as_array(str name, object given):
    return <cnp.ndarray> given if type(given) is cnp.ndarray else convert.as_array(name, given)


cdef inline int read_storage(str name, cnp.ndarray array) except -1:
    """How the elements lie in memory; TypeError for those that no loop reads."""
    cdef int storage = storage_in(array)
    if storage < 0:
        convert.refuse_dtype(name, array)
    return storage


cdef inline bint is_number(object given) noexcept:
    return type(given) is not cnp.ndarray and (type(given) is float or type(given) is int or type(given) is bool)


cdef inline bint have_shape(cnp.ndarray array, int ndim, const Py_ssize_t* shape) noexcept:
    cdef int k
    if cnp.PyArray_NDIM(array) != ndim:
        return False
    for k in range(ndim):
        if cnp.PyArray_DIM(array, k) != shape[k]:
            return False
    return True


cdef inline tuple as_tuple(int ndim, const Py_ssize_t* shape):
    return tuple([shape[k] for k in range(ndim)])


cdef int take_operands(
    Call* call, int loss, object parameter, object input, object target, object weight, object where, object n_threads
) except -1:
    """Check what all calls have, and begin a job of it without outputs."""
    cdef bint fits_float32
    cdef double number
    cdef cnp.ndarray first, second
    cdef int of_input, of_target
    cdef bint single, have_one_shape
    cdef int k
    if type(parameter) is float or cnp.PyArray_CheckAnyScalar(parameter):
        number = take_parameter(loss, parameter, &fits_float32)
    else:
        number = take_parameters(call, loss, parameter, &fits_float32)
    first = as_array("input", input)
    of_input = read_storage("input", first)
    hold_as(call, INPUT, first)
    second = as_array("target", target)
    of_target = read_storage("target", second)
    hold_as(call, TARGET, second)
    call.storage = wider(WEAK if is_number(input) else of_input, WEAK if is_number(target) else of_target)
    single = call.storage != FLOAT64
    if single and not fits_float32:
        if call.parameters is NULL:
            check_rounded(loss, number)
        else:
            (<object> call.parameters).check_in_float32()
    call.ndim, call.shape = cnp.PyArray_NDIM(first), call.own_shape
    for k in range(call.ndim):
        call.own_shape[k] = cnp.PyArray_DIM(first, k)
    start_contiguous_job(&call.contiguous, loss, number, single, cnp.PyArray_SIZE(first))
    have_one_shape = have_shape(second, call.ndim, call.shape)
    if not have_one_shape:
        broadcast(call, first, second)
    if call.parameters is not NULL:
        broadcast_parameters(call)
    if call.storage == FLOAT16 or call.storage == BFLOAT16:
        call.contiguous.job.narrow = call.storage
    call.is_contiguous = call.parameters is NULL
    enter_array(call, INPUT, first, of_input, have_one_shape)
    enter_array(call, TARGET, second, of_target, have_one_shape)
    if weight is not None:
        take_weight(call, as_array("weight", weight))
    if where is not None:
        take_mask(call, as_array("where", where))
    if n_threads is not None:
        call.contiguous.job.threads = number_of_threads(n_threads)
    return 0


cdef bint widen(Call* call, int ndim, const Py_ssize_t* shape) noexcept:
    """Broadcast the shape of the call with another one; false if they do not go together."""
    cdef int k, missing = ndim - call.ndim
    cdef Py_ssize_t* own
    if missing > 0:
        for k in range(ndim - 1, -1, -1):
            call.own_shape[k] = call.own_shape[k - missing] if k >= missing else 1
        call.ndim = ndim
    for k in range(ndim):
        own = &call.own_shape[call.ndim - ndim + k]
        if own[0] == 1:
            own[0] = shape[k]
        elif shape[k] != 1 and shape[k] != own[0]:
            return False
    return True


cdef bint set_size(Call* call) noexcept:
    """Count the elements of the call; false if they are too many.

    Axes of length 0 do not count: NumPy refuses shapes whose other axes overflow, though there are no elements.
    """
    cdef Py_ssize_t addresses = 1
    cdef bint empty = False
    cdef int k
    for k in range(call.ndim):
        if call.shape[k] == 0:
            empty = True
        elif addresses > <Py_ssize_t> (<size_t> -1 // 2) // call.shape[k]:
            return False
        else:
            addresses *= call.shape[k]
    call.contiguous.size = call.contiguous.job.size = 0 if empty else addresses
    return True


cdef int broadcast(Call* call, cnp.ndarray first, cnp.ndarray second) except -1:
    """Enter the shape that operands of different shapes are broadcast to.

    Warn of it, unless one of them has a single element, or is stretched only along axes that the parameter has as well: who
    passes a parameter for each element of an axis knows of that axis.
    """
    if not widen(call, cnp.PyArray_NDIM(second), shape_of(second)):
        convert.refuse_shapes((<object> first).shape, (<object> second).shape)
    if not set_size(call):
        convert.refuse_shapes((<object> first).shape, (<object> second).shape, as_tuple(call.ndim, call.shape))
    if cnp.PyArray_SIZE(first) == 1 or cnp.PyArray_SIZE(second) == 1:
        return 0
    if not (call.parameters is not NULL and parameter_stretches(call, first) and parameter_stretches(call, second)):
        convert.warn_of_broadcast((<object> first).shape, (<object> second).shape, as_tuple(call.ndim, call.shape))
    return 0


cdef bint parameter_stretches(const Call* call, cnp.ndarray array):
    """Whether the parameter, an array, has all axes in full that an operand has with length 1 or not at all."""
    cdef tuple own = (<object> call.parameters).shape
    cdef int k, before = call.ndim - cnp.PyArray_NDIM(array), missing = call.ndim - <int> len(own)
    for k in range(call.ndim):
        if k >= before and cnp.PyArray_DIM(array, k - before) == call.shape[k]:
            continue
        if k < missing or call.shape[k] == 1 or own[k - missing] != call.shape[k]:
            return False
    return True


cdef inline void enter_array(Call* call, int slot, cnp.ndarray array, int storage, bint has_shape) noexcept:
    """Make an array that is held an operand of the job if it is contiguous; else the call gets a plan.

    `has_shape` says whether it has the shape of the call.
    """
    call.is_contiguous = (
        call.is_contiguous and has_shape and cnp.PyArray_ISCARRAY_RO(array)
        and storage == (UINT8 if slot == WHERE else FLOAT32 if call.contiguous.job.single else FLOAT64)
    )
    if call.is_contiguous:
        enter(&call.contiguous, slot, cnp.PyArray_DATA(array))


cdef int check_fit(const Call* call, str name, cnp.ndarray array, const Py_ssize_t* shape) except -1:
    """Raise ValueError for an array that does not broadcast to a shape of the call's dimensions."""
    if not broadcasts_to(array, call.ndim, shape):
        raise ValueError(f"{name} of shape {(<object> array).shape} cannot be broadcast to {as_tuple(call.ndim, shape)}")
    return 0


cdef int take_weight(Call* call, cnp.ndarray array) except -1:
    cdef int storage
    check_fit(call, "weight", array, call.shape)
    storage = read_storage("weight", array)
    if storage == INT64 or storage == UINT64:
        convert.check_wide_weights(array)
    hold_as(call, WEIGHT, array)
    enter_array(call, WEIGHT, array, storage, have_shape(array, call.ndim, call.shape))
    call.contiguous.job.weight.data = <char*> cnp.PyArray_DATA(array)       # also before there is a plan: set_scale() looks
    return 0


cdef int take_mask(Call* call, cnp.ndarray array) except -1:
    check_fit(call, "where", array, call.shape)
    if cnp.PyArray_TYPE(array) != cnp.NPY_BOOL:
        convert.refuse_mask(array)
    hold_as(call, WHERE, array)
    enter_array(call, WHERE, array, UINT8, have_shape(array, call.ndim, call.shape))
    call.contiguous.job.where.data = <char*> cnp.PyArray_DATA(array)
    return 0


cdef int number_of_threads(object given) except -1:
    cdef long threads
    cdef int overflow = 0
    if type(given) is not int:
        given = convert.check_threads("n_threads", given)
    threads = PyLong_AsLongAndOverflow(given, &overflow)
    if overflow < 0 or (threads < 1 and not overflow):
        convert.check_threads("n_threads", given)
    return <int> threads if not overflow and threads < MAX_THREADS else MAX_THREADS


cdef inline int reduction_named(object reduction) except -1:
    if type(reduction) is str:
        if <str> reduction == "mean":
            return MEAN
        if <str> reduction == "none":
            return NONE
        if <str> reduction == "sum":
            return SUM
    return convert.check_name("reduction", reduction, convert.REDUCTIONS)


cdef inline int operand_named(object wrt) except -1:
    if type(wrt) is str and <str> wrt == "input":
        return INPUT
    return TARGET if convert.check_name("wrt", wrt, OPERANDS) else INPUT


cdef inline int curvature_named(object curvature) except -1:
    if type(curvature) is str and <str> curvature == "exact":
        return EXACT_CURVATURE
    return convert.check_name("curvature", curvature, convert.CURVATURES)


# ---- axes ------------------------------------------------------------------------------------------------------------------------

cdef inline int take_axes(Call* call, object axis) except -1:
    """Note which axes a reduction over `axis` leaves: none by default."""
    return 0 if axis is None else take_given_axes(call, axis)


cdef inline object axis_index(object item, object axis):
    """One of the axes as an int."""
    try:
        return operator.index(item)
    except TypeError:
        pass
    convert.refuse_axis(axis)


cdef int take_given_axes(Call* call, object axis) except -1:
    cdef int k
    for k in range(call.ndim):
        call.kept[k] = True
    call.n_kept = call.ndim
    for item in axis if isinstance(axis, tuple) else (axis,):
        index = axis_index(item, axis)
        if not -call.ndim <= index < call.ndim:
            raise ValueError(f"axis {convert.shown(index)} is out of bounds for the shape {as_tuple(call.ndim, call.shape)}")
        k = index % call.ndim
        if not call.kept[k]:
            convert.refuse_axis_twice(axis)
        call.kept[k] = False
        call.n_kept -= 1
    return 0


cdef int shape_left(const Call* call, bint keepdims, Py_ssize_t* shape) noexcept:
    """Write the shape of what a reduction leaves, with 1 for axes that are summed over if keepdims; return its dimensions."""
    cdef int k, n = 0
    for k in range(call.ndim):
        if call.n_kept and call.kept[k]:
            shape[n] = call.shape[k]
            n += 1
        elif keepdims:
            shape[n] = 1
            n += 1
    return n


cdef tuple layout_left(const Call* call):
    """The lengths of the call's axes, with None for those that are summed over."""
    return tuple([call.shape[k] if call.n_kept and call.kept[k] else None for k in range(call.ndim)])
