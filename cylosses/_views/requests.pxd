# What cylosses.views asks of cylosses.capi: a call with its arrays, how their shapes and overlaps are checked, and how it is run.
#
# The functions of views.pxd and views.py fill in a Request; functions.pyx checks and runs it. Losses, parameters, weights, threads,
# and the alignment and overlap of arrays of one dimension are checked by capi. Here is checked what pointers do not tell, the
# shapes, and the overlap of arrays of two dimensions. Results along an axis are those of capi's functions on one row or column
# after the other; columns are copied to contiguous memory for it, one at a time.

from cython cimport floating
from libc.stdint cimport uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy

from cylosses._core.overlap cimport extent_of_bytes, overlap
from cylosses.capi cimport (
    BAD_ARRAY, OK, SUM, Accumulator, accumulator_update_float32, accumulator_update_float64, elementwise_value_float32,
    elementwise_value_float64, gradient_and_hessian_float32, gradient_and_hessian_float64, gradient_float32, gradient_float64,
    value_and_gradient_float32, value_and_gradient_float64, value_float32, value_float64,
)

cdef enum:                  # quantities
    VALUE
    ELEMENTWISE_VALUE
    GRADIENT
    VALUE_AND_GRADIENT
    GRADIENT_AND_HESSIAN
    UPDATE                  # of an accumulator

cdef enum:                  # the arrays of a Request, in order
    INPUT
    TARGET
    WEIGHT
    VALUE_OUT
    GRADIENT_OUT
    HESSIAN_OUT
    ARRAYS

cdef enum:                  # statuses beside those of capi
    BAD_SHAPE = -1
    BAD_AXIS = -2
    OUT_OF_MEMORY = -3

cdef struct Array:
    void* data
    Py_ssize_t rows         # -1: None
    Py_ssize_t columns      # 1 of an array of one dimension

cdef struct Request:
    int quantity
    int loss
    int reduction
    int curvature
    int n_threads
    int itemsize            # 4: float32, 8: float64
    bint planar             # arrays have two dimensions, of which one is summed over:
    int axis
    double parameter
    double result           # where it is a single number
    Array arrays[6]


cdef inline Request new_request(
    int quantity, int loss, double parameter, int reduction, int curvature, int n_threads, int itemsize
) noexcept nogil:
    cdef Request request
    cdef int which
    request.quantity, request.loss, request.parameter, request.reduction = quantity, loss, parameter, reduction
    request.curvature, request.n_threads, request.itemsize = curvature, n_threads, itemsize
    request.planar, request.axis, request.result = False, 0, 0
    for which in range(ARRAYS):
        request.arrays[which].data, request.arrays[which].rows, request.arrays[which].columns = NULL, -1, 1
    return request


# ---- shapes and overlaps ---------------------------------------------------------------------------------------------------------

cdef inline bint is_wanted(const Request* request, int which) noexcept nogil:
    """Whether the array takes part: a weight only if it is given."""
    cdef int quantity = request.quantity
    if which <= TARGET:
        return True
    if which == WEIGHT:
        return request.arrays[WEIGHT].rows >= 0
    if which == VALUE_OUT:
        return quantity == ELEMENTWISE_VALUE or (request.planar and (quantity == VALUE or quantity == VALUE_AND_GRADIENT))
    if which == GRADIENT_OUT:
        return quantity == GRADIENT or quantity == VALUE_AND_GRADIENT or quantity == GRADIENT_AND_HESSIAN
    return quantity == GRADIENT_AND_HESSIAN


cdef inline bint by_row(const Request* request) noexcept nogil:
    return request.axis == 1 or request.axis == -1


cdef inline Array expected_shape(const Request* request, int which) noexcept nogil:
    """The shape that an array must have: that of the input, or one number for each row or column."""
    cdef Array shape = request.arrays[INPUT]
    if request.planar and which == VALUE_OUT:
        shape.rows, shape.columns = shape.rows if by_row(request) else shape.columns, 1
    return shape


cdef inline bint has_wrong_shape(const Request* request, int which) noexcept nogil:
    cdef const Array* array = &request.arrays[which]
    cdef Array shape = expected_shape(request, which)
    return array.rows != shape.rows or array.columns != shape.columns or array.rows < 0


cdef inline int find_wrong_shape(const Request* request) noexcept nogil:
    """The first array that has the wrong shape; ARRAYS if none has."""
    cdef int which
    for which in range(ARRAYS):
        if is_wanted(request, which) and has_wrong_shape(request, which):
            return which
    return ARRAYS


cdef inline int check_shapes(const Request* request) noexcept nogil:
    if request.planar and not by_row(request) and request.axis != 0 and request.axis != -2:
        return BAD_AXIS
    return OK if find_wrong_shape(request) == ARRAYS else BAD_SHAPE


