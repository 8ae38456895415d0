# The accumulator of cylosses.views, a part of functions.pyx.

@cython.final
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
        run(UPDATE, loss, parameter, MEAN, 0, None, n_threads, input, target, weight, None, None, None, self)

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

    cpdef double compute(self, int reduction=MEAN) except? -1 nogil:
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
