# Moving one block of elements between any memory layout and a contiguous buffer of the working type.
#
# Every layout and dtype that is not the direct one comes through here, block by block, so that no temporary grows with the input.
# Elements are read and written by memcpy: arrays may be unaligned.
#
# What is asked for ahead of time, and what is not: hardware reads on by itself along any run, and across gaps of a few lines, with more
# lines in flight than a core can ask for; asking for those lines too makes it slower. It does not read on over wide gaps, and not along
# the many columns of a transposition at once: those are asked for one block ahead.

cimport cython
from cython cimport floating
from libc.math cimport fma
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from cylosses._core.exact cimport LOW_32, Bits32, Bits64, Format
from cylosses._core.job cimport (
    BFLOAT16, FLOAT16, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, MAX_DIMS, UINT8, UINT16, UINT32, UINT64, Job, Operand,
)

cdef extern from *:
    """
    #include <string.h>
    #include <stdint.h>
    /* To gcc a prefetch is no effect: it drops calls of functions that do nothing else, but for the empty assembly. */
    static inline void cylosses_prefetch(const void* p) {
    #if defined(__GNUC__)
        __builtin_prefetch(p, 0, 2);
        __asm__ volatile ("");
    #endif
    }
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
    static inline void cylosses_copy_lines_past_cache(char* to, const void* source, size_t n) {
        const char* from = (const char*)source;
        size_t k;
        for (k = 0; k < n; k += 64) { CYLOSSES_STORE_LINE(to + k, from + k); }
    }
    static inline void cylosses_copy_past_cache(char* to, const void* source, size_t n) {
        const char* from = (const char*)source;
        size_t head = (size_t)(-(uintptr_t)to & 63u);
        if (head > n) head = n;
        memcpy(to, from, head);
        to += head; from += head;
        cylosses_copy_lines_past_cache(to, from, (n - head) & ~(size_t)63);
        memcpy(to + ((n - head) & ~(size_t)63), from + ((n - head) & ~(size_t)63), (n - head) & 63);
    }
    static inline void cylosses_finish_stores(void) { _mm_sfence(); }
    /* Four pieces of four elements, of each of which one becomes a piece. */
    static inline void cylosses_turn_4_by_4_of_4_bytes(const char* const* from, char* to, Py_ssize_t stride) {
        __m128 a = _mm_loadu_ps((const float*)from[0]), b = _mm_loadu_ps((const float*)from[1]);
        __m128 c = _mm_loadu_ps((const float*)from[2]), d = _mm_loadu_ps((const float*)from[3]);
        _MM_TRANSPOSE4_PS(a, b, c, d);
        _mm_storeu_ps((float*)to, a); _mm_storeu_ps((float*)(to + stride), b);
        _mm_storeu_ps((float*)(to + 2 * stride), c); _mm_storeu_ps((float*)(to + 3 * stride), d);
    }
    static inline void cylosses_turn_4_by_4_of_8_bytes(const char* const* from, char* to, Py_ssize_t stride) {
        Py_ssize_t k;
        for (k = 0; k < 2; k++) {
            __m128d a = _mm_loadu_pd((const double*)(from[0] + 16 * k)), b = _mm_loadu_pd((const double*)(from[1] + 16 * k));
            __m128d c = _mm_loadu_pd((const double*)(from[2] + 16 * k)), d = _mm_loadu_pd((const double*)(from[3] + 16 * k));
            _mm_storeu_pd((double*)to, _mm_unpacklo_pd(a, b)); _mm_storeu_pd((double*)(to + 16), _mm_unpacklo_pd(c, d));
            to += stride;
            _mm_storeu_pd((double*)to, _mm_unpackhi_pd(a, b)); _mm_storeu_pd((double*)(to + 16), _mm_unpackhi_pd(c, d));
            to += stride;
        }
    }
    static inline void cylosses_turn_4_by_4(const char* const* from, char* to, Py_ssize_t stride, size_t size) {
        if (size == 4) cylosses_turn_4_by_4_of_4_bytes(from, to, stride);
        else cylosses_turn_4_by_4_of_8_bytes(from, to, stride);
    }
    #else
    static inline void cylosses_copy_lines_past_cache(char* to, const void* source, size_t n) { memcpy(to, source, n); }
    static inline void cylosses_copy_past_cache(char* to, const void* source, size_t n) { memcpy(to, source, n); }
    static inline void cylosses_finish_stores(void) { }
    static inline void cylosses_turn_4_by_4(const char* const* from, char* to, Py_ssize_t stride, size_t size) {
        size_t i, k;
        for (k = 0; k < 4; k++)
            for (i = 0; i < 4; i++)
                memcpy(to + k * stride + i * size, from[i] + k * size, size);
    }
    #endif
    /* At least 16 bytes, in pieces of a length that compilers know; the last one may overlap the one before. */
    static inline void cylosses_copy_row(char* to, const char* from, Py_ssize_t n) {
        Py_ssize_t k;
        if (n >= 64) {
            for (k = 0; k + 64 <= n; k += 64) memcpy(to + k, from + k, 64);
            if (k < n) memcpy(to + n - 64, from + n - 64, 64);
        } else {
            for (k = 0; k + 16 <= n; k += 16) memcpy(to + k, from + k, 16);
            if (k < n) memcpy(to + n - 16, from + n - 16, 16);
        }
    }
    """
    void PREFETCH "cylosses_prefetch"(const void* p) noexcept nogil
    void copy_lines_past_cache "cylosses_copy_lines_past_cache"(char* to, const void* source, size_t n) noexcept nogil
    void copy_past_cache "cylosses_copy_past_cache"(char* to, const void* source, size_t n) noexcept nogil
    void finish_stores "cylosses_finish_stores"() noexcept nogil
    void copy_row "cylosses_copy_row"(char* to, const char* source, Py_ssize_t n) noexcept nogil
    void turn_4_by_4 "cylosses_turn_4_by_4"(const char** source, char* to, Py_ssize_t stride, size_t size) noexcept nogil