cdef inline bint clash(const Request* request, int output, int other) noexcept nogil:
    """Whether an output overlaps another array, and it is not an input that it may replace element by element."""
    cdef const Array* a = &request.arrays[output]
    cdef const Array* b = &request.arrays[other]
    if not (is_wanted(request, output) and is_wanted(request, other)):
        return False
    if a.data == b.data and other <= WEIGHT and not (request.planar and output == VALUE_OUT):
        return False
    return overlap(
        extent_of_bytes(a.data, a.rows * a.columns * request.itemsize),
        extent_of_bytes(b.data, b.rows * b.columns * request.itemsize),
    )


cdef inline bint find_clash(const Request* request, int* output, int* other) noexcept nogil:
    for output[0] in range(VALUE_OUT, ARRAYS):
        for other[0] in range(output[0]):
            if clash(request, output[0], other[0]):
                return True
    return False


cdef inline int find_misaligned(const Request* request) noexcept nogil:
    cdef int which
    for which in range(ARRAYS):
        if <size_t> request.arrays[which].data % request.itemsize:
            return which
    return INPUT


cdef inline bint is_in_place(const Request* request) noexcept nogil:
    """Whether an output is an input."""
    cdef int output, other
    for output in range(VALUE_OUT, ARRAYS):
        for other in range(VALUE_OUT):
            if is_wanted(request, output) and request.arrays[output].data == request.arrays[other].data:
                return True
    return False


# ---- runs ------------------------------------------------------------------------------------------------------------------------

cdef struct Slice:
    # Contiguous arrays of one dimension.
    void* arrays[6]
    Py_ssize_t n


cdef inline int call_typed(const Request* r, const Slice* s, floating* value) noexcept nogil:
    cdef const floating* x = <const floating*> s.arrays[INPUT]
    cdef const floating* y = <const floating*> s.arrays[TARGET]
    cdef const floating* w = <const floating*> s.arrays[WEIGHT]
    cdef floating* g = <floating*> s.arrays[GRADIENT_OUT]
    cdef floating* h = <floating*> s.arrays[HESSIAN_OUT]
    if floating is float:
        if r.quantity == VALUE:
            return value_float32(r.loss, r.parameter, r.reduction, x, y, w, s.n, r.n_threads, value)
        if r.quantity == ELEMENTWISE_VALUE:
            return elementwise_value_float32(r.loss, r.parameter, x, y, w, s.n, r.n_threads, value)
        if r.quantity == GRADIENT:
            return gradient_float32(r.loss, r.parameter, r.reduction, x, y, w, s.n, r.n_threads, g)
        if r.quantity == VALUE_AND_GRADIENT:
            return value_and_gradient_float32(r.loss, r.parameter, r.reduction, x, y, w, s.n, r.n_threads, value, g)
        return gradient_and_hessian_float32(r.loss, r.parameter, r.reduction, r.curvature, x, y, w, s.n, r.n_threads, g, h)
    else:
        if r.quantity == VALUE:
            return value_float64(r.loss, r.parameter, r.reduction, x, y, w, s.n, r.n_threads, value)
        if r.quantity == ELEMENTWISE_VALUE:
            return elementwise_value_float64(r.loss, r.parameter, x, y, w, s.n, r.n_threads, value)
        if r.quantity == GRADIENT:
            return gradient_float64(r.loss, r.parameter, r.reduction, x, y, w, s.n, r.n_threads, g)
        if r.quantity == VALUE_AND_GRADIENT:
            return value_and_gradient_float64(r.loss, r.parameter, r.reduction, x, y, w, s.n, r.n_threads, value, g)
        return gradient_and_hessian_float64(r.loss, r.parameter, r.reduction, r.curvature, x, y, w, s.n, r.n_threads, g, h)


cdef inline int call(const Request* request, const Slice* line) noexcept nogil:
    if request.itemsize == 4:
        return call_typed(request, line, <float*> line.arrays[VALUE_OUT])
    return call_typed(request, line, <double*> line.arrays[VALUE_OUT])


cdef inline Slice all_of(const Request* request) noexcept nogil:
    """All elements of the arrays."""
    cdef Slice line
    cdef int which
    for which in range(ARRAYS):
        line.arrays[which] = request.arrays[which].data
    line.n = request.arrays[INPUT].rows * request.arrays[INPUT].columns
    return line


cdef inline double widened(float v) noexcept nogil:
    """A float32 as float64, also where the floating-point mode takes subnormal numbers for 0."""
    cdef uint32_t bits
    memcpy(&bits, &v, sizeof(v))
    if bits << 1 >> 24 == 0:
        return (bits << 1 >> 1) * 1.401298464324817e-45      # 2**-149; no value is negative
    return v


