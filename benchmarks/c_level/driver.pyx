# Calls the loops of a build through their function pointer, and the public C level, many times, without Python in between.
#
# Of what is private, only job.pxd is relied on.

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from cython cimport floating
from libc.stdint cimport uint64_t

from cylosses cimport views as typed
from cylosses._core.job cimport (
    FLOAT32, FLOAT64, INPUT, OUT_GRADIENT, OUT_VALUE, TARGET, VALUES, ContiguousJob, Run, enter, settle_memory,
    start_contiguous_job,
)
from cylosses.capi cimport (
    MEAN, MM_CURVATURE, OK, SUM, elementwise_value_float32, elementwise_value_float64, gradient_and_hessian_float64,
    gradient_float32, gradient_float64, import_cylosses, value_and_gradient_float32, value_and_gradient_float64, value_float32,
    value_float64,
)

import_cylosses()

cdef extern from "native.h" nogil:
    double native_seconds()
    uint64_t native_ticks()
    double native_hertz()
    uint64_t native_read(const uint64_t* x, const uint64_t* y, Py_ssize_t n, int threads)


cdef volatile uint64_t sink         # what is read must go somewhere, or the compiler drops the reading


cdef void* address_of(array):
    cdef size_t address = array.ctypes.data
    return <void*> address


def hertz():
    """Cycles per second of this core, now; 0 where it cannot be measured. The best of some, since neighbours take time from it."""
    cdef double best = 0, now
    for _ in range(8):
        now = native_hertz()
        best = now if now > best else best
    return best


def ticks_per_second():
    """Rate of the time stamp counter; 0 where there is none."""
    cdef double start = native_seconds(), stop
    cdef uint64_t first = native_ticks()
    with nogil:
        while native_seconds() < start + 0.02:
            pass
        stop = native_seconds()
    return (native_ticks() - first) / (stop - start)


cdef class Read:
    """The bare read of two arrays: the floor of this driver."""
    cdef const uint64_t[::1] x, y

    def __init__(self, x, y):
        self.x = x.view("u8")
        self.y = y.view("u8")

    def time(self, Py_ssize_t repeat, int threads):
        """Seconds of one read."""
        global sink
        cdef double start
        cdef Py_ssize_t _
        cdef uint64_t total = 0
        with nogil:
            start = native_seconds()
            for _ in range(repeat):
                total += native_read(&self.x[0], &self.y[0], self.x.shape[0], threads)
            start = native_seconds() - start
        sink = total
        return start / repeat


cdef class Pass:
    """One job on contiguous arrays, and the build that runs it."""
    cdef ContiguousJob contiguous
    cdef Run run
    cdef float narrow
    cdef double wide
    cdef object kept                # arrays and capsule

    def __init__(self, capsule, int loss, double parameter, x, y, *, value=None, gradient=None, str reduction=""):
        cdef bint single = x.dtype.itemsize == 4
        self.kept = (capsule, x, y, value, gradient)
        self.run = <Run> PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))
        start_contiguous_job(&self.contiguous, loss, parameter, single, x.size)
        settle_memory(&self.contiguous.job)
        self.take(INPUT, x)
        self.take(TARGET, y)
        self.take(OUT_VALUE, value)
        self.take(OUT_GRADIENT, gradient)
        if reduction:
            self.contiguous.job.term = VALUES
            self.contiguous.job.divide = reduction == "mean"
            self.contiguous.job.result_storage = FLOAT32 if single else FLOAT64
            self.contiguous.job.result = <char*> &self.narrow if single else <char*> &self.wide
        if reduction == "mean":
            self.contiguous.job.scale = 1.0 / x.size

    cdef void take(self, int slot, array):
        if array is not None:
            enter(&self.contiguous, slot, address_of(array))

    def result(self):
        """The sum or mean of the last run."""
        return self.narrow if self.contiguous.job.single else self.wide

    def time(self, Py_ssize_t repeat, int threads):
        """Seconds of one run."""
        cdef double start
        cdef Py_ssize_t _
        with nogil:
            start = native_seconds()
            for _ in range(repeat):
                self.contiguous.job.threads = threads
                self.run(&self.contiguous.job)
            start = native_seconds() - start
        return start / repeat


