# Exact sums of weighted losses and of weights, of data that comes in pieces: those of StreamingLoss and of the C level's
# accumulators.

from cylosses._core.job cimport VALUES, Job
from cylosses._core.memory.storage cimport format_of
from cylosses._core.memory.strided cimport write_strided
from cylosses._core.mode cimport cylosses_mode, restore_mode, set_default_mode
from cylosses._core.summation.exact_sums cimport ExactSums
from cylosses._core.summation.rounding cimport round_quotient


cdef inline void want_totals(Job* job, ExactSums* totals) noexcept nogil:
    """Have the values of a job, its weights and their number added to the totals, one a slice.

    After a bad weight those of some slices have been added: none if there is but one.
    """
    job.term = VALUES
    job.totals = totals


cdef inline void round_exact_sums(const ExactSums* sums, bint mean, int storage, char* result) noexcept nogil:
    """Write RN(losses / weights) or RN(losses) to memory of this storage; the sums keep their values."""
    cdef ExactSums copy = sums[0]            # rounding spends what it rounds
    cdef cylosses_mode mode = set_default_mode()        # subnormal results too
    cdef double v = round_quotient(&copy.losses, 1, &copy.weights if mean else NULL, format_of(storage))
    write_strided(storage, result, 0, False, 1, &v)
    restore_mode(mode)


cdef class Total:
    cdef ExactSums* sums                # of each slice
    cdef readonly Py_ssize_t slices
    cdef readonly tuple layout          # of sliced data: the lengths of its axes, None for those that are summed over; else None
    cdef readonly object dtype          # of results; None before the first piece