cdef enum:
    SHORT_RUN = 128         # elements; longer runs of the last dimension are worth a call each
    CACHE_LINE = 64         # bytes
    CHUNK = 64              # elements between two prefetches
    FAR = 512               # bytes between two runs that the hardware does not read ahead over


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
    elif stride == 3 * sizeof(Element):
        take_at(element, source, 3 * sizeof(Element), n, to)
    elif stride == 4 * sizeof(Element):
        take_at(element, source, 4 * sizeof(Element), n, to)
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


# ---- rows: several short runs, one after the other --------------------------------------------------------------------------------

cdef inline bint is_turned(Py_ssize_t row_stride, Py_ssize_t stride, size_t size) noexcept nogil:
    """Whether rows continue each other while the elements of a row lie in cache lines of their own: columns are contiguous."""
    return row_stride == <Py_ssize_t> size and (stride if stride > 0 else -stride) >= CACHE_LINE


cdef inline void prefetch_column(const char* data, Py_ssize_t size) noexcept nogil:
    """Ask for the lines of one block of a column, except for one that it only begins in: the block before has asked for that."""
    cdef Py_ssize_t k
    for k in range((size + CACHE_LINE - 1) // CACHE_LINE):
        PREFETCH(data + size - 1 - k * CACHE_LINE)


cdef inline void turn_some(
    const char* source, Py_ssize_t row, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns, floating* to
) noexcept nogil:
    """Rows row .. rows, one element at a time."""
    cdef Py_ssize_t r, c
    for r in range(row, rows):
        for c in range(columns):
            memcpy(to + r * columns + c, source + c * stride + r * <Py_ssize_t> sizeof(floating), sizeof(floating))


cdef inline void take_few_turned(
    const char* source, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns, Py_ssize_t ahead, floating* to
) noexcept nogil:
    """Two or three columns: the last one is taken twice, and the surplus at the end of each row overwritten by the next row."""
    cdef Py_ssize_t size = sizeof(floating), r = 0, k
    cdef const char* pieces[4]
    while r + 4 < rows:
        for k in range(4):
            pieces[k] = source + (k if k < columns else columns - 1) * stride + r * size
        if ahead and r * size % CACHE_LINE == 0:
            for k in range(columns):
                PREFETCH(pieces[k] + ahead)
        turn_4_by_4(pieces, <char*> (to + r * columns), columns * size, size)
        r += 4
    turn_some(source, r, rows, stride, columns, to)


cdef inline void take_turned(
    const char* source, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns, Py_ssize_t ahead, floating* to
) noexcept nogil:
    """Transpose contiguous columns, in squares that fit registers; the last squares may overlap those before."""
    cdef Py_ssize_t size = sizeof(floating), r, c = 0, k
    cdef const char* pieces[4]
    if columns < 4:
        if columns == 3:
            take_few_turned(source, rows, stride, 3, ahead, to)
        else:
            take_few_turned(source, rows, stride, columns, ahead, to)
        return
    if rows < 4:
        turn_some(source, 0, rows, stride, columns, to)
        return
    while c < columns:
        if ahead:
            for k in range(c, c + 4 if c + 4 < columns else columns):
                prefetch_column(source + k * stride + ahead, rows * size)
        if c > columns - 4:
            c = columns - 4
        r = 0
        while r < rows:
            if r > rows - 4:
                r = rows - 4
            for k in range(4):
                pieces[k] = source + (c + k) * stride + r * size
            turn_4_by_4(pieces, <char*> (to + r * columns + c), columns * size, size)
            r += 4
        c += 4


cdef inline void copy_rows(const char* source, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t columns, floating* to) noexcept nogil:
    """Contiguous rows of the working type."""
    cdef Py_ssize_t _, size = columns * sizeof(floating)
    if size >= 16:
        for _ in range(rows):
            copy_row(<char*> to, source, size)
            source += row_stride
            to += columns
    else:       # up to three elements
        for _ in range(rows):
            memcpy(to, source, size)
            source += row_stride
            to += columns


cdef inline void take_native_rows(
    Element element, const char* source, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns, floating* to
) noexcept nogil:
    cdef Py_ssize_t _, i
    if stride == 0:
        for _ in range(rows):
            load(&element, source, False)
            for i in range(columns):
                to[i] = <floating> element
            source += row_stride
            to += columns
    else:
        for _ in range(rows):
            for i in range(columns):
                load(&element, source + i * stride, False)
                to[i] = <floating> element
            source += row_stride
            to += columns


cdef inline void take_rows(
    const Operand* operand, const char* source, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns,
    Py_ssize_t ahead, floating* to
) noexcept nogil:
    """Native float32 and float64, by far the most frequent, without a call for each row.

    What lies `ahead` bytes behind is asked for (0: nothing) where rows are transposed.
    """
    cdef Py_ssize_t _
    cdef int wanted = FLOAT32 if sizeof(floating) == 4 else FLOAT64
    cdef bint native = not operand.swapped, working = native and operand.storage == wanted
    if working and is_turned(row_stride, stride, sizeof(floating)):
        take_turned(source, rows, stride, columns, ahead, to)
    elif working and stride == sizeof(floating):
        if columns == 4:                # boxes, quaternions, pixels: loops of a length that compilers know
            copy_rows(source, row_stride, rows, 4, to)
        elif columns == 3:
            copy_rows(source, row_stride, rows, 3, to)
        elif columns == 2:
            copy_rows(source, row_stride, rows, 2, to)
        else:
            copy_rows(source, row_stride, rows, columns, to)
    elif working and stride == 0 and columns == 4:
        take_native_rows(<floating> 0, source, row_stride, rows, 0, 4, to)
    elif native and operand.storage == FLOAT32:
        take_native_rows(<float> 0, source, row_stride, rows, stride, columns, to)
    elif native and operand.storage == FLOAT64:
        take_native_rows(<double> 0, source, row_stride, rows, stride, columns, to)
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


cdef inline void put_turned(
    char* target, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns, const floating* source
) noexcept nogil:
    """take_turned() the other way."""
    cdef Py_ssize_t size = sizeof(floating), r, c = 0, k
    cdef const char* pieces[4]
    if rows < 4 or columns < 4:
        for r in range(rows):
            for c in range(columns):
                memcpy(target + c * stride + r * size, source + r * columns + c, size)
        return
    while c < columns:
        if c > columns - 4:
            c = columns - 4
        r = 0
        while r < rows:
            if r > rows - 4:
                r = rows - 4
            for k in range(4):
                pieces[k] = <const char*> (source + (r + k) * columns + c)
            turn_4_by_4(pieces, target + c * stride + r * size, stride, size)
            r += 4
        c += 4


cdef inline void put_rows(
    const Operand* operand, char* target, Py_ssize_t row_stride, Py_ssize_t rows, Py_ssize_t stride, Py_ssize_t columns,
    const floating* source
) noexcept nogil:
    """Several short runs."""
    cdef Py_ssize_t _, i
    if operand.readable and is_turned(row_stride, stride, sizeof(floating)):
        put_turned(target, rows, stride, columns, source)
    elif operand.readable:
        for _ in range(rows):
            for i in range(columns):
                memcpy(target + i * stride, source + i, sizeof(floating))
            target += row_stride
            source += columns
    else:
        for _ in range(rows):
            put_run(operand.storage, target, stride, operand.swapped, columns, source)
            target += row_stride
            source += columns


# ---- blocks of a slice -----------------------------------------------------------------------------------------------------------

cdef struct Place:
    # The position of an element of a slice along each inner dimension.
    Py_ssize_t index[MAX_DIMS]

cdef struct Cursor:
    # A place, and where an operand's element lies there.
    char* data
    Place at


cdef inline char* slice_start(const Job* job, const Operand* operand, Py_ssize_t number) noexcept nogil:
    """The operand's first element in slice `number`."""
    cdef char* data = operand.data
    cdef int k
    for k in range(job.outer - 1, -1, -1):
        data += (number % job.shape[k]) * operand.strides[k]
        number = number // job.shape[k]
    return data


cdef inline void seek(Place* at, const Job* job, Py_ssize_t start) noexcept nogil:
    """Element `start`."""
    cdef int k
    for k in range(job.ndim - 1, job.outer - 1, -1):
        at.index[k] = start % job.shape[k]
        start = start // job.shape[k]


cdef inline void copy_place(const Place* at, const Job* job, Place* to) noexcept nogil:
    cdef int k
    for k in range(job.outer, job.ndim):
        to.index[k] = at.index[k]


cdef inline void skip(Place* at, const Job* job, Py_ssize_t n) noexcept nogil:
    """The place n elements further on. It divides only where a run ends."""
    cdef int k = job.ndim - 1
    at.index[k] += n
    while at.index[k] >= job.shape[k] and k > job.outer:
        n = at.index[k] // job.shape[k]
        at.index[k] -= n * job.shape[k]
        k -= 1
        at.index[k] += n


cdef inline char* locate(const Place* at, const Job* job, const Operand* operand, char* data) noexcept nogil:
    """The operand's element at a place of the slice that begins at data."""
    cdef int k
    for k in range(job.outer, job.ndim):
        data += at.index[k] * operand.strides[k]
    return data


cdef inline void advance(Cursor* cursor, const Job* job, const Operand* operand, Py_ssize_t run) noexcept nogil:
    """Step by a run that ends within the last dimension or at its end."""
    cdef int k = job.ndim - 1
    cursor.at.index[k] += run
    cursor.data += run * operand.strides[k]
    while cursor.at.index[k] == job.shape[k] and k > job.outer:
        cursor.data -= job.shape[k] * operand.strides[k]
        cursor.at.index[k] = 0
        k -= 1
        cursor.at.index[k] += 1
        cursor.data += operand.strides[k]


cdef inline Py_ssize_t run_length(const Place* at, const Job* job, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t left = job.shape[job.ndim - 1] - at.index[job.ndim - 1]
    return n if n < left else left


cdef inline Py_ssize_t rows_ahead(const Place* at, const Job* job, Py_ssize_t n) noexcept nogil:
    """How many whole runs of the last dimension follow one another within n elements, if runs are short."""
    cdef Py_ssize_t rows, left, columns = job.shape[job.ndim - 1]
    if columns > SHORT_RUN or job.ndim - job.outer < 2 or at.index[job.ndim - 1] != 0:
        return 0
    left = job.shape[job.ndim - 2] - at.index[job.ndim - 2]
    rows = n // columns
    return rows if rows < left else left


cdef inline void advance_rows(Cursor* cursor, const Job* job, const Operand* operand, Py_ssize_t rows) noexcept nogil:
    """Step by whole runs of the last dimension that end within the dimension before it or at its end."""
    cursor.at.index[job.ndim - 2] += rows - 1
    cursor.data += (rows - 1) * operand.strides[job.ndim - 2]
    advance(cursor, job, operand, job.shape[job.ndim - 1])


cdef inline bint has_far_runs(const Job* job, const Operand* operand) noexcept nogil:
    """Whether runs of the last dimension fill several cache lines, with gaps too wide for the hardware to read on by itself."""
    cdef Py_ssize_t stride = operand.strides[job.ndim - 1], size = job.shape[job.ndim - 1] * stride, row_stride
    if job.ndim - job.outer < 2 or size < FAR or stride >= CACHE_LINE:
        return False
    row_stride = operand.strides[job.ndim - 2]
    return (row_stride if row_stride > 0 else -row_stride) >= size + FAR


cdef inline void gather(
    const Job* job, const Operand* operand, char* data, const Place* here, const Place* next, Py_ssize_t n, floating* to
) noexcept nogil:
    """Copy n elements of the slice that begins at data, and ask for as many at the next place (NULL: for none) where that helps."""
    cdef Cursor cursor
    cdef Place there
    cdef Py_ssize_t run, rows, ahead = 0
    cdef int last = job.ndim - 1
    cdef bint far = next is not NULL and has_far_runs(job, operand)
    copy_place(here, job, &cursor.at)
    cursor.data = locate(here, job, operand, data)
    if next is not NULL:
        copy_place(next, job, &there)
        ahead = locate(next, job, operand, data) - cursor.data
    while n:
        rows = rows_ahead(&cursor.at, job, n)
        if rows > 1 and not far:
            run = rows * job.shape[last]
            take_rows(
                operand, cursor.data, operand.strides[last - 1], rows, operand.strides[last], job.shape[last], ahead, to
            )
            advance_rows(&cursor, job, operand, rows)
        else:
            run = run_length(&cursor.at, job, n)
            if far:
                run = run_length(&there, job, CHUNK if CHUNK < run else run)
                prefetch(locate(&there, job, operand, data), run * operand.strides[last])
                skip(&there, job, run)
            take_run(operand.storage, cursor.data, operand.strides[last], operand.swapped, run, to)
            advance(&cursor, job, operand, run)
        to += run
        n -= run


# ---- differences of integers -----------------------------------------------------------------------------------------------------

cdef inline bint is_integer(int storage) noexcept nogil:
    return storage not in (FLOAT32, FLOAT64, FLOAT16, BFLOAT16)


cdef inline bint is_wide_integer(int storage) noexcept nogil:
    """Whether not all such integers are float64 numbers."""
    return storage in (INT64, UINT64)


cdef inline bint has_wide_integers(const Job* job) noexcept nogil:
    """Whether the inputs are to be subtracted as integers: both are, and as float64 they may be rounded."""
    return (
        is_integer(job.input.storage) and is_integer(job.target.storage)
        and (is_wide_integer(job.input.storage) or is_wide_integer(job.target.storage))
    )


cdef inline void gather_words(
    const Job* job, const Operand* operand, char* data, const Place* here, const Place* next, Py_ssize_t n, double* to
) noexcept nogil:
    """gather() of integers as words of 64 bits, which lie in `to` as if they were float64."""
    cdef Operand words = operand[0]
    cdef Bits64 word
    cdef Py_ssize_t i
    if is_wide_integer(operand.storage):
        words.storage = FLOAT64         # moved, not converted
        gather(job, &words, data, here, next, n, to)
    else:
        gather(job, operand, data, here, next, n, to)
        for i in range(n):
            word.i = <int64_t> to[i]
            to[i] = word.f


cdef inline double high_half(double bits, bint is_signed) noexcept nogil:
    cdef Bits64 word
    word.f = bits
    return <double> (word.i >> 32) if is_signed else <double> <int64_t> (<uint64_t> word.i >> 32)


cdef inline double low_half(double bits) noexcept nogil:
    cdef Bits64 word
    word.f = bits
    return <double> (word.i & LOW_32)


cdef inline void gather_differences(
    const Job* job, char* input_data, char* target_data, const Place* here, const Place* next, Py_ssize_t n, floating* differences,
    floating* zeros
) noexcept nogil:
    """Input - target of integers, rounded once, and zeros, from which loops over a loss make the same differences again.

    The differences of the upper and of the lower halves of two words are exact, and so is 2**32 times the former.
    """
    cdef Py_ssize_t i
    cdef bint input_signed = job.input.storage != UINT64, target_signed = job.target.storage != UINT64
    cdef double high
    if floating is double:              # integers alone are never computed in float32
        gather_words(job, &job.input, input_data, here, next, n, differences)
        gather_words(job, &job.target, target_data, here, next, n, zeros)
        for i in range(n):
            high = high_half(differences[i], input_signed) - high_half(zeros[i], target_signed)
            differences[i] = high * 4294967296.0 + (low_half(differences[i]) - low_half(zeros[i]))
            zeros[i] = 0


cdef inline bint has_direct_runs(const Job* job, const Operand* operand) noexcept nogil:
    """Whether each run of the last dimension can be read in place."""
    return operand.readable and operand.strides[job.ndim - 1] == (4 if job.single else 8)


cdef inline bint has_turned_rows(const Job* job, const Operand* operand) noexcept nogil:
    """Whether blocks of the operand are transposed."""
    return job.ndim - job.outer >= 2 and job.shape[job.ndim - 1] <= SHORT_RUN and is_turned(
        operand.strides[job.ndim - 2], operand.strides[job.ndim - 1], 4 if job.single else 8
    )


cdef inline void scatter(
    const Job* job, const Operand* operand, char* data, Py_ssize_t start, const Place* here, Py_ssize_t n, const floating* source
) noexcept nogil:
    """Copy n elements from element `start` on, which lies at the place `here`."""
    cdef Cursor cursor
    cdef Py_ssize_t run, rows
    cdef int last = job.ndim - 1
    if operand.direct:
        if job.bypass_cache:
            copy_past_cache(data + start * <Py_ssize_t> sizeof(floating), source, n * sizeof(floating))
        else:
            memcpy(data + start * <Py_ssize_t> sizeof(floating), source, n * sizeof(floating))
        return
    copy_place(here, job, &cursor.at)
    cursor.data = locate(here, job, operand, data)
    while n:
        rows = rows_ahead(&cursor.at, job, n)
        if rows > 1:
            run = rows * job.shape[last]
            put_rows(operand, cursor.data, operand.strides[last - 1], rows, operand.strides[last], job.shape[last], source)
            advance_rows(&cursor, job, operand, rows)
        else:
            run = run_length(&cursor.at, job, n)
            put_run(operand.storage, cursor.data, operand.strides[last], operand.swapped, run, source)
            advance(&cursor, job, operand, run)
        source += run
        n -= run
