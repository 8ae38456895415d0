# Plans: how a job walks arrays of any layout. The dimensions that are summed over are ordered by stride, backward ones turned
# round, and those that continue each other joined; where operands have their shortest strides along different dimensions, the job
# walks in tiles.

from cylosses._core.job cimport (
    FLOAT32, FLOAT64, MAX_DIMS, OUT_GRADIENT, OUT_HESSIAN, OUT_VALUE, SLOTS, Job, Operand, operand_in,
)
from cylosses._core.memory.storage cimport size_of
from cylosses._core.memory.streaming cimport CACHE_LINE
from cylosses._core.summation.bins cimport BLOCK

cdef enum:
    LEAST_ROWS = 32         # of a tile
    LONG_ROW = 512          # elements of a slice: it is faster alone
    MOST_ROWS = 64          # more rows make longer runs for the memory, but a block must hold whole cache lines of each

cdef struct Plan:
    # A job with its shape and strides.
    Job job
    int operands
    Operand* operand[SLOTS]         # those that are there
    int order[MAX_DIMS]             # the axis of each dimension, until dimensions are joined or cut
    Py_ssize_t shape[MAX_DIMS]
    Py_ssize_t strides[SLOTS][MAX_DIMS]


cdef inline void start_plan(Plan* plan, const Job* job, int ndim, const Py_ssize_t* shape, const bint* kept, int n_kept) noexcept:
    """Begin a plan of the job, still without operands: `kept` says which axes enumerate slices, if there are any."""
    cdef int axis, k = 0, others = n_kept
    plan.job = job[0]
    plan.job.ndim = ndim
    plan.job.outer = n_kept
    plan.job.shape = plan.shape
    plan.operands = 0
    for axis in range(ndim):
        if n_kept and kept[axis]:
            plan.order[k] = axis
            k += 1
        else:
            plan.order[others] = axis
            others += 1
    for k in range(ndim):
        plan.shape[k] = shape[plan.order[k]]


cdef inline Operand* add_operand(
    Plan* plan, int slot, char* data, int storage, int ndim, const Py_ssize_t* shape, const Py_ssize_t* strides
) noexcept:
    """Enter an array that broadcasts to the plan's shape."""
    cdef Operand* operand = operand_in(&plan.job, slot)
    cdef Py_ssize_t* steps = plan.strides[plan.operands]
    cdef int k, axis, missing = plan.job.ndim - ndim
    for k in range(plan.job.ndim):
        axis = plan.order[k] - missing
        steps[k] = strides[axis] if axis >= 0 and shape[axis] != 1 else 0
    operand.data = data
    operand.strides = steps
    operand.storage = storage
    operand.swapped = operand.readable = False
    plan.operand[plan.operands] = operand
    plan.operands += 1
    return operand


cdef inline void move_dimension(Plan* plan, int source, int to) noexcept:
    """Take the dimension at source out and put it in at `to` <= source."""
    cdef Py_ssize_t moved = plan.shape[source]
    cdef int k, m, axis = plan.order[source]
    for k in range(source, to, -1):
        plan.shape[k], plan.order[k] = plan.shape[k - 1], plan.order[k - 1]
    plan.shape[to], plan.order[to] = moved, axis
    for m in range(plan.operands):
        moved = plan.strides[m][source]
        for k in range(source, to, -1):
            plan.strides[m][k] = plan.strides[m][k - 1]
        plan.strides[m][to] = moved


cdef inline void drop_dimension(Plan* plan, int at) noexcept:
    cdef int k, m
    plan.job.ndim -= 1
    for k in range(at, plan.job.ndim):
        plan.shape[k], plan.order[k] = plan.shape[k + 1], plan.order[k + 1]
        for m in range(plan.operands):
            plan.strides[m][k] = plan.strides[m][k + 1]


cdef inline bint belongs_outside(Plan* plan, int a, int b) noexcept:
    """Whether dimension a should enclose b: the first operand that tells their strides apart decides."""
    cdef Py_ssize_t of_a, of_b
    cdef int m
    for m in range(plan.operands):
        of_a = abs(plan.strides[m][a])
        of_b = abs(plan.strides[m][b])
        if of_a and of_b and of_a != of_b:
            return of_a > of_b
    return a < b


