# What a thread has summed of a slice, and the ways in which a block is added to it.

from cython cimport floating
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memset

from cylosses._core.bits cimport Bits32
from cylosses._core.error_free cimport two_product_fma
from cylosses._core.job cimport BFLOAT16, FLOAT16, FLOAT32, INT8, INT16, UINT8, UINT16, Job
from cylosses._core.summation.bins cimport BLOCK, QUARTER, RANGE_BATCH_48, RANGE_BATCH_53, Bins, clear_bins, close_bins
from cylosses._core.summation.block cimport add_block
from cylosses._core.summation.columns cimport ColumnSums, clear_column_sums, deposit_column_sums
from cylosses._core.summation.exact_sums cimport ExactSums
from cylosses._core.summation.exponent_range cimport ExponentRange, measure
from cylosses._core.summation.lanes cimport whole_lanes
from cylosses._core.summation.products cimport add_quarter_of_products
from cylosses._core.summation.superaccumulator cimport Superaccumulator, add_count, clear, deposit_product, merge


cdef enum Products:
    EXACT_PRODUCTS
    SPLIT_PRODUCTS          # each is the sum of a product and a low word
    LOST_PRODUCTS           # one of them, or its low word, may have left the range of float64: integers must multiply


cdef struct Sums:
    Superaccumulator total
    Superaccumulator weights
    ColumnSums columns          # these three are still to be deposited in the total
    Bins bins
    Bins low_bins               # low words of products, which have a grid of their own
    ColumnSums weight_columns   # and these two in the weights
    Bins weight_bins
    uint64_t count              # elements that were selected
    bint bad_weight             # a selected weight was negative, NaN or infinite
    void* slices                # SliceSums, if slices are summed side by side: they take the terms then


cdef inline bint fits_24_bits(int storage) noexcept nogil:
    """Whether products of such weights with float32 terms are exact in float64."""
    return storage in (FLOAT32, FLOAT16, BFLOAT16, INT8, INT16, UINT8, UINT16)


cdef inline void clear_sums(Sums* sums, const Job* job) noexcept nogil:
    cdef bint exact_products = job.single and job.weight.data is not NULL and fits_24_bits(job.weight.storage)
    clear(&sums.total)
    clear_column_sums(&sums.columns)
    clear_bins(&sums.bins, RANGE_BATCH_48 if exact_products else RANGE_BATCH_53)
    clear_bins(&sums.low_bins, RANGE_BATCH_53)
    clear_bins(&sums.weight_bins, RANGE_BATCH_53)
    if job.weight.data is not NULL:
        clear(&sums.weights)
        clear_column_sums(&sums.weight_columns)
    sums.count = 0
    sums.bad_weight = False
    sums.slices = NULL


cdef inline void deposit_sums(Sums* sums, const Job* job) noexcept nogil:
    """Leave nothing outside of the superaccumulators."""
    deposit_column_sums(&sums.total, &sums.columns)
    close_bins(&sums.total, &sums.bins)
    close_bins(&sums.total, &sums.low_bins)
    close_bins(&sums.weights, &sums.weight_bins)
    if job.weight.data is not NULL:
        deposit_column_sums(&sums.weights, &sums.weight_columns)


cdef inline void merge_sums(Sums* sums, Sums* other, const Job* job) noexcept nogil:
    """Add the other sums, too; both are deposited."""
    merge(&sums.total, &other.total)
    if job.weight.data is not NULL:
        merge(&sums.weights, &other.weights)
    sums.count += other.count
    sums.bad_weight = sums.bad_weight or other.bad_weight


cdef inline void add_to_total(ExactSums* total, Sums* sums, const Job* job) noexcept nogil:
    """Add what was summed of a slice, and is deposited, to what there is of it."""
    merge(&total.losses, &sums.total)
    if job.weight.data is not NULL:
        merge(&total.weights, &sums.weights)
    else:
        add_count(&total.weights, sums.count)
    total.count += sums.count


cdef inline bint wants_weights(const Job* job) noexcept nogil:
    """Whether the sum of the weights is wanted."""
    return job.weight.data is not NULL and (job.divide or job.totals is not NULL)


cdef inline Py_ssize_t pad(floating* terms, Py_ssize_t n) noexcept nogil:
    """Fill up with zeros to a multiple of LANES."""
    cdef Py_ssize_t padded = whole_lanes(n)
    memset(terms + n, 0, (padded - n) * sizeof(floating))
    return padded


cdef inline bint are_valid(const floating* weights, Py_ssize_t n, Py_ssize_t* positive) noexcept nogil:
    """Whether all weights are finite and not negative; counts those above 0."""
    cdef floating most
    cdef Bits32 bits
    cdef uint32_t greatest = 0
    cdef Py_ssize_t i
    cdef int64_t bad = 0, positives = 0         # as wide as float64: a loop over both needs no packing
    cdef int count = 0
    if floating is float:
        for i in range(n):
            bits.f = weights[i]
            greatest = bits.u if bits.u > greatest else greatest
            count += bits.u != 0
        if greatest < 0x7f800000u:          # else there may still be no worse than -0.0, which is valid
            positive[0] = count
            return True
        most = 3.4028234663852886e38
    else:
        most = 1.7976931348623157e308
    for i in range(n):
        bad |= (not weights[i] >= 0) | (not weights[i] <= most)
        positives += weights[i] > 0
    positive[0] = positives
    return bad == 0


cdef inline Products multiply(
    const Job* job, const floating* terms, const double* weights, Py_ssize_t n, double* product, double* low
) noexcept nogil:
    """Products of terms and weights, 0 for terms of weight 0, whatever they are; n is a multiple of LANES. Says what they are."""
    cdef ExponentRange exponents
    cdef double term, product_low
    cdef Py_ssize_t i
    cdef int lost = 0
    if floating is float:
        if fits_24_bits(job.weight.storage):
            for i in range(n):
                term = terms[i]                 # first as wide as the weight: masks of two widths cost more than the product
                term = term if weights[i] != 0 else 0
                product[i] = term * weights[i]
            return EXACT_PRODUCTS
    for i in range(n):
        term = terms[i]
        term = term if weights[i] != 0 else 0
        product[i] = two_product_fma(term, weights[i], &product_low)
        low[i] = product_low
        lost |= (product[i] == 0) & (term != 0)
    exponents = measure(<const double*> product, n)
    if lost or not (exponents.empty or (exponents.binnable and exponents.bottom > -900)):
        return LOST_PRODUCTS
    return SPLIT_PRODUCTS


cdef inline void add_products(
    const Job* job, Sums* sums, const floating* terms, const double* weights, Py_ssize_t n
) noexcept nogil:
    """Add terms * weights exactly; both are padded."""
    cdef double product[BLOCK]
    cdef double low[BLOCK]
    cdef Products products
    cdef Py_ssize_t i
    if floating is double:
        while n >= QUARTER and add_quarter_of_products(&sums.total, &sums.bins, &sums.low_bins, terms, weights):
            terms += QUARTER
            weights += QUARTER
            n -= QUARTER
    if n == 0:
        return
    products = multiply(job, terms, weights, n, <double*> product, <double*> low)
    if products == LOST_PRODUCTS:
        for i in range(n):
            if weights[i] != 0:
                deposit_product(&sums.total, terms[i], weights[i])
        return
    add_block(&sums.total, &sums.bins, &sums.columns, <double*> product, n)
    if products == SPLIT_PRODUCTS:
        add_block(&sums.total, &sums.low_bins, NULL, <double*> low, n)
