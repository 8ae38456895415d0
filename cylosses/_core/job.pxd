# What a pass over the data is told (a Job), and the types of the functions that carry it out.

from libc.stdint cimport uint64_t

from cylosses._core.bits cimport Bits64
from cylosses._core.mode cimport cylosses_mode, held, restore_mode, set_default_mode
from cylosses._core.summation.superaccumulator cimport Superaccumulator

cdef enum:
    MAX_DIMS = 65           # NumPy's limit, and one: there is always an inner dimension
    WORTH_PREFETCH = 524288     # bytes of one array of the working type; smaller ones are in a cache or soon done
    BEYOND_CACHE = 16777216     # bytes, too; larger arrays are not read back from a cache anyway

cdef enum Storage:
    # How elements lie in memory; _call.py maps dtypes to these.
    FLOAT32
    FLOAT64
    FLOAT16
    BFLOAT16
    INT8
    INT16
    INT32
    INT64
    UINT8
    UINT16
    UINT32
    UINT64

cdef enum Curvature:
    EXACT_CURVATURE
    MM_CURVATURE
    UNIT_CURVATURE

cdef enum Quantity:
    # What the loops over a loss compute.
    VALUE
    DERIVATIVE
    SCALED_DERIVATIVE       # rounded once more, from float64
    SECOND_DERIVATIVE
    IRLS_WEIGHT
    SUM_OF_VALUES

cdef enum Term:
    # What is summed.
    NOTHING
    VALUES
    GRADIENTS
    HESSIANS
    WEIGHTS             # 1 for each element without weights

cdef struct Operand:
    # One array of a job, seen at the job's shape.
    char* data              # NULL: not there
    Py_ssize_t* strides     # bytes per step of each dimension of the job; 0 where it is broadcast
    int storage
    bint swapped            # not in the machine's byte order
    bint readable           # aligned, native, of the working type: blocks that lie in one piece need no staging
    bint direct             # readable, and contiguous over the inner dimensions
    Py_ssize_t period       # after so many elements, a broadcast operand repeats; 0 if it does not

cdef struct Job:
    int loss                # LossCode
    double parameter        # of the loss, rounded to the working type
    bint single             # the working type is float32, else float64
    int narrow              # FLOAT16 or BFLOAT16: terms are rounded to it before they are summed; else -1
    int curvature

    # The shape. The first `outer` dimensions enumerate slices, each with a sum of its own; the rest are summed over.
    int ndim
    int outer
    Py_ssize_t* shape
    Py_ssize_t slices       # product of the outer dimensions
    Py_ssize_t size         # of one slice

    Operand input
    Operand target
    Operand weight
    Operand where           # UINT8; nonzero: selected

    # What derivatives are multiplied with, beside the weights: scale_low and grad_low are what rounding took from a quotient, and
    # count for weighted float64 only. Exponents other than 0 are for factors that float64 does not hold, or not safely.
    #     (scale + scale_low) * 2**scale_exponent, or where there is grad_output, which may be of any dtype,
    #     scale * (grad_output + grad_low) * 2**grad_exponent; then scale is 1 or -1.
    double scale
    double scale_low
    int scale_exponent
    Operand grad_output
    Operand grad_low        # FLOAT64, as is the next; or no data: 0
    Operand grad_exponent

    # Elementwise results; those with no data are not computed.
    Operand value
    Operand gradient
    Operand hessian

    # Sums.
    int term
    bint divide             # by the number of elements, or by the sum of the weights
    char* result            # one element a slice, C-contiguous; or NULL
    int result_storage
    double* factors         # if not NULL: `dividend` over the sum of each slice, as grad_output above: all highs, lows, exponents
    Operand dividend        # one element a slice, seen at the job's shape; or no data: 1
    Superaccumulator* total            # used if not NULL: accumulators of the caller that the sums are added to (of one slice only)
    Superaccumulator* weights
    uint64_t count          # out: elements selected

    int threads
    bint prefetch           # the inputs come from memory, not from a cache
    bint bypass_cache       # arrays are larger than the caches: store past them, and read sums ahead
    bint bad_weight         # out: a selected weight was negative, NaN or infinite

    Job* rest               # more elements of the same slices, in another shape; or NULL

cdef inline void settle_memory(Job* job) noexcept nogil:
    """Set what depends on whether the arrays fit the caches, once shape and type are there."""
    cdef Py_ssize_t size = job.slices * job.size * (4 if job.single else 8)
    job.prefetch = size >= WORTH_PREFETCH
    job.bypass_cache = size >= BEYOND_CACHE
    if job.rest is not NULL:
        job.rest.prefetch = job.prefetch


cdef inline double rounded_parameter(double parameter, bint single) noexcept nogil:
    """The parameter rounded to the working type, whatever the floating-point mode: with integers where the result is an ordinary
    float32 number, which takes less time than setting the mode and putting it back.
    """
    cdef Bits64 bits
    cdef cylosses_mode mode
    bits.f = parameter
    if not single or bits.u == 0:
        return parameter
    if -126 <= <int> ((bits.i >> 52) & 2047) - 1023 <= 126:
        bits.u = (bits.u + 0x0fffffff + ((bits.u >> 29) & 1)) & ~<uint64_t> 0x1fffffff      # to nearest, ties to even
        return bits.f
    mode = set_default_mode()
    parameter = held(<float> held(parameter))
    restore_mode(mode)
    return parameter


cdef inline void start_job(Job* job, int loss, double parameter, bint single) noexcept nogil:
    """Make a job without shape, operands and results. Its parameter is rounded here, before anything can be copied from it."""
    cdef char* bytes = <char*> job
    cdef size_t k
    for k in range(sizeof(Job)):        # as memset(), of which gcc makes `rep stos`, which takes longer to start
        bytes[k] = 0
    job.loss = loss
    job.parameter = rounded_parameter(parameter, single)
    job.single = single
    job.narrow = -1
    job.scale = 1

cdef inline void want_sum(Job* job, bint divide, void* result) noexcept nogil:
    """Have the sum or mean of the values written to `result`, in the working type."""
    job.term = VALUES
    job.divide = divide
    job.result_storage = FLOAT32 if job.single else FLOAT64
    job.result = <char*> result


cdef struct PlainJob:
    # A job on contiguous arrays of the working type, with room for its shape and strides.
    Job job
    Py_ssize_t size
    Py_ssize_t stride
    Py_ssize_t mask_stride

cdef inline void start_plain_job(PlainJob* plain, int loss, double parameter, bint single, Py_ssize_t size) noexcept nogil:
    """Make a job on so many elements, still without operands and results."""
    cdef Job* job = &plain.job
    start_job(job, loss, parameter, single)
    plain.size = size
    plain.stride = 4 if single else 8
    plain.mask_stride = 1
    job.ndim = 1
    job.shape = &plain.size
    job.slices = 1
    job.size = size

cdef inline void enter(PlainJob* plain, Operand* operand, const void* data) noexcept nogil:
    """Make an array an operand of the job."""
    operand.data = <char*> data
    operand.strides = &plain.stride
    operand.storage = FLOAT32 if plain.job.single else FLOAT64
    operand.readable = True
    operand.direct = True

cdef inline void enter_mask(PlainJob* plain, const void* data) noexcept nogil:
    """Make an array of bool the mask of the job."""
    plain.job.where.data = <char*> data
    plain.job.where.strides = &plain.mask_stride
    plain.job.where.storage = UINT8


ctypedef void (*Run)(Job* job) noexcept nogil
ctypedef double (*Evaluate)(const Job* job, int quantity, double residual) noexcept nogil
