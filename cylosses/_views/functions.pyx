"""The compiled module of `cylosses.views`: what its functions for Cython call, and what runs its functions for Python."""
# Python's arguments are taken by the buffer protocol itself, not as memoryviews of a fused type: those take 100 ns each, and as
# much again to find the dtype; their errors name no argument, and Cython's code for them has 100 kB.

cimport cython
cimport numpy as cnumpy
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release
from cpython.exc cimport PyErr_Clear
from cpython.number cimport PyNumber_Index      # Cython alone would cut 1.5 to 1
from cpython.pythread cimport (
    WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock, PyThread_release_lock,
)
from libc.stdint cimport uint64_t
from libc.string cimport memset

from cylosses._views.requests cimport (
    ARRAYS, BAD_SHAPE, ELEMENTWISE_VALUE, GRADIENT, GRADIENT_AND_HESSIAN, OUT_OF_MEMORY, UPDATE, VALUE, VALUE_AND_GRADIENT,
    VALUE_OUT, Array, Request, add_line, check_shapes, expected_shape, find_clash, find_misaligned, find_wrong_shape, new_request,
    run_line, run_slices, widened,
)
from cylosses.capi cimport (
    BAD_ARRAY, MEAN, OK, Accumulator, accumulator_clear, accumulator_count, accumulator_finish_float32, accumulator_finish_float64,
    accumulator_free, accumulator_merge, accumulator_new, status_message,
)

cnumpy.import_array()

cdef extern from "Python.h":
    int get_buffer "PyObject_GetBuffer"(object source, Py_buffer* buffer, int flags) noexcept

cdef extern from * nogil:
    """
    static int little_endian(void) { int one = 1; return *(char *)&one; }
    """
    bint little_endian()


cdef int run_request(Request* request) except -1 nogil:
    cdef int status = check_shapes(request)
    if status == OK:
        status = run_slices(request) if request.planar else run_line(request)
    return OK if status == OK else refuse(request, status)


cdef int refuse(const Request* request, int status) except -1 with gil:
    """Raise what a status means."""
    cdef Array expected
    cdef int which = 0, other = -1, i
    if status == OUT_OF_MEMORY:
        raise MemoryError("a column has no room")
    if status == BAD_SHAPE:
        which = find_wrong_shape(request)
    elif status == BAD_ARRAY and not find_clash(request, &which, &other):
        which, other = find_misaligned(request), -1
    expected = expected_shape(request, which)

    from cylosses._views.refusals import explain
    arrays = []
    for i in range(ARRAYS):
        arrays.append((<size_t> request.arrays[i].data, request.arrays[i].rows, request.arrays[i].columns))
    raise explain(
        status, <bytes> status_message(status), request.loss, request.parameter, request.reduction, request.curvature, request.axis,
        request.n_threads, request.itemsize, request.planar, arrays, (expected.rows, expected.columns), which, other,
    )


# ---- for Python ------------------------------------------------------------------------------------------------------------------

cdef bint take_array(Request* request, int which, cnumpy.ndarray source):
    """take() for NumPy's own arrays, which take 100 ns or more to describe themselves as a buffer."""
    cdef Array* array = &request.arrays[which]
    cdef int itemsize = <int> cnumpy.PyArray_ITEMSIZE(source), dimensions = 2 if request.planar and which != VALUE_OUT else 1
    cdef int kind = cnumpy.PyArray_TYPE(source)
    if not (kind == cnumpy.NPY_FLOAT or kind == cnumpy.NPY_DOUBLE) or (request.itemsize and request.itemsize != itemsize):
        return False
    if cnumpy.PyArray_NDIM(source) != dimensions or not cnumpy.PyArray_ISCARRAY_RO(source):
        return False
    if which >= VALUE_OUT and not cnumpy.PyArray_ISWRITEABLE(source):
        return False
    request.itemsize = itemsize
    array.data, array.rows = cnumpy.PyArray_DATA(source), cnumpy.PyArray_DIM(source, 0)
    array.columns = cnumpy.PyArray_DIM(source, 1) if dimensions == 2 else 1
    return True