cdef inline int run_line(Request* request) noexcept nogil:
    """Run a request on arrays of one dimension."""
    cdef Slice line = all_of(request)
    cdef float narrow = 0
    cdef int status
    if request.quantity == ELEMENTWISE_VALUE:
        return call(request, &line)
    line.arrays[VALUE_OUT] = <void*> &narrow if request.itemsize == 4 else <void*> &request.result
    status = call(request, &line)
    if request.itemsize == 4:
        request.result = widened(narrow)
    return status


cdef inline int add_line(const Request* request, Accumulator* total) noexcept nogil:
    """Add a piece to an accumulator."""
    cdef Slice s = all_of(request)
    cdef const Request* r = request
    if r.itemsize == 4:
        return accumulator_update_float32(
            total, r.loss, r.parameter, <const float*> s.arrays[INPUT], <const float*> s.arrays[TARGET],
            <const float*> s.arrays[WEIGHT], s.n, r.n_threads,
        )
    return accumulator_update_float64(
        total, r.loss, r.parameter, <const double*> s.arrays[INPUT], <const double*> s.arrays[TARGET],
        <const double*> s.arrays[WEIGHT], s.n, r.n_threads,
    )


cdef inline void copy_strided(
    void* to, Py_ssize_t step_to, const void* source, Py_ssize_t step, Py_ssize_t n, int itemsize
) noexcept nogil:
    """Copy n elements; steps are in elements."""
    cdef Py_ssize_t i
    if itemsize == 4:
        for i in range(n):
            (<uint32_t*> to)[i * step_to] = (<const uint32_t*> source)[i * step]
    else:
        for i in range(n):
            (<uint64_t*> to)[i * step_to] = (<const uint64_t*> source)[i * step]


cdef inline int run_rows(const Request* request) noexcept nogil:
    cdef Py_ssize_t _, n = request.arrays[INPUT].columns
    cdef Slice line = all_of(request)
    cdef int which, status = OK
    line.n = n
    for _ in range(request.arrays[INPUT].rows):
        status = call(request, &line)
        if status != OK:
            break
        for which in range(ARRAYS):
            if line.arrays[which] is not NULL:
                line.arrays[which] = <char*> line.arrays[which] + (1 if which == VALUE_OUT else n) * request.itemsize
    return status


cdef inline int run_columns(const Request* request) noexcept nogil:
    cdef Py_ssize_t rows = request.arrays[INPUT].rows, columns = request.arrays[INPUT].columns, column
    cdef Slice line, whole = all_of(request)
    cdef int which, status = OK
    cdef char* copies = <char*> malloc(rows * ARRAYS * request.itemsize + 1)
    if copies is NULL:
        return OUT_OF_MEMORY
    line.n = rows
    for which in range(ARRAYS):
        line.arrays[which] = NULL if whole.arrays[which] is NULL else copies + which * rows * request.itemsize
    for column in range(columns):
        for which in range(VALUE_OUT):
            if whole.arrays[which] is not NULL:
                copy_strided(
                    line.arrays[which], 1, <char*> whole.arrays[which] + column * request.itemsize, columns, rows, request.itemsize
                )
        if whole.arrays[VALUE_OUT] is not NULL:
            line.arrays[VALUE_OUT] = <char*> whole.arrays[VALUE_OUT] + column * request.itemsize
        status = call(request, &line)
        if status != OK:
            break
        for which in range(GRADIENT_OUT, ARRAYS):
            if whole.arrays[which] is not NULL:
                copy_strided(
                    <char*> whole.arrays[which] + column * request.itemsize, columns, line.arrays[which], 1, rows, request.itemsize
                )
    free(copies)
    return status


cdef inline int run_slices(const Request* request) noexcept nogil:
    """Run a request on rows or columns, once it is sure that arrays which are changed in place will not be left half changed."""
    cdef Request checked = request[0]
    cdef Slice line = all_of(request)
    cdef double ignored
    cdef int output, other, status
    if find_clash(request, &output, &other):
        return BAD_ARRAY
    line.arrays[VALUE_OUT] = &ignored
    line.n = 0
    status = call(request, &line)       # checks all but the arrays, also if there are no slices
    if status == OK and request.arrays[WEIGHT].rows >= 0 and is_in_place(request):
        checked.quantity, checked.reduction = VALUE, SUM
        line = all_of(request)
        line.arrays[VALUE_OUT] = &ignored
        status = call(&checked, &line)  # finds a bad weight
    if status != OK or (all_of(request).n == 0 and not is_wanted(request, VALUE_OUT)) or request.arrays[VALUE_OUT].rows == 0:
        return status
    return run_rows(request) if by_row(request) else run_columns(request)
