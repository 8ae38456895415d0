# What a pass over the data is told (a Job), and the types of the functions that carry it out.

from libc.stdint cimport uint64_t

from cylosses._core.bits cimport Bits64
from cylosses._core.summation.exact_sums cimport ExactSums
from cylosses._core.mode cimport cylosses_mode, held, restore_mode, set_default_mode

cdef enum:
    MAX_DIMS = 65           # NumPy's limit, and one: there is always an inner dimension
    WORTH_PREFETCH = 524288     # bytes of one array of the working type; smaller ones are in a cache or soon done
    BEYOND_CACHE = 16777216     # bytes, too; larger arrays are not read back from a cache anyway

cdef enum Storage:
    # How elements lie in memory; dtypes.pxd maps dtypes to these.
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

cdef enum Slot:
    # The operands of a Job, in their order there.
    INPUT
    TARGET
    OUT_VALUE
    OUT_GRADIENT
    OUT_HESSIAN
    WEIGHT
    WHERE
    GRAD_OUTPUT
    GRAD_LOW
    GRAD_EXPONENT
    DIVIDEND
    SLOTS

cdef struct Operand:
    # One array of a job, seen at the job's shape.
    char* data              # NULL: not there
    Py_ssize_t* strides     # bytes per step of each dimension of the job; 0 where it is broadcast
    int storage
    bint swapped            # not in the machine's byte order
    bint readable           # aligned, native, of the working type: blocks that lie in one piece need no staging
    bint contiguous         # over the inner dimensions, whatever the type
    bint direct             # readable, too
    Py_ssize_t period       # after so many elements, a broadcast operand repeats; 0 if it does not

cdef struct Job:
    int loss                # LossCode
    double parameter        # of the loss, rounded to the working type
    bint single             # the working type is float32, else float64
    int narrow              # FLOAT16 or BFLOAT16: terms are rounded to it before they are summed; else -1
    int curvature

    # The shape. The first `outer` dimensions enumerate slices, each with a sum of its own; the others are summed over.
    int ndim
    int outer
    Py_ssize_t* shape
    Py_ssize_t slices       # product of the outer dimensions
    Py_ssize_t size         # of one slice

    # The operands, in the order of Slot: there are those that have data. `input` and `target` always do.
    Operand input
    Operand target
    Operand value           # elementwise results
    Operand gradient
    Operand hessian
    Operand weight
    Operand where           # UINT8; nonzero: selected
    Operand grad_output
    Operand grad_low        # FLOAT64, as is the next; without data: 0
    Operand grad_exponent
    Operand dividend        # of `factors`: one element a slice; without data: 1

    # What derivatives are multiplied with, beside the weights:
    #     (scale + scale_low) * 2**scale_exponent, or where there is grad_output, which may be of any dtype,
    #     scale * (grad_output + grad_low) * 2**grad_exponent; then scale is 1 or -1.
    # scale_low and grad_low are the low words of quotients (factor.pxd); they change results only for float64 with weights. An
    # exponent is 0 but for factors that float64 does not hold, or whose products it may not hold.
    double scale
    double scale_low
    int scale_exponent

    # Sums.
    int term
    bint divide             # by the number of elements, or by the sum of the weights
    char* result            # one element a slice, C-contiguous; or NULL
    int result_storage
    double* factors         # if not NULL: `dividend` over the sum of each slice, as grad_output above: all highs, lows, exponents
    ExactSums* totals       # if not NULL: of each slice what the caller has of it, to which its sums are added, unrounded

    int threads
    bint prefetch           # the inputs come from memory, not from a cache
    bint bypass_cache       # arrays are larger than the caches: store past them, and read sums ahead
    bint bad_weight         # out: a selected weight was negative, NaN or infinite

    Job* leftover           # more elements of the same slices, in another shape; or NULL

    # Slices that are short are summed side by side (slices/), by a job of the same work in the order of memory, without outer
    # dimensions: there, `columns` neighbours belong to different slices of so many terms each.
    Job* side_by_side       # or NULL
    Py_ssize_t terms
    Py_ssize_t columns      # 0: another job
    bint finds_factors      # of slices that lie in one block each: as `factors`, but used at once as grad_output

