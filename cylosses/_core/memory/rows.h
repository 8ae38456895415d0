/* Short rows: copies, and the transposition of four by four elements in registers. */

#ifndef CYLOSSES_ROWS_H
#define CYLOSSES_ROWS_H

#include <Python.h>
#include <string.h>

/* A row of n >= 16 bytes, in pieces of a length that compilers know; the last one may overlap the one before. */
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

/* from[i] points to four neighbouring elements; element k of them becomes element i of the row at to + k * stride. */
#if defined(__SSE2__)
#include <immintrin.h>

static inline void cylosses_transpose_4_by_4_of_4_bytes(const char* const* from, char* to, Py_ssize_t stride) {
    __m128 a = _mm_loadu_ps((const float*)from[0]), b = _mm_loadu_ps((const float*)from[1]);
    __m128 c = _mm_loadu_ps((const float*)from[2]), d = _mm_loadu_ps((const float*)from[3]);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps((float*)to, a);
    _mm_storeu_ps((float*)(to + stride), b);
    _mm_storeu_ps((float*)(to + 2 * stride), c);
    _mm_storeu_ps((float*)(to + 3 * stride), d);
}

/* In two halves: a register of SSE2 holds two elements. */
static inline void cylosses_transpose_4_by_4_of_8_bytes(const char* const* from, char* to, Py_ssize_t stride) {
    Py_ssize_t k;
    for (k = 0; k < 2; k++) {
        __m128d a = _mm_loadu_pd((const double*)(from[0] + 16 * k)), b = _mm_loadu_pd((const double*)(from[1] + 16 * k));
        __m128d c = _mm_loadu_pd((const double*)(from[2] + 16 * k)), d = _mm_loadu_pd((const double*)(from[3] + 16 * k));
        _mm_storeu_pd((double*)to, _mm_unpacklo_pd(a, b));
        _mm_storeu_pd((double*)(to + 16), _mm_unpacklo_pd(c, d));
        to += stride;
        _mm_storeu_pd((double*)to, _mm_unpackhi_pd(a, b));
        _mm_storeu_pd((double*)(to + 16), _mm_unpackhi_pd(c, d));
        to += stride;
    }
}

static inline void cylosses_transpose_4_by_4(const char* const* from, char* to, Py_ssize_t stride, size_t size) {
    if (size == 4) cylosses_transpose_4_by_4_of_4_bytes(from, to, stride);
    else cylosses_transpose_4_by_4_of_8_bytes(from, to, stride);
}

#else

static inline void cylosses_transpose_4_by_4(const char* const* from, char* to, Py_ssize_t stride, size_t size) {
    size_t i, k;
    for (k = 0; k < 4; k++)
        for (i = 0; i < 4; i++) memcpy(to + k * stride + i * size, from[i] + k * size, size);
}

#endif
#endif
