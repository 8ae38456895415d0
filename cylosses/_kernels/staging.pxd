# Moving one block of elements between any memory layout and a contiguous buffer of the working type.
#
# Every layout and dtype that is not the direct one comes through here, block by block, so that no temporary grows with the input.
# Elements are read and written by memcpy: arrays may be unaligned.

cimport cython
from cython cimport floating
from libc.math cimport fma
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cylosses._kernels.exact cimport Bits32, Bits64, Format
from cylosses._kernels.job cimport (
    BFLOAT16, FLOAT16, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, MAX_DIMS, UINT8, UINT16, UINT32, UINT64, Job, Operand,
)

cdef extern from *:
    """
    #include <string.h>
    #include <stdint.h>
    #if defined(__GNUC__)
    #define CYLOSSES_PREFETCH(p) __builtin_prefetch((p), 0, 2)
    #else
    #define CYLOSSES_PREFETCH(p) ((void)0)
    #endif
    #if defined(__SSE2__)
    #include <immintrin.h>
    /* Non-temporal stores: a plain store would first read the line it overwrites. */
    #if defined(__AVX512F__)
    #define CYLOSSES_STORE_LINE(to, from) _mm512_stream_si512((__m512i*)(to), _mm512_loadu_si512(from))
    #elif defined(__AVX__)
    #define CYLOSSES_STORE_PIECE(to, from, k) _mm256_stream_si256((__m256i*)(to) + k, _mm256_loadu_si256((const __m256i*)(from) + k))
    #define CYLOSSES_STORE_LINE(to, from) \\
        CYLOSSES_STORE_PIECE(to, from, 0); CYLOSSES_STORE_PIECE(to, from, 1)
    #else
    #define CYLOSSES_STORE_PIECE(to, from, k) _mm_stream_si128((__m128i*)(to) + k, _mm_loadu_si128((const __m128i*)(from) + k))
    #define CYLOSSES_STORE_LINE(to, from) \\
        CYLOSSES_STORE_PIECE(to, from, 0); CYLOSSES_STORE_PIECE(to, from, 1); \\
        CYLOSSES_STORE_PIECE(to, from, 2); CYLOSSES_STORE_PIECE(to, from, 3)
    #endif
    static inline void cylosses_copy_past_cache(char* to, const void* source, size_t n) {
        const char* from = (const char*)source;
        size_t head = (size_t)(-(uintptr_t)to & 63u);
        if (head > n) head = n;
        memcpy(to, from, head);
        to += head; from += head; n -= head;
        for (; n >= 64; n -= 64, to += 64, from += 64) { CYLOSSES_STORE_LINE(to, from); }
        memcpy(to, from, n);
    }
    static inline void cylosses_finish_stores(void) { _mm_sfence(); }
    #else
    static inline void cylosses_copy_past_cache(char* to, const void* source, size_t n) { memcpy(to, source, n); }
    static inline void cylosses_finish_stores(void) { }
    #endif
    """
    void PREFETCH "CYLOSSES_PREFETCH"(const void* p) noexcept nogil
    void copy_past_cache "cylosses_copy_past_cache"(char* to, const void* source, size_t n) noexcept nogil
    void finish_stores "cylosses_finish_stores"() noexcept nogil

cdef enum:
    SHORT_RUN = 128         # elements; longer runs of the last dimension are worth a call each
    CACHE_LINE = 64         # bytes
    CHUNK = 64              # elements between two prefetches


ctypedef fused Element:
    float
    double
    int8_t
    int16_t
    int32_t
    int64_t
    uint8_t
    uint16_t
    uint32_t
    uint64_t


# ---- formats -------------------------------------------------------------------------------------------------------------------

cdef inline Format format_of(int storage) noexcept nogil:
    cdef Format target
    target.precision, target.least, target.greatest = 53, -1022, 1023
    if storage == FLOAT32:
        target.precision, target.least, target.greatest = 24, -126, 127
    elif storage == FLOAT16:
        target.precision, target.least, target.greatest = 11, -14, 15
    elif storage == BFLOAT16:
        target.precision, target.least, target.greatest = 8, -126, 127
    return target


cdef inline int size_of(int storage) noexcept nogil:
    return 8 if storage == FLOAT64 else (4 if storage == FLOAT32 else 2)


# ---- half precision --------------------------------------------------------------------------------------------------------------