cdef inline Operand* operand_in(Job* job, int slot) noexcept nogil:
    return &job.input + slot


cdef inline void settle_memory(Job* job) noexcept nogil:
    """Set what depends on whether the arrays fit the caches, once shape and type are there."""
    cdef Py_ssize_t size = job.slices * job.size * (4 if job.single else 8)
    job.prefetch = size >= WORTH_PREFETCH
    job.bypass_cache = size >= BEYOND_CACHE
    if job.leftover is not NULL:
        job.leftover.prefetch = job.prefetch
    if job.side_by_side is not NULL:
        job.side_by_side.prefetch, job.side_by_side.bypass_cache = job.prefetch, job.bypass_cache


cdef inline double rounded_parameter(double parameter, bint single) noexcept nogil:
    """The parameter rounded to the working type, whatever the floating-point mode: with integers where the result is an ordinary
    float32 number, which takes less time than setting the mode and putting it back.
    """
    cdef Bits64 bits
    cdef cylosses_mode mode
    bits.f = parameter
    if not single or bits.u << 1 == 0:
        return parameter if bits.u << 1 else 0          # -0.0 is 0
    if -126 <= <int> ((bits.i >> 52) & 2047) - 1023 <= 126:
        bits.u = (bits.u + 0x0fffffff + ((bits.u >> 29) & 1)) & ~<uint64_t> 0x1fffffff      # to nearest, ties to even
        return bits.f
    mode = set_default_mode()
    parameter = held(<float> held(parameter))
    restore_mode(mode)
    return parameter


cdef inline void start_job(Job* job, int loss, double parameter, bint single) noexcept nogil:
    """Make a job without shape, operands and results. Its parameter is rounded here, before anything can be copied from it."""
    job.loss, job.parameter, job.single = loss, rounded_parameter(parameter, single), single
    job.narrow, job.curvature = -1, EXACT_CURVATURE
    job.input.data = job.target.data = job.value.data = job.gradient.data = job.hessian.data = NULL
    job.weight.data = job.where.data = job.grad_output.data = job.grad_low.data = job.grad_exponent.data = job.dividend.data = NULL
    job.scale, job.scale_low, job.scale_exponent = 1, 0, 0
    job.term, job.divide, job.result, job.result_storage = NOTHING, False, NULL, FLOAT32
    job.factors, job.totals, job.leftover, job.side_by_side, job.columns, job.finds_factors = NULL, NULL, NULL, NULL, 0, False
    job.threads, job.bad_weight, job.prefetch, job.bypass_cache = 0, False, False, False


cdef struct ContiguousJob:
    # A job on contiguous arrays of the working type, with its shape and strides.
    Job job
    Py_ssize_t size
    Py_ssize_t stride
    Py_ssize_t mask_stride

cdef inline void start_contiguous_job(
    ContiguousJob* contiguous, int loss, double parameter, bint single, Py_ssize_t size
) noexcept nogil:
    """Make a job on so many elements, still without operands and results."""
    cdef Job* job = &contiguous.job
    start_job(job, loss, parameter, single)
    contiguous.size = size
    contiguous.stride = 4 if single else 8
    contiguous.mask_stride = 1
    job.ndim, job.outer = 1, 0
    job.shape = &contiguous.size
    job.slices = 1
    job.size = size

cdef inline void enter(ContiguousJob* contiguous, int slot, const void* data) noexcept nogil:
    """Make a contiguous array an operand of the job: of bool for the mask, of the working type for the others."""
    cdef Operand* operand = operand_in(&contiguous.job, slot)
    cdef bint is_mask = slot == WHERE
    operand.data = <char*> data
    operand.strides = &contiguous.mask_stride if is_mask else &contiguous.stride
    operand.storage = UINT8 if is_mask else (FLOAT32 if contiguous.job.single else FLOAT64)
    operand.swapped = False
    operand.readable = operand.direct = not is_mask
    operand.contiguous = True
    operand.period = 0


ctypedef void (*Run)(Job* job) noexcept nogil
ctypedef double (*Evaluate)(const Job* job, int quantity, double residual) noexcept nogil