cdef inline void flip_backward(Plan* plan, int k) noexcept:
    """Walk dimension k the other way if every operand does so backward: the order of elements does not matter."""
    cdef bint backward = False
    cdef int m
    for m in range(plan.operands):
        if plan.strides[m][k] > 0:
            return
        backward = backward or plan.strides[m][k] < 0
    if backward:
        for m in range(plan.operands):
            plan.operand[m].data += plan.strides[m][k] * (plan.shape[k] - 1)
            plan.strides[m][k] = -plan.strides[m][k]


cdef inline bint continues(Plan* plan, int k) noexcept:
    """Whether dimensions k and k + 1 are one for every operand."""
    cdef int m
    for m in range(plan.operands):
        if plan.strides[m][k] != plan.strides[m][k + 1] * plan.shape[k + 1]:
            return False
    return True


cdef inline void join_with_next(Plan* plan, int k) noexcept:
    """Make dimensions k and k + 1 one, if they continue each other."""
    if continues(plan, k):
        plan.shape[k + 1] *= plan.shape[k]
        drop_dimension(plan, k)


cdef inline int fastest_dimension(Plan* plan, int m) noexcept:
    """The inner dimension along which operand m has its shortest stride but 0; -1 if there is none."""
    cdef int k, found = -1
    for k in range(plan.job.outer, plan.job.ndim):
        if plan.strides[m][k] and (found < 0 or abs(plan.strides[m][k]) < abs(plan.strides[m][found])):
            found = k
    return found


cdef inline Py_ssize_t tile_height(Py_ssize_t n) noexcept:
    """Into how many rows a dimension of n is best cut for tiles: with the fewest left over, then as many as may be."""
    cdef Py_ssize_t t, best = n
    if n > MOST_ROWS:
        best = MOST_ROWS
        for t in range(MOST_ROWS - 1, LEAST_ROWS - 1, -1):
            if n % t < n % best:
                best = t
    return best


cdef inline void copy_plan(const Plan* plan, Plan* to) noexcept:
    cdef int m
    to[0] = plan[0]
    to.job.shape = to.shape
    for m in range(plan.operands):
        to.operand[m] = <Operand*> (<char*> &to.job + (<char*> plan.operand[m] - <char*> &plan.job))
        to.operand[m].strides = to.strides[m]


cdef inline void settle_access(Plan* plan) noexcept:
    """Find the operands that need no staging, and those that repeat."""
    cdef Py_ssize_t expected
    cdef Operand* operand
    cdef int k, m, wanted = FLOAT32 if plan.job.single else FLOAT64
    for m in range(plan.operands):
        operand = plan.operand[m]
        expected = size_of(operand.storage)
        operand.readable = operand.readable and operand.storage == wanted
        operand.contiguous = True
        for k in range(plan.job.ndim - 1, plan.job.outer - 1, -1):
            operand.contiguous = operand.contiguous and (operand.strides[k] == expected or plan.shape[k] == 1)
            expected *= plan.shape[k]
        operand.direct = operand.readable and operand.contiguous
        operand.period = 0
        expected = 1
        for k in range(plan.job.ndim - 1, plan.job.outer - 1, -1):
            if operand.strides[k] == 0 and operand.period == 0:
                operand.period = expected
            elif operand.strides[k] != 0:
                operand.period = 0
            expected *= plan.shape[k]


cdef inline void tile(Plan* plan, Plan* leftover) noexcept:
    """Where operands run fastest along different dimensions, as C against Fortran order: walk in tiles, so that each cache line
    of either is read once. Rows that do not fill a tile become the plan `leftover`.
    """
    cdef int last = plan.job.ndim - 1, k = -1, m, _
    cdef Py_ssize_t height, left
    if plan.job.slices * plan.job.size == 0 or plan.shape[last] <= MOST_ROWS:
        return
    for m in range(plan.operands):
        k = fastest_dimension(plan, m)
        if 0 <= k < last and abs(plan.strides[m][k]) < CACHE_LINE <= abs(plan.strides[m][last]):
            break
        k = -1
    if k < 0:
        return
    height = tile_height(plan.shape[k])
    left = plan.shape[k] % height
    if left:
        copy_plan(plan, leftover)
        for m in range(plan.operands):
            leftover.operand[m].data += (plan.shape[k] - left) * plan.strides[m][k]
        leftover.job.size = plan.job.size // plan.shape[k] * left
        leftover.shape[k] = left
        for _ in range(k, last):                # its rows go innermost
            move_dimension(leftover, last, k)
        settle_access(leftover)
        plan.job.leftover = &leftover.job
    plan.job.size = plan.job.size // plan.shape[k] * (plan.shape[k] - left)
    plan.shape[k] = plan.shape[k] // height
    plan.shape[last + 1] = height
    plan.job.ndim += 1
    for m in range(plan.operands):
        plan.strides[m][last + 1] = plan.strides[m][k]
        plan.strides[m][k] *= height
    if plan.shape[k] == 1:
        drop_dimension(plan, k)