@cython.overflowcheck(False)        # arithmetic on the bits wraps
cdef inline float from_float16(uint16_t half) noexcept nogil:
    cdef Bits32 b, scale
    b.u = (<uint32_t> (half & 0x7fff)) << 13
    if b.u >= 0x0f800000u:          # infinity or NaN
        b.u |= 0x7f800000u
    else:                           # the exponents differ by 112; the product is exact and normalises subnormals
        scale.u = (127 + 112) << 23
        b.f = b.f * scale.f
    b.u |= (<uint32_t> (half & 0x8000)) << 16
    return b.f


@cython.overflowcheck(False)        # arithmetic on the bits wraps
cdef inline uint16_t to_float16(float v) noexcept nogil:
    """Rounded to nearest-even."""
    cdef Bits32 b, magic
    cdef uint32_t sign
    b.f = v
    sign = b.u & 0x80000000u
    b.u ^= sign
    sign >>= 16
    if b.u > 0x7f800000u:
        return <uint16_t> (sign | 0x7e00)
    if b.u >= 0x477ff000u:          # 65520 and more round to infinity
        return <uint16_t> (sign | 0x7c00)
    if b.u < 0x38800000u:           # subnormal: adding 0.5 rounds at 2**-24, the last place
        magic.f = 0.5
        b.f = b.f + magic.f
        return <uint16_t> (sign | (b.u - magic.u))
    b.u += 0xfff + ((b.u >> 13) & 1)
    return <uint16_t> (sign | ((b.u - (112u << 23)) >> 13))


cdef inline float from_bfloat16(uint16_t half) noexcept nogil:
    cdef Bits32 b
    b.u = (<uint32_t> half) << 16
    return b.f


@cython.overflowcheck(False)        # arithmetic on the bits wraps
cdef inline uint16_t to_bfloat16(float v) noexcept nogil:
    """Rounded to nearest-even."""
    cdef Bits32 b
    b.f = v
    if v != v:
        return <uint16_t> ((b.u >> 16) | 0x40)
    return <uint16_t> ((b.u + 0x7fff + ((b.u >> 16) & 1)) >> 16)


cdef inline float narrowed(float v, int storage) noexcept nogil:
    """v rounded to float16 or bfloat16."""
    if storage == FLOAT16:
        return from_float16(to_float16(v))
    return from_bfloat16(to_bfloat16(v))


# ---- products rounded once -------------------------------------------------------------------------------------------------------

@cython.overflowcheck(False)        # arithmetic on the bits wraps
cdef inline double product_to_odd(double a, double b) noexcept nogil:
    """a * b rounded to odd: a second rounding to 51 bits or fewer then gives the correctly rounded product."""
    cdef Bits64 p
    cdef double rest
    p.f = a * b
    rest = fma(a, b, -p.f)
    if rest - rest == 0 and rest != 0 and not p.i & 1:
        p.i += 1 if (rest > 0) == (p.f > 0) else -1
    return p.f


@cython.overflowcheck(False)        # arithmetic on the bits wraps
cdef inline float float_to_odd(double v) noexcept nogil:
    """v rounded to odd in float32, on the way to a still shorter format."""
    cdef Bits32 f
    f.f = <float> v
    if f.f - f.f == 0 and <double> f.f != v and not f.u & 1:
        f.u += 1 if (v > <double> f.f) == (v > 0) else <uint32_t> -1
    return f.f


# ---- prefetching -----------------------------------------------------------------------------------------------------------------

