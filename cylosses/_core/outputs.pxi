# Of call.pyx: outputs, what they overlap, and results written to them.

# ---- outputs ---------------------------------------------------------------------------------------------------------------------

cdef inline cnp.ndarray take_output(const Call* call, str name, object out, int ndim, const Py_ssize_t* shape):
    """`out`, if it is an array of exactly this shape and the dtype of the results, or a new array if it is None."""
    if out is not None:
        return check_output(call, name, out, ndim, shape)
    if call.storage == FLOAT32 or call.storage == FLOAT64:
        return cnp.PyArray_EMPTY(ndim, <cnp.npy_intp*> shape, cnp.NPY_FLOAT32 if call.storage == FLOAT32 else cnp.NPY_FLOAT64, 0)
    return np.empty(as_tuple(ndim, shape), dtype_of(call.storage))


cdef cnp.ndarray check_output(const Call* call, str name, object out, int ndim, const Py_ssize_t* shape):
    cdef cnp.dtype dtype
    if type(out) is not cnp.ndarray:
        convert.check_output_type(name, out)
    if storage_in(out) != call.storage or not cnp.PyArray_ISNOTSWAPPED(out):
        dtype = dtype_of(call.storage)
        raise TypeError(f"{name} has dtype {out.dtype.str} ({out.dtype}); the result needs {dtype.str} ({dtype})")
    if not have_shape(out, ndim, shape):
        raise ValueError(f"{name} has shape {out.shape}; the result needs {as_tuple(ndim, shape)}")
    if not cnp.PyArray_ISWRITEABLE(out):
        raise ValueError(f"{name} is read-only")
    return out


cdef Extent extent_of(cnp.ndarray array) noexcept:
    cdef Extent extent = extent_of_bytes(cnp.PyArray_DATA(array), cnp.PyArray_ITEMSIZE(array))
    cdef Py_ssize_t reach
    cdef int k
    for k in range(cnp.PyArray_NDIM(array)):
        reach = cnp.PyArray_STRIDE(array, k) * (cnp.PyArray_DIM(array, k) - 1)
        if cnp.PyArray_DIM(array, k) == 0:
            extent.end = extent.first
            break
        elif reach < 0:
            extent.first += reach
        else:
            extent.end += reach
    return extent


cdef bint are_same_elements(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether each element of one array lies exactly where that of the other lies."""
    cdef int k
    if cnp.PyArray_DATA(a) != cnp.PyArray_DATA(b) or cnp.PyArray_TYPE(a) != cnp.PyArray_TYPE(b) or not (
        have_shape(a, cnp.PyArray_NDIM(b), shape_of(b)) and cnp.PyArray_ISBYTESWAPPED(a) == cnp.PyArray_ISBYTESWAPPED(b)
    ):
        return False
    for k in range(cnp.PyArray_NDIM(a)):
        if cnp.PyArray_STRIDE(a, k) != cnp.PyArray_STRIDE(b, k):
            return False
    return True


cdef bint overlaps_operands(const Call* call, cnp.ndarray out, bint unless_same) noexcept:
    """Whether an output overlaps an operand; with unless_same, only if elements could be overwritten before they are read."""
    cdef Extent extent = extent_of(out)
    cdef int slot
    for slot in range(SLOTS):
        if has(call, slot) and overlap(extent_of(array_in(call, slot)), extent):
            if not (unless_same and are_same_elements(array_in(call, slot), out)):
                return True
    return False


cdef cnp.ndarray apart(const Call* call, cnp.ndarray out, bint given):
    """`out`; or, if it was given and writing to it could change elements still to be read, a new array to write to first."""
    if given and overlaps_operands(call, out, True):
        return take_output(call, "", None, cnp.PyArray_NDIM(out), shape_of(out))
    return out


cdef int enter_output(Call* call, int slot, cnp.ndarray out) except -1:
    """Have elementwise results written to an array that apart() returned."""
    hold_as(call, slot, out)
    enter_array(call, slot, out, call.storage, True)
    return 0


cdef inline cnp.ndarray moved(cnp.ndarray written, cnp.ndarray final):
    """`final` with the contents of `written`."""
    if written is not final:
        cnp.PyArray_CopyInto(final, written)
    return final


# ---- sums ------------------------------------------------------------------------------------------------------------------------

cdef object sum_into(Call* call, str name, bint mean, object out, bint keepdims):
    """Run the job for the exact sum or mean of the whole, or of each slice: a scalar, an array, or `out`."""
    cdef Job* job = &call.contiguous.job
    cdef Py_ssize_t shape[MAX_DIMS]
    cdef char number[8]
    cdef int ndim = shape_left(call, keepdims, shape) if keepdims or call.n_kept else 0
    cdef cnp.ndarray final = None, written = None
    if out is not None or ndim:
        final = take_output(call, name, out, ndim, shape)
    job.term, job.divide, job.result_storage, job.result = VALUES, mean, call.storage, number
    if call.n_kept:
        written = final if out is None else take_output(call, name, None, ndim, shape)
        job.result = <char*> cnp.PyArray_DATA(written)
        call.is_contiguous = False
    run(call)
    if call.n_kept:
        return moved(written, final)
    if final is None:
        return scalar_of(call.storage, number)
    memcpy(cnp.PyArray_DATA(final), number, cnp.PyArray_ITEMSIZE(final))
    return final


cdef cnp.ndarray sum_over_broadcast(Call* call, int slot, int term, cnp.ndarray final, bint given):
    """Sum derivatives exactly over the axes along which this operand was broadcast, and return the array that has the sums.

    That is `final`, or if outputs were given, an array of its shape, which the caller moves there when all passes are over.
    """
    cdef Job* job = &call.contiguous.job
    cdef cnp.ndarray operand = array_in(call, slot), written = final
    cdef bint kept[MAX_DIMS]
    cdef int k, n_kept = 0, missing = call.ndim - cnp.PyArray_NDIM(operand)
    for k in range(call.ndim):
        kept[k] = (cnp.PyArray_DIM(operand, k - missing) if k >= missing else 1) == call.shape[k]
        n_kept += kept[k]
    if given:
        written = take_output(call, "", None, cnp.PyArray_NDIM(final), shape_of(final))
    job.term, job.divide, job.result_storage = term, False, call.storage
    job.result = <char*> cnp.PyArray_DATA(written)
    run_planned(call, n_kept, kept)
    job.term, job.result = NOTHING, NULL
    return written