cdef bint take(Request* request, Py_buffer* buffer, int which, source):
    """Enter an argument that is an array; whether it is as it must be."""
    cdef Array* array = &request.arrays[which]
    cdef bint planar = request.planar and which != VALUE_OUT
    cdef const char* kind
    if cnumpy.PyArray_CheckExact(source):
        return take_array(request, which, source)
    if get_buffer(source, buffer, PyBUF_STRIDES | PyBUF_FORMAT | (PyBUF_WRITABLE if which >= VALUE_OUT else 0)) < 0:
        PyErr_Clear()
        return False
    kind = buffer.format
    if kind is NULL:        # bytes
        return False
    if kind[0] == c"@" or kind[0] == c"=" or kind[0] == (c"<" if little_endian() else c">"):
        kind += 1
    if not (kind[0] == c"f" or kind[0] == c"d") or kind[1] != 0 or (request.itemsize and request.itemsize != buffer.itemsize):
        return False
    if buffer.ndim != 1 + planar or not PyBuffer_IsContiguous(buffer, c"C"):
        return False
    request.itemsize = <int> buffer.itemsize
    array.data, array.rows, array.columns = buffer.buf, buffer.shape[0], buffer.shape[1] if planar else 1
    return True


quantities = VALUE, ELEMENTWISE_VALUE, GRADIENT, VALUE_AND_GRADIENT, GRADIENT_AND_HESSIAN


def run(
    int quantity, loss, parameter, reduction, curvature, axis, n_threads, input, target, weight=None, value=None, gradient=None,
    hessian=None,
):
    """Do what a Python function is asked for; return the value, if it is a single number."""
    return run_or_add(
        quantity, loss, parameter, reduction, curvature, axis, n_threads, input, target, weight, value, gradient, hessian, None
    )


cdef double run_or_add(
    int quantity, loss, parameter, reduction, curvature, axis, n_threads, input, target, weight, value, gradient, hessian,
    LossAccumulator total,
) except? -1:
    """Run a request on Python objects, or add a piece to an accumulator."""
    cdef Request request
    cdef Py_buffer buffers[6]
    cdef int which = 0
    try:
        request = new_request(
            quantity, PyNumber_Index(loss), parameter, PyNumber_Index(reduction), PyNumber_Index(curvature),
            PyNumber_Index(n_threads), 0,
        )
        if axis is not None:
            request.planar, request.axis = True, PyNumber_Index(axis)
    except (TypeError, OverflowError):
        from cylosses._views.refusals import bad_number
        raise bad_number(
            loss=loss, parameter=parameter, reduction=reduction, curvature=curvature, axis=axis, n_threads=n_threads
        ) from None
    memset(buffers, 0, sizeof(buffers))     # a buffer without an object need not be released
    try:
        for source in (input, target, weight, value, gradient, hessian):
            if source is not None and not take(&request, &buffers[which], which, source):
                from cylosses._views.refusals import bad_buffer
                raise bad_buffer(which, source, request.itemsize, 2 if request.planar and which != VALUE_OUT else 1)
            which += 1
        with nogil:
            if total is None:
                run_request(&request)
            else:
                total.add(&request)
    finally:
        for which in range(ARRAYS):
            PyBuffer_Release(&buffers[which])
    return request.result


# ---- sums that grow --------------------------------------------------------------------------------------------------------------