cdef inline void prefetch(const char* data, Py_ssize_t size) noexcept nogil:
    """Ask for the cache lines of `size` bytes."""
    cdef Py_ssize_t k
    for k in range((size + CACHE_LINE - 1) // CACHE_LINE):
        PREFETCH(data + k * CACHE_LINE)


cdef inline void prefetch_run(const char* data, Py_ssize_t stride, Py_ssize_t n) noexcept nogil:
    """Ask for n elements at a stride."""
    cdef Py_ssize_t i
    if stride < 0:
        data += stride * (n - 1)
        stride = -stride
    if stride < CACHE_LINE:
        prefetch(data, stride * n)
    else:
        for i in range(n):
            PREFETCH(data + i * stride)


cdef inline void prefetch_row(
    const char* row, Py_ssize_t row_stride, Py_ssize_t stride, Py_ssize_t columns, Py_ssize_t ahead
) noexcept nogil:
    """Ask for the row that lies `ahead` bytes behind this one (0: for none), if it is the first of its cache lines."""
    cdef Py_ssize_t distance = row_stride if row_stride > 0 else -row_stride
    if ahead == 0:
        return
    if distance < CACHE_LINE <= (stride if stride > 0 else -stride):
        ahead = CACHE_LINE          # each element's line is shared by the next rows: the next one, in good time
    if <size_t> (row + ahead) % CACHE_LINE < <size_t> distance:
        prefetch_run(row + ahead, stride, columns)


# ---- runs of elements at one stride ----------------------------------------------------------------------------------------------

cdef inline void load(Element* element, const char* source, bint swapped) noexcept nogil:
    cdef char* to = <char*> element
    cdef int k
    if swapped:
        for k in range(<int> sizeof(Element)):
            to[k] = source[<int> sizeof(Element) - 1 - k]
    else:
        memcpy(element, source, sizeof(Element))


cdef inline void take_at(Element element, const char* source, Py_ssize_t stride, Py_ssize_t n, floating* to) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(n):
        load(&element, source + i * stride, False)
        to[i] = <floating> element


cdef inline void take(Element element, const char* source, Py_ssize_t stride, bint swapped, Py_ssize_t n, floating* to) noexcept nogil:
    """to[i] = source[i] for one run; the value of `element` is not used, only its type."""
    cdef Py_ssize_t i
    if swapped:
        for i in range(n):
            load(&element, source + i * stride, True)
            to[i] = <floating> element
    elif stride == 0:
        if n:
            load(&element, source, False)
        for i in range(n):
            to[i] = <floating> element
    elif stride == sizeof(Element):
        for i in range(n):
            load(&element, source + i * <Py_ssize_t> sizeof(Element), False)
            to[i] = <floating> element
    elif stride == 2 * sizeof(Element):         # compilers vectorise the loop for a stride that they know
        take_at(element, source, 2 * sizeof(Element), n, to)
    elif stride == -<Py_ssize_t> sizeof(Element):
        take_at(element, source, -<Py_ssize_t> sizeof(Element), n, to)
    else:
        take_at(element, source, stride, n, to)


cdef inline void take_half(
    bint is_float16, const char* source, Py_ssize_t stride, bint swapped, Py_ssize_t n, floating* to
) noexcept nogil:
    cdef uint16_t half = 0
    cdef Py_ssize_t i
    if is_float16 and stride == 2 and not swapped:
        for i in range(n):
            load(&half, source + i * 2, False)
            to[i] = from_float16(half)
    elif is_float16:
        for i in range(n):
            load(&half, source + i * stride, swapped)
            to[i] = from_float16(half)
    else:
        for i in range(n):
            load(&half, source + i * stride, swapped)
            to[i] = from_bfloat16(half)


cdef inline void take_run(
    int storage, const char* source, Py_ssize_t stride, bint swapped, Py_ssize_t n, floating* to
) noexcept nogil:
    if storage == FLOAT32:
        take(<float> 0, source, stride, swapped, n, to)
    elif storage == FLOAT64:
        take(<double> 0, source, stride, swapped, n, to)
    elif storage == INT8:
        take(<int8_t> 0, source, stride, False, n, to)
    elif storage == INT16:
        take(<int16_t> 0, source, stride, swapped, n, to)
    elif storage == INT32:
        take(<int32_t> 0, source, stride, swapped, n, to)
    elif storage == INT64:
        take(<int64_t> 0, source, stride, swapped, n, to)
    elif storage == UINT8:
        take(<uint8_t> 0, source, stride, False, n, to)
    elif storage == UINT16:
        take(<uint16_t> 0, source, stride, swapped, n, to)
    elif storage == UINT32:
        take(<uint32_t> 0, source, stride, swapped, n, to)
    elif storage == UINT64:
        take(<uint64_t> 0, source, stride, swapped, n, to)
    else:
        take_half(storage == FLOAT16, source, stride, swapped, n, to)


cdef inline void take_rows_of(
    Element element, const char* source, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns,
    Py_ssize_t ahead, floating* to
) noexcept nogil:
    cdef Py_ssize_t _, i
    for _ in range(rows):
        prefetch_row(source, row_stride, stride, columns, ahead)
        for i in range(columns):
            load(&element, source + i * stride, False)
            to[i] = <floating> element
        source += row_stride
        to += columns


cdef inline void take_native_rows(
    Element element, const char* source, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns,
    Py_ssize_t ahead, floating* to
) noexcept nogil:
    if columns == 4 and stride == sizeof(Element):      # boxes, quaternions, pixels: loops that compilers know the length of
        take_rows_of(element, source, row_stride, rows, sizeof(Element), 4, ahead, to)
    elif columns == 4 and stride == 0:
        take_rows_of(element, source, row_stride, rows, 0, 4, ahead, to)
    elif columns == 3 and stride == sizeof(Element):
        take_rows_of(element, source, row_stride, rows, sizeof(Element), 3, ahead, to)
    elif columns == 2 and stride == sizeof(Element):
        take_rows_of(element, source, row_stride, rows, sizeof(Element), 2, ahead, to)
    elif stride == sizeof(Element):
        take_rows_of(element, source, row_stride, rows, sizeof(Element), columns, ahead, to)
    else:
        take_rows_of(element, source, row_stride, rows, stride, columns, ahead, to)


cdef inline void take_rows(
    const Operand* operand, const char* source, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns,
    Py_ssize_t ahead, floating* to
) noexcept nogil:
    """Several short runs: native float32 and float64, by far the most frequent, without a call for each."""
    cdef Py_ssize_t _
    if operand.storage == FLOAT32 and not operand.swapped:
        take_native_rows(<float> 0, source, row_stride, rows, stride, columns, ahead, to)
    elif operand.storage == FLOAT64 and not operand.swapped:
        take_native_rows(<double> 0, source, row_stride, rows, stride, columns, ahead, to)
    else:
        for _ in range(rows):
            take_run(operand.storage, source, stride, operand.swapped, columns, to)
            source += row_stride
            to += columns


cdef inline void store(Element* element, char* target, bint swapped) noexcept nogil:
    cdef const char* source = <const char*> element
    cdef int k
    if swapped:
        for k in range(<int> sizeof(Element)):
            target[k] = source[<int> sizeof(Element) - 1 - k]
    else:
        memcpy(target, element, sizeof(Element))


cdef inline void put(
    Element element, char* target, Py_ssize_t stride, bint swapped, Py_ssize_t n, const floating* source
) noexcept nogil:
    """target[i] = source[i] for one run; the value of `element` is not used, only its type."""
    cdef Py_ssize_t i
    if stride == sizeof(Element) and not swapped:
        for i in range(n):
            element = <Element> source[i]
            store(&element, target + i * <Py_ssize_t> sizeof(Element), False)
    else:
        for i in range(n):
            element = <Element> source[i]
            store(&element, target + i * stride, swapped)


cdef inline void put_run(
    int storage, char* target, Py_ssize_t stride, bint swapped, Py_ssize_t n, const floating* source
) noexcept nogil:
    cdef uint16_t half
    cdef Py_ssize_t i
    if storage == FLOAT32:
        put(<float> 0, target, stride, swapped, n, source)
    elif storage == FLOAT64:
        put(<double> 0, target, stride, swapped, n, source)
    elif storage == FLOAT16:
        for i in range(n):
            half = to_float16(<float> source[i])
            store(&half, target + i * stride, swapped)
    else:
        for i in range(n):
            half = to_bfloat16(<float> source[i])
            store(&half, target + i * stride, swapped)


# ---- blocks of a slice -----------------------------------------------------------------------------------------------------------

cdef struct Cursor:
    # Where an operand's element `start` of a slice lies, and the position along each inner dimension.
    char* data
    Py_ssize_t index[MAX_DIMS]


cdef inline char* slice_start(const Job* job, const Operand* operand, Py_ssize_t number) noexcept nogil:
    """The operand's first element in slice `number`."""
    cdef char* data = operand.data
    cdef int k
    for k in range(job.outer - 1, -1, -1):
        data += (number % job.shape[k]) * operand.strides[k]
        number = number // job.shape[k]
    return data


cdef inline void seek(Cursor* at, const Job* job, const Operand* operand, char* data, Py_ssize_t start) noexcept nogil:
    cdef int k
    for k in range(job.ndim - 1, job.outer - 1, -1):
        at.index[k] = start % job.shape[k]
        start = start // job.shape[k]
        data += at.index[k] * operand.strides[k]
    at.data = data


cdef inline void advance(Cursor* at, const Job* job, const Operand* operand, Py_ssize_t run) noexcept nogil:
    """Step by a run that ends within the last dimension or at its end."""
    cdef int k = job.ndim - 1
    at.index[k] += run
    at.data += run * operand.strides[k]
    while at.index[k] == job.shape[k] and k > job.outer:
        at.data -= job.shape[k] * operand.strides[k]
        at.index[k] = 0
        k -= 1
        at.index[k] += 1
        at.data += operand.strides[k]


cdef inline Py_ssize_t run_length(const Cursor* at, const Job* job, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t left = job.shape[job.ndim - 1] - at.index[job.ndim - 1]
    return n if n < left else left


cdef inline Py_ssize_t rows_ahead(const Cursor* at, const Job* job, Py_ssize_t n) noexcept nogil:
    """How many whole runs of the last dimension follow one another within n elements."""
    cdef Py_ssize_t rows, left
    if job.ndim - job.outer < 2 or at.index[job.ndim - 1] != 0:
        return 0
    left = job.shape[job.ndim - 2] - at.index[job.ndim - 2]
    rows = n // job.shape[job.ndim - 1]
    return rows if rows < left else left


cdef inline void advance_rows(Cursor* at, const Job* job, const Operand* operand, Py_ssize_t rows) noexcept nogil:
    """Step by whole runs of the last dimension that end within the dimension before it or at its end."""
    at.index[job.ndim - 2] += rows - 1
    at.data += (rows - 1) * operand.strides[job.ndim - 2]
    advance(at, job, operand, job.shape[job.ndim - 1])


cdef inline Py_ssize_t distance_ahead(
    const Job* job, const Operand* operand, char* data, Py_ssize_t next, const char* here
) noexcept nogil:
    """Bytes from `here` to what is to be prefetched with it, element `next` of the slice that begins at data; 0 for nothing."""
    cdef Cursor there
    if not job.prefetch or next >= job.size:
        return 0
    seek(&there, job, operand, data, next)
    return there.data - here


cdef inline void gather(
    const Job* job, const Operand* operand, char* data, Py_ssize_t start, Py_ssize_t n, floating* to
) noexcept nogil:
    """Copy elements start .. start + n of the slice that begins at data, and ask for the n elements that follow."""
    cdef Cursor at
    cdef Py_ssize_t run, rows, columns = job.shape[job.ndim - 1], stride = operand.strides[job.ndim - 1]
    cdef Py_ssize_t ahead
    seek(&at, job, operand, data, start)
    ahead = distance_ahead(job, operand, data, start + n, at.data)
    while n:
        rows = rows_ahead(&at, job, n) if columns <= SHORT_RUN else 0
        if rows > 1:
            take_rows(operand, at.data, operand.strides[job.ndim - 2], rows, stride, columns, ahead, to)
            advance_rows(&at, job, operand, rows)
            run = rows * columns
        else:
            run = run_length(&at, job, n)
            if ahead:
                run = CHUNK if CHUNK < run else run
                prefetch_run(at.data + ahead, stride, run)
            take_run(operand.storage, at.data, stride, operand.swapped, run, to)
            advance(&at, job, operand, run)
        to += run
        n -= run


cdef inline bint has_direct_runs(const Job* job, const Operand* operand) noexcept nogil:
    """Whether each run of the last dimension can be read in place."""
    return operand.readable and operand.strides[job.ndim - 1] == (4 if job.single else 8)


cdef inline const floating* within_run(
    const Job* job, const Operand* operand, char* data, Py_ssize_t start, Py_ssize_t n, const floating* working_type
) noexcept nogil:
    """Where elements start .. start + n lie if they are one contiguous run in the working type, else NULL."""
    cdef Cursor at
    if not has_direct_runs(job, operand) or job.shape[job.ndim - 1] < n:
        return NULL
    seek(&at, job, operand, data, start)
    return <const floating*> at.data if run_length(&at, job, n) == n else NULL


cdef inline void scatter(
    const Job* job, const Operand* operand, char* data, Py_ssize_t start, Py_ssize_t n, const floating* source
) noexcept nogil:
    cdef Cursor at
    cdef Py_ssize_t run
    if operand.direct:
        if job.bypass_cache:
            copy_past_cache(data + start * <Py_ssize_t> sizeof(floating), source, n * sizeof(floating))
        else:
            memcpy(data + start * <Py_ssize_t> sizeof(floating), source, n * sizeof(floating))
        return
    seek(&at, job, operand, data, start)
    while n:
        run = run_length(&at, job, n)
        put_run(operand.storage, at.data, operand.strides[job.ndim - 1], operand.swapped, run, source)
        source += run
        n -= run
        advance(&at, job, operand, run)
