# Of call.pyx: parameters that are arrays. Shape, weights, divisors, factors, outputs and what they overlap are settled for the whole
# call. Its job alone runs several times: on each part of the shape in which the parameter is one number.
#
# Where a sum takes terms of several parameters, it must not be rounded between. Slices that are long have exact sums, to which each
# part adds; of slices that are short, the terms are written to a buffer, which a job of its own sums.

cdef enum:
    MOST_SUMS = 256             # exact sums at once, of 2 kB each
    BUFFERED = 262144            # terms at once, if there are not more in one slice
    WORTH_EXACT_SUM = 512       # terms of a part of a slice: fewer take less time than an exact sum does

cdef struct Parts:
    # How the shape of a call is cut: first along axes whose elements have sums of their own, into boxes, then along the others.
    bint kept[MAX_DIMS]
    int n_kept
    Py_ssize_t step[MAX_DIMS]
    bint mixed                  # sums take terms of several parameters
    bint buffered

cdef struct Place:
    # Where the slices of a box are among all slices.
    Py_ssize_t first
    Py_ssize_t slices
    bint follow                 # without gaps


# ---- taking such a parameter -----------------------------------------------------------------------------------------------------

cdef double take_parameters(Call* call, int loss, object given, bint* fits_float32) except -1:
    """The parameter of a loss, or the first of an array of them, which the call then has."""
    cdef object parameter = parameter_arrays.parameter_of(loss, given)
    cdef cnp.ndarray values
    if type(parameter) is float:
        return take_parameter(loss, parameter, fits_float32)
    hold(call, parameter)
    call.parameters = <PyObject*> parameter
    fits_float32[0] = parameter.fits_float32
    values = parameter.values
    call.parameter = <const double*> cnp.PyArray_DATA(values)
    return call.parameter[0] if cnp.PyArray_SIZE(values) else 1         # without elements, there are none to compute with it


cdef int broadcast_parameters(Call* call) except -1:
    """Broadcast the shape of the call to that of its parameters, and note along which axes they differ."""
    cdef object parameters = <object> call.parameters
    cdef cnp.ndarray values = parameters.values
    cdef Py_ssize_t shape[MAX_DIMS]
    cdef int k, ndim = cnp.PyArray_NDIM(values)
    for k in range(ndim):
        shape[k] = parameters.shape[k]
    if not (widen(call, ndim, shape) and set_size(call)):
        convert.refuse_parameters(
            builds.parameter_name(call.contiguous.job.loss), parameters.shape, (<object> array_in(call, INPUT)).shape,
            (<object> array_in(call, TARGET)).shape,
        )
    for k in range(call.ndim):
        call.parameter_step[k] = 0
    for k in range(ndim):
        if cnp.PyArray_DIM(values, k) > 1:
            call.parameter_step[k + call.ndim - ndim] = cnp.PyArray_STRIDE(values, k) // <Py_ssize_t> sizeof(double)
            call.in_parts = True
    return 0


# ---- boxes -----------------------------------------------------------------------------------------------------------------------

cdef void start_box(const Call* call, const Parts* parts, const Box* within, Box* box) noexcept:
    """The first box, or the first part of one."""
    cdef int k
    if within is not NULL:
        box[0] = within[0]
    for k in range(call.ndim):
        if parts.kept[k] == (within is NULL):
            box.start[k], box.length[k] = 0, parts.step[k]
        elif within is NULL:
            box.start[k], box.length[k] = 0, call.shape[k]


cdef bint advance(const Call* call, const Parts* parts, bint kept, Box* box) noexcept:
    """Go on to the next along the axes that are kept, or along the others; false after the last."""
    cdef int k
    for k in range(call.ndim - 1, -1, -1):
        if parts.kept[k] == kept:
            box.start[k] += parts.step[k]
            if box.start[k] < call.shape[k]:
                box.length[k] = min(parts.step[k], call.shape[k] - box.start[k])
                return True
            box.start[k], box.length[k] = 0, parts.step[k]
    return False


cdef double parameter_at(const Call* call, const Box* part) noexcept:
    cdef Py_ssize_t place = 0
    cdef int k
    for k in range(call.ndim):
        place += part.start[k] * call.parameter_step[k]
    return call.parameter[place]


cdef Place place_of(const Call* call, const Parts* parts, const Box* box) noexcept:
    cdef Place place
    cdef bint several = False
    cdef int k
    place.first, place.slices, place.follow = 0, 1, True
    for k in range(call.ndim):
        if parts.kept[k]:
            place.first = place.first * call.shape[k] + box.start[k]
            place.slices *= box.length[k]
            place.follow = place.follow and not (several and box.length[k] < call.shape[k])
            several = several or box.length[k] > 1
    return place