@cython.final
@cython.auto_pickle(False)     # so that pickling is an error
cdef class LossAccumulator:
    """An exact sum or mean that is built up from pieces of any loss, with the bits of a single call over all of them.

    `cylosses.StreamingLoss` is the same for arrays of any kind, and can be stored; this one is for compiled code. Threads may share
    one; faster is one for each thread, merged at the end.

    Examples
    --------
    >>> import numpy as np
    >>> from cylosses.capi import LossCode, Reduction
    >>> from cylosses.views import LossAccumulator
    >>> total = LossAccumulator()
    >>> total.update(LossCode.SMOOTH_L1, 1.0, np.array([1.5, 2.0]), np.array([1.0, 10.0]))
    >>> total.update(LossCode.SMOOTH_L1, 1.0, np.array([0.5]), np.array([0.5]))
    >>> total.compute(), total.compute(Reduction.SUM), total.count
    (2.5416666666666665, 7.625, 3)
    >>> both = LossAccumulator()
    >>> _ = both.merge(total)
    >>> _ = both.merge(total)
    >>> both.compute(), both.count
    (2.5416666666666665, 6)
    >>> both.reset()
    >>> both.count
    0
    """

    def __cinit__(self):
        self.state, self.lock = accumulator_new(), PyThread_allocate_lock()
        if self.state is NULL or self.lock is NULL:
            raise MemoryError

    def __dealloc__(self):
        accumulator_free(self.state)
        if self.lock is not NULL:
            PyThread_free_lock(self.lock)

    @property
    def count(self):
        """Number of elements so far that count: those of weight 0 do not."""
        cdef uint64_t found
        with nogil:
            found = self.elements()
        return found

    def update(self, loss, parameter, input, target, weight=None, n_threads=1):
        """Add the losses of one piece. If it raises, nothing was added.

        Parameters
        ----------
        loss, parameter, input, target, weight, n_threads
            As of `value`. Pieces may be of several losses and of both dtypes.

        Raises
        ------
        TypeError, ValueError
            As `value`; also a ValueError if more than 2**63 - 1 elements came together.
        """
        run_or_add(UPDATE, loss, parameter, <int> MEAN, 0, None, n_threads, input, target, weight, None, None, None, self)

    cdef int add(self, Request* request) except -1 nogil:
        cdef int status = check_shapes(request)
        if status == OK:
            PyThread_acquire_lock(self.lock, WAIT_LOCK)
            status = add_line(request, self.state)
            if status == OK:
                self.narrow |= request.itemsize == 4
                self.wide |= request.itemsize == 8
            PyThread_release_lock(self.lock)
        return OK if status == OK else refuse(request, status)

    cdef uint64_t elements(self) noexcept nogil:
        """Number of elements so far that count."""
        PyThread_acquire_lock(self.lock, WAIT_LOCK)
        cdef uint64_t found = accumulator_count(self.state)
        PyThread_release_lock(self.lock)
        return found

    cpdef int merge(self, LossAccumulator other) except -1 nogil:
        """Add what another accumulator holds; it stays as it is.

        Parameters
        ----------
        other : LossAccumulator
            May be this one itself, which counts everything twice.

        Raises
        ------
        ValueError
            If more than 2**63 - 1 elements came together.
        """
        # Through a copy, so that no thread ever holds two locks.
        cdef Accumulator* copy = NULL if other is None else accumulator_new()
        cdef Request nothing = new_request(UPDATE, 0, 0, MEAN, 0, 1, 8)
        cdef int status
        cdef bint narrow, wide
        if copy is NULL:
            return refuse_other(other is None)
        PyThread_acquire_lock(other.lock, WAIT_LOCK)
        status = accumulator_merge(copy, other.state)
        narrow, wide = other.narrow, other.wide
        PyThread_release_lock(other.lock)
        PyThread_acquire_lock(self.lock, WAIT_LOCK)
        status = accumulator_merge(self.state, copy)
        if status == OK:
            self.narrow |= narrow
            self.wide |= wide
        PyThread_release_lock(self.lock)
        accumulator_free(copy)
        return OK if status == OK else refuse(&nothing, status)

    cpdef double compute(self, int reduction=<int> MEAN) except? -1 nogil:
        """Return the sum or mean so far, rounded once; more may follow.

        Parameters
        ----------
        reduction : Reduction, optional
            `cylosses.capi.Reduction.MEAN` or ``SUM``.

        Returns
        -------
        float
            Rounded to float32 if all pieces were of float32. The sum of nothing is 0, its mean NaN.

        Raises
        ------
        ValueError
            If `reduction` is neither.
        """
        cdef Request request = new_request(UPDATE, 0, 0, reduction, 0, 1, 8)
        cdef float narrow = 0
        cdef int status
        cdef bint single
        PyThread_acquire_lock(self.lock, WAIT_LOCK)
        single = self.narrow and not self.wide
        if single:
            status = accumulator_finish_float32(self.state, reduction, &narrow)
        else:
            status = accumulator_finish_float64(self.state, reduction, &request.result)
        PyThread_release_lock(self.lock)
        if status != OK:
            refuse(&request, status)
        return widened(narrow) if single else request.result

    cpdef void reset(self) noexcept nogil:
        """Forget all pieces."""
        PyThread_acquire_lock(self.lock, WAIT_LOCK)
        accumulator_clear(self.state)
        self.narrow = self.wide = False
        PyThread_release_lock(self.lock)


cdef int refuse_other(bint is_none) except -1 with gil:
    if is_none:
        raise TypeError("other must be a LossAccumulator, got None")
    raise MemoryError