cdef class Call:
    """One call of the public C level, as a user's code makes it."""
    cdef int loss, reduction
    cdef double parameter
    cdef bint single
    cdef Py_ssize_t size
    cdef const void* x
    cdef const void* y
    cdef void* value
    cdef void* gradient
    cdef float narrow
    cdef double wide
    cdef object kept

    def __init__(self, int loss, double parameter, x, y, *, value=None, gradient=None, str reduction=""):
        self.kept = (x, y, value, gradient)
        self.loss, self.parameter, self.size = loss, parameter, x.size
        self.single = x.dtype.itemsize == 4
        self.reduction = -1 if not reduction else (MEAN if reduction == "mean" else SUM)
        self.x, self.y = address_of(x), address_of(y)
        self.value = NULL if value is None else address_of(value)
        self.gradient = NULL if gradient is None else address_of(gradient)
        if self.call(1) != OK:
            raise ValueError("the C level refuses the call")

    cdef int call(self, int threads) noexcept nogil:
        if self.single:
            return call_typed(self, <const float*> self.x, &self.narrow, threads)
        return call_typed(self, <const double*> self.x, &self.wide, threads)

    def result(self):
        """The sum or mean of the last call."""
        return self.narrow if self.single else self.wide

    def time(self, Py_ssize_t repeat, int threads):
        """Seconds of one call."""
        cdef double start
        cdef Py_ssize_t _
        with nogil:
            start = native_seconds()
            for _ in range(repeat):
                self.call(threads)
            start = native_seconds() - start
        return start / repeat


cdef inline int call_typed(Call self, const floating* x, floating* result, int threads) noexcept nogil:
    cdef const floating* y = <const floating*> self.y
    cdef floating* gradient = <floating*> self.gradient
    cdef floating* value = <floating*> self.value
    cdef int loss = self.loss
    cdef double parameter = self.parameter
    cdef Py_ssize_t n = self.size
    if floating is float:
        if value is not NULL:
            return elementwise_value_float32(loss, parameter, x, y, NULL, n, threads, value)
        if self.reduction < 0:
            return gradient_float32(loss, parameter, SUM, x, y, NULL, n, threads, gradient)
        if gradient is NULL:
            return value_float32(loss, parameter, self.reduction, x, y, NULL, n, threads, result)
        return value_and_gradient_float32(loss, parameter, self.reduction, x, y, NULL, n, threads, result, gradient)
    else:
        if value is not NULL:
            return elementwise_value_float64(loss, parameter, x, y, NULL, n, threads, value)
        if self.reduction < 0:
            return gradient_float64(loss, parameter, SUM, x, y, NULL, n, threads, gradient)
        if gradient is NULL:
            return value_float64(loss, parameter, self.reduction, x, y, NULL, n, threads, result)
        return value_and_gradient_float64(loss, parameter, self.reduction, x, y, NULL, n, threads, result, gradient)


cdef class Views:
    """Functions of cylosses.views beside those on pointers, on the same float64 arrays: seconds of one call of each."""
    cdef const double[::1] x, y, weight
    cdef double[::1] gradient, hessian

    def __init__(self, x, y, weight, gradient, hessian):
        self.x, self.y, self.weight, self.gradient, self.hessian = x, y, weight, gradient, hessian

    def time(self, str function, bint views, int loss, double parameter, Py_ssize_t repeat):
        """Seconds of one call."""
        cdef const double[::1] x = self.x, y = self.y, weight = self.weight
        cdef double[::1] gradient = self.gradient, hessian = self.hessian
        cdef const double* w = NULL if weight is None else <const double*> &weight[0]
        cdef double* g = &gradient[0]
        cdef double* h = &hessian[0]
        cdef int which = ("value", "value_and_gradient", "gradient_and_hessian").index(function)
        cdef Py_ssize_t _, n = x.shape[0]
        cdef int wrong = 0
        cdef double start, result
        with nogil:
            start = native_seconds()
            for _ in range(repeat):
                if which == 0 and views:
                    result = typed.value(loss, parameter, MEAN, x, y, weight)
                elif which == 0:
                    wrong |= value_float64(loss, parameter, MEAN, &x[0], &y[0], w, n, 1, &result)
                elif which == 1 and views:
                    result = typed.value_and_gradient(loss, parameter, MEAN, x, y, gradient, weight)
                elif which == 1:
                    wrong |= value_and_gradient_float64(loss, parameter, MEAN, &x[0], &y[0], w, n, 1, &result, g)
                elif views:
                    typed.gradient_and_hessian(loss, parameter, MEAN, MM_CURVATURE, x, y, gradient, hessian, weight)
                else:
                    wrong |= gradient_and_hessian_float64(loss, parameter, MEAN, MM_CURVATURE, &x[0], &y[0], w, n, 1, g, h)
            start = native_seconds() - start
        if wrong:
            raise ValueError("the C level refuses the call")
        return start / repeat


def time_taking(array, Py_ssize_t repeat):
    """Seconds that it takes to make a memoryview of an array, and to give it back."""
    cdef const double[::1] view
    cdef Py_ssize_t _
    cdef double start = native_seconds()
    cdef Py_ssize_t size = 0
    for _ in range(repeat):
        view = array
        size += view.shape[0]
    start = native_seconds() - start
    return start / repeat if size else 0
