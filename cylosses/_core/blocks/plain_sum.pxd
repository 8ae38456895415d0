# What walk() does where nothing is wanted but the sum of values, perhaps weighted, of contiguous operands, with nothing else to ask
# for each block: small arrays take half the time.

from cython cimport floating
from libc.string cimport memcpy

from cylosses._core.blocks.computing cimport Pair, add_values, fill, set_pair
from cylosses._core.blocks.steps cimport first_step
from cylosses._core.blocks.sums cimport Sums, add_weighted, are_valid, pad
from cylosses._core.job cimport VALUE, VALUES, Job
from cylosses._core.memory.position cimport slice_start
from cylosses._core.summation.bins cimport QUARTER
from cylosses._core.summation.lanes cimport LANES

cdef enum:
    # Bytes by which contiguous operands that are only summed are prefetched, beyond the caches. Within, and where results are
    # stored, hardware prefetchers do better alone; half the distance is slower than none.
    AHEAD = 4096


cdef inline bint is_plain_sum(const Job* job) noexcept nogil:
    """Whether nothing is wanted but the sum of values, perhaps weighted, of direct operands."""
    return (
        job.term == VALUES and job.narrow < 0 and job.input.direct and job.target.direct and job.where.data is NULL
        and (job.weight.data is NULL or job.weight.direct) and job.value.data is NULL and job.gradient.data is NULL
        and job.hessian.data is NULL
    )


cdef inline void sum_values(
    const Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Sums* sums, const floating* working_type
) noexcept nogil:
    """Add the values of elements start .. stop of slice `number`; of working_type only the type is used."""
    cdef const floating* input = <const floating*> slice_start(job, &job.input, number)
    cdef const floating* target = <const floating*> slice_start(job, &job.target, number)
    cdef Pair pair
    cdef Py_ssize_t n = first_step(job, start, stop, stop - start)
    sums.count += stop - start
    while start < stop:
        set_pair(&pair, input + start, target + start, AHEAD if job.bypass_cache else 0, 1)
        add_values(job, sums, &pair, n, working_type)
        start += n
        n = stop - start


cdef inline void sum_weighted_values(
    const Job* job, Py_ssize_t number, Py_ssize_t start, Py_ssize_t stop, Sums* sums, const floating* working_type
) noexcept nogil:
    """Add the weighted values, and the weights, of elements start .. stop of slice `number`."""
    cdef floating values[QUARTER]
    cdef floating padded_weights[LANES]
    cdef const floating* input = <const floating*> slice_start(job, &job.input, number)
    cdef const floating* target = <const floating*> slice_start(job, &job.target, number)
    cdef const floating* first_weight = <const floating*> slice_start(job, &job.weight, number)
    cdef const floating* weights
    cdef Pair pair
    cdef Py_ssize_t n = first_step(job, start, stop, QUARTER), whole, count = 0
    while start < stop:
        set_pair(&pair, input + start, target + start, AHEAD if job.bypass_cache else 0, 1)
        weights = first_weight + start
        if not are_valid(weights, n, &count):
            sums.bad_weight = True
            return
        sums.count += count
        fill(job, VALUE, &pair, <floating*> values, n)
        whole = n // LANES * LANES
        add_weighted(job, sums, <floating*> values, weights, whole)
        if whole < n:
            memcpy(padded_weights, weights + whole, (n - whole) * sizeof(floating))
            pad(<floating*> padded_weights, n - whole)
            pad(<floating*> values + whole, n - whole)
            add_weighted(job, sums, <floating*> values + whole, <floating*> padded_weights, LANES)
        start += n
        n = stop - start if stop - start < QUARTER else QUARTER
