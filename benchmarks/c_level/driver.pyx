# Calls the loops of a build through their function pointer, many times, without Python in between.
#
# Only job.pxd is relied on: a Job is filled in as dispatch.pyx does for plain contiguous arrays.

from cpython.pycapsule cimport PyCapsule_GetName, PyCapsule_GetPointer
from libc.stdint cimport uint64_t
from libc.string cimport memset

from cylosses._kernels.job cimport FLOAT32, FLOAT64, VALUES, Job, Operand, Run, settle_memory

cdef extern from "native.h" nogil:
    double native_seconds()
    uint64_t native_ticks()
    double native_hertz()
    uint64_t native_read(const uint64_t* x, const uint64_t* y, Py_ssize_t n, int threads)


cdef volatile uint64_t sink         # what is read must go somewhere, or the compiler drops the reading


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
    """One job on plain arrays, and the build that runs it."""
    cdef Job job
    cdef Run run
    cdef Py_ssize_t size, stride
    cdef float narrow
    cdef double wide
    cdef object kept                # arrays and capsule

    def __init__(self, capsule, int loss, double parameter, x, y, *, value=None, gradient=None, hessian=None, bint mean=False):
        cdef bint single = x.dtype.itemsize == 4
        self.kept = (capsule, x, y, value, gradient, hessian)
        self.run = <Run> PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule))
        self.size = x.size
        self.stride = x.dtype.itemsize
        memset(&self.job, 0, sizeof(Job))
        self.job.loss = loss
        self.job.single = single
        self.job.parameter = <double> <float> parameter if single else parameter
        self.job.narrow = -1
        self.job.ndim = 1
        self.job.shape = &self.size
        self.job.slices = 1
        self.job.size = self.size
        self.job.scale = 1
        settle_memory(&self.job)
        self.enter(&self.job.input, x)
        self.enter(&self.job.target, y)
        self.enter(&self.job.value, value)
        self.enter(&self.job.gradient, gradient)
        self.enter(&self.job.hessian, hessian)
        if mean:
            self.job.term = VALUES
            self.job.divide = True
            self.job.scale = 1.0 / self.size
            self.job.result_storage = FLOAT32 if single else FLOAT64
            self.job.result = <char*> &self.narrow if single else <char*> &self.wide

    cdef void enter(self, Operand* operand, array):
        cdef size_t address
        if array is None:
            return
        address = array.ctypes.data
        operand.data = <char*> address
        operand.strides = &self.stride
        operand.storage = FLOAT32 if self.stride == 4 else FLOAT64
        operand.direct = True

    def result(self):
        """The mean of the last run."""
        return self.narrow if self.job.single else self.wide

    def time(self, Py_ssize_t repeat, int threads):
        """Seconds of one run."""
        cdef double start
        cdef Py_ssize_t _
        with nogil:
            start = native_seconds()
            for _ in range(repeat):
                self.job.threads = threads
                self.run(&self.job)
            start = native_seconds() - start
        return start / repeat