cdef void spread_slices(
    const Call* call, const Parts* parts, const Box* box, const Place* place, const char* source, Py_ssize_t size, char* all_slices
) noexcept:
    """Copy what each slice of a box has to its place among all slices."""
    cdef Py_ssize_t index[MAX_DIMS]
    cdef Py_ssize_t step[MAX_DIMS]
    cdef Py_ssize_t number, to = place.first, slices = 1
    cdef int k
    for k in range(call.ndim - 1, -1, -1):
        index[k], step[k] = 0, slices
        slices *= call.shape[k] if parts.kept[k] else 1
    for number in range(place.slices):
        memcpy(all_slices + to * size, source + number * size, size)
        for k in range(call.ndim - 1, -1, -1):
            if parts.kept[k]:
                index[k] += 1
                to += step[k]
                if index[k] < box.length[k]:
                    break
                to -= step[k] * box.length[k]
                index[k] = 0


# ---- running ---------------------------------------------------------------------------------------------------------------------

cdef void cut(const Call* call, int n_kept, const bint* kept, Parts* parts) noexcept:
    """Find how to cut the shape: into single elements along axes where the parameter differs, and into boxes small enough for exact
    sums or a buffer.
    """
    cdef const Job* job = &call.contiguous.job
    cdef Py_ssize_t slices = 1, terms = 1, terms_of_part = 1, room
    cdef int k
    parts.n_kept, parts.mixed = n_kept, False
    for k in range(call.ndim):
        parts.kept[k] = n_kept and kept[k]
        parts.step[k] = 1 if call.parameter_step[k] else call.shape[k]
        if parts.kept[k]:
            slices *= parts.step[k]
        else:
            terms *= call.shape[k]
            terms_of_part *= parts.step[k]
            parts.mixed = parts.mixed or (job.term != NOTHING and call.parameter_step[k] != 0)
    parts.buffered = parts.mixed and job.totals is NULL and slices > 1 and terms_of_part < WORTH_EXACT_SUM
    if parts.mixed and job.totals is NULL:
        room = max(BUFFERED // terms, 1) if parts.buffered else MOST_SUMS
        for k in range(call.ndim - 1, -1, -1):
            if parts.kept[k] and not call.parameter_step[k]:
                parts.step[k] = min(parts.step[k], room)
                room //= parts.step[k]
                room = max(room, 1)


cdef int run_in_parts(Call* call, int n_kept, const bint* kept) except -1:
    """Run the job with each of its parameters."""
    cdef Job* job = &call.contiguous.job
    cdef Parts parts
    cdef Box box
    cdef unsigned int present
    cdef cnp.ndarray terms = None
    if call.finds_factors:
        find_factors_of_slices(call)
    present = call.present              # without the incoming gradient that the factors have been made of
    if job.size == 0:
        return run_box(call, NULL, n_kept, kept)
    cut(call, n_kept, kept, &parts)
    start_box(call, &parts, NULL, &box)
    if parts.buffered:
        terms = buffer_for(call, &parts, &box)
        call.present &= ~OUTPUTS        # these come afterwards: they may overlap operands
    while True:
        if job.term == NOTHING:
            run_parts(call, &parts, &box)
        else:
            sum_box(call, &parts, &box, terms)
        if not advance(call, &parts, True, &box):
            break
    if present != call.present:
        call.present = present
        run_without_sums(call)
    return 0


cdef int run_without_sums(Call* call) except -1:
    """Run the job for elementwise results only."""
    cdef Job* job = &call.contiguous.job
    cdef int term = job.term
    cdef char* result = job.result
    job.term, job.result = NOTHING, NULL
    run_in_parts(call, 0, NULL)
    job.term, job.result = term, result
    return 0


cdef int run_parts(Call* call, const Parts* parts, const Box* box) except -1:
    """Run the job on each part of a box."""
    cdef Job* job = &call.contiguous.job
    cdef Box part
    start_box(call, parts, box, &part)
    while True:
        job.parameter = rounded_parameter(parameter_at(call, &part), job.single)
        run_box(call, &part, parts.n_kept if job.term != NOTHING else 0, parts.kept)
        if not advance(call, parts, False, &part):
            return 0


cdef int sum_box(Call* call, const Parts* parts, const Box* box, cnp.ndarray terms) except -1:
    """Run the job on a box for its sums: for totals that are given, or results."""
    cdef Job* job = &call.contiguous.job
    cdef char* result = job.result
    cdef ExactSums* totals = job.totals
    cdef Place place = place_of(call, parts, box)
    cdef char* all_slices = <char*> totals if totals is not NULL else result
    cdef Py_ssize_t size = <Py_ssize_t> sizeof(ExactSums) if totals is not NULL else size_of(job.result_storage), k
    cdef char* here = all_slices + place.first * size
    cdef cnp.ndarray gathered = None
    if not place.follow:
        gathered = np.empty(place.slices * size, np.uint8)
        here = <char*> cnp.PyArray_DATA(gathered)
    try:
        if totals is not NULL:
            job.totals = <ExactSums*> here
            for k in range(place.slices):
                clear_exact_sums(&job.totals[k])
            run_parts(call, parts, box)
        elif not parts.mixed:
            job.result = here
            run_parts(call, parts, box)
        elif parts.buffered:
            fill_buffer(call, parts, box, terms)
            sum_buffer(call, parts, box, terms, here)
        else:
            sum_exactly(call, parts, box, place.slices, here)
    finally:
        job.result, job.totals = result, totals
    if not place.follow:
        spread_slices(call, parts, box, &place, here, size, all_slices)
    return 0


cdef int sum_exactly(Call* call, const Parts* parts, const Box* box, Py_ssize_t slices, char* result) except -1:
    """Write sums that each part adds to, rounded when all are there."""
    cdef Job* job = &call.contiguous.job
    cdef cnp.ndarray memory = np.empty(slices * <Py_ssize_t> sizeof(ExactSums), np.uint8)
    cdef Py_ssize_t k
    job.totals, job.result = <ExactSums*> cnp.PyArray_DATA(memory), NULL
    for k in range(slices):
        clear_exact_sums(&job.totals[k])
    run_parts(call, parts, box)
    for k in range(slices):
        round_exact_sums(&job.totals[k], job.divide, job.result_storage, result + k * size_of(job.result_storage))
    return 0


# ---- a buffer of terms -----------------------------------------------------------------------------------------------------------

cdef cnp.ndarray buffer_for(const Call* call, const Parts* parts, const Box* box):
    """An array for the terms of a box, in which those of one parameter lie together."""
    cdef int k, ndim = call.ndim
    first = [k for k in range(ndim) if call.parameter_step[k] and not parts.kept[k]]
    lengths = [box.length[k] for k in first] + [box.length[k] for k in range(ndim) if k not in first]
    return np.moveaxis(np.empty(lengths, dtype_of(call.storage)), list(range(len(first))), first)


cdef int fill_buffer(const Call* call, const Parts* parts, const Box* box, cnp.ndarray terms) except -1:
    """Write the terms of a box to a buffer: losses without weights, or derivatives with all factors."""
    cdef Call filling = call[0]
    cdef Job* job = &filling.contiguous.job
    cdef int slot = OUT_VALUE if job.term == VALUES else OUT_GRADIENT if job.term == GRADIENTS else OUT_HESSIAN
    if job.term == VALUES:
        filling.present = 1u << INPUT | 1u << TARGET
        job.weight.data = job.where.data = NULL
    filling.array[slot] = <PyObject*> terms
    filling.present |= 1u << slot
    filling.box_only, filling.box = 1u << slot, box
    job.term, job.result = NOTHING, NULL
    return run_parts(&filling, parts, box)


cdef int sum_buffer(const Call* call, const Parts* parts, const Box* box, cnp.ndarray terms, char* result) except -1:
    """Write the sums of the terms of a box. Losses are their own errors from 0; derivatives, which may be negative, are incoming
    gradients of a loss whose derivative is 1.
    """
    cdef Call summing = call[0]
    cdef Job* job = &summing.contiguous.job
    cdef int slot = INPUT if job.term == VALUES else GRAD_OUTPUT
    cdef cnp.ndarray zero = np.zeros((), terms.dtype), one = np.ones((), terms.dtype)
    job.loss, job.parameter, job.result = L1, 0, result
    if job.term == VALUES:
        summing.present &= 1u << WEIGHT | 1u << WHERE
    else:
        summing.present = 0
        summing.factors = NULL
        job.weight.data = job.where.data = NULL
        job.term, job.scale, job.scale_low, job.scale_exponent = GRADIENTS, 1, 0, 0
    summing.array[<int> INPUT], summing.array[<int> TARGET] = <PyObject*> one, <PyObject*> zero
    summing.array[slot] = <PyObject*> terms
    summing.present |= 1u << INPUT | 1u << TARGET | 1u << slot
    summing.box_only, summing.box = 1u << slot, box
    return run_box(&summing, box, parts.n_kept, parts.kept)