cdef inline void sort_dimensions(Plan* plan) noexcept:
    """Order the inner dimensions by stride."""
    cdef int k, j
    for k in range(plan.job.outer + 1, plan.job.ndim):
        j = k
        while j > plan.job.outer and belongs_outside(plan, k, j - 1):
            j -= 1
        move_dimension(plan, k, j)


cdef inline void simplify(Plan* plan) noexcept:
    """Order the inner dimensions by stride, turn backward ones round and join those that continue each other."""
    cdef int k, m
    cdef Py_ssize_t n
    plan.job.slices = 1
    plan.job.size = 1
    for k in range(plan.job.ndim):
        n = plan.shape[k]
        if k < plan.job.outer:
            plan.job.slices *= n
        else:
            plan.job.size *= n
    if plan.job.slices * plan.job.size > 0:
        for k in range(plan.job.ndim - 1, plan.job.outer - 1, -1):
            if plan.shape[k] == 1:
                drop_dimension(plan, k)
            else:
                flip_backward(plan, k)
        sort_dimensions(plan)
        for k in range(plan.job.ndim - 2, plan.job.outer - 1, -1):
            join_with_next(plan, k)
    if plan.job.ndim == plan.job.outer:         # there is always an inner dimension
        plan.shape[plan.job.ndim] = 1
        for m in range(plan.operands):
            plan.strides[m][plan.job.ndim] = 0
        plan.job.ndim += 1


cdef inline void settle_plan(Plan* plan, Plan* leftover) noexcept:
    """Have the job, all of whose operands are entered, walk them in the best order. `leftover` gets the rows that fill no tile."""
    simplify(plan)
    tile(plan, leftover)
    settle_access(plan)


# ---- slices side by side ---------------------------------------------------------------------------------------------------------

cdef inline bint lies_in_blocks(const Job* job) noexcept nogil:
    """Whether a block has whole slices of a job that sums them side by side."""
    return job.terms * job.columns <= BLOCK


cdef inline bint overwrites_operands(const Plan* plan) noexcept:
    """Whether an elementwise result lies where an operand does."""
    cdef Job* job = <Job*> &plan.job
    cdef char* data
    cdef int slot
    for slot in (OUT_VALUE, OUT_GRADIENT, OUT_HESSIAN):
        data = operand_in(job, slot).data
        if data is not NULL and data in (job.input.data, job.target.data, job.weight.data, job.where.data, job.grad_output.data):
            return True
    return False


cdef inline bint settle_side_by_side(Plan* plan, const bint* kept) noexcept:
    """Have the job, made without outer dimensions, walk slices side by side in the order of memory, if they are short and lie so: axes
    that are kept, then axes that are summed over, then perhaps others that are kept. The elements of each group of axes need not
    follow one another. False: they do not.
    """
    cdef Py_ssize_t slices = 1, terms = 1, columns = 1
    cdef int k, last_kept = -1
    if plan.job.narrow >= 0 or (plan.job.totals is not NULL and plan.job.weight.data is not NULL):
        return False
    for k in range(plan.job.ndim - 1, -1, -1):
        if plan.shape[k] == 1:
            drop_dimension(plan, k)
        elif not kept[plan.order[k]]:
            flip_backward(plan, k)
    sort_dimensions(plan)
    for k in range(plan.job.ndim):
        if kept[plan.order[k]]:
            slices *= plan.shape[k]
            columns *= plan.shape[k]
            if plan.order[k] < last_kept:           # results would not follow one another
                return False
            last_kept = plan.order[k]
        elif terms > 1 and columns > 1:
            return False
        else:
            terms *= plan.shape[k]
            columns = 1
    if terms == 1:
        columns = 1
    if slices <= 1 or slices * terms == 0 or (columns == 1 and terms > LONG_ROW):
        return False
    plan.job.slices, plan.job.size, plan.job.terms, plan.job.columns = 1, slices * terms, terms, columns
    if not lies_in_blocks(&plan.job) and overwrites_operands(plan):     # a slice that must be summed again needs them
        return False
    for k in range(plan.job.ndim - 2, -1, -1):
        if kept[plan.order[k]] == kept[plan.order[k + 1]]:
            join_with_next(plan, k)
    settle_access(plan)
    return True
