/* The caches: prefetches, and stores past them. */

#ifndef CYLOSSES_STREAMING_H
#define CYLOSSES_STREAMING_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <immintrin.h>
#endif

/* Asks for the cache line at p. gcc takes a prefetch for something without effect, and drops calls of functions that do nothing
   else: the empty assembly keeps them. */
static inline void cylosses_prefetch(const void* p) {
#if defined(__GNUC__)
    __builtin_prefetch(p, 0, 2);
    __asm__ volatile ("");
#endif
}

#if defined(__SSE2__)

/* One cache line of 64 bytes, to an address that is a multiple of 64, by non-temporal stores: a plain store would first read the
   line that it overwrites. */
static inline void cylosses_stream_line(char* to, const char* from) {
#if defined(__AVX512F__)
    _mm512_stream_si512((__m512i*)to, _mm512_loadu_si512(from));
#elif defined(__AVX__)
    _mm256_stream_si256((__m256i*)to, _mm256_loadu_si256((const __m256i*)from));
    _mm256_stream_si256((__m256i*)to + 1, _mm256_loadu_si256((const __m256i*)from + 1));
#else
    _mm_stream_si128((__m128i*)to, _mm_loadu_si128((const __m128i*)from));
    _mm_stream_si128((__m128i*)to + 1, _mm_loadu_si128((const __m128i*)from + 1));
    _mm_stream_si128((__m128i*)to + 2, _mm_loadu_si128((const __m128i*)from + 2));
    _mm_stream_si128((__m128i*)to + 3, _mm_loadu_si128((const __m128i*)from + 3));
#endif
}

/* n bytes, whole lines, to an address that is a multiple of 64. */
static inline void cylosses_copy_lines_past_cache(char* to, const void* source, size_t n) {
    const char* from = (const char*)source;
    size_t k;
    for (k = 0; k < n; k += 64) cylosses_stream_line(to + k, from + k);
}

/* n bytes to any address: what is no whole line goes through the cache. */
static inline void cylosses_copy_past_cache(char* to, const void* source, size_t n) {
    const char* from = (const char*)source;
    size_t head = (size_t)(-(uintptr_t)to & 63u), lines;
    if (head > n) head = n;
    memcpy(to, from, head);
    to += head;
    from += head;
    lines = (n - head) & ~(size_t)63;
    cylosses_copy_lines_past_cache(to, from, lines);
    memcpy(to + lines, from + lines, (n - head) & 63);
}

/* Makes non-temporal stores visible to other threads before anything that is stored later. */
static inline void cylosses_fence_stores(void) { _mm_sfence(); }

#else

static inline void cylosses_copy_lines_past_cache(char* to, const void* source, size_t n) { memcpy(to, source, n); }
static inline void cylosses_copy_past_cache(char* to, const void* source, size_t n) { memcpy(to, source, n); }
static inline void cylosses_fence_stores(void) { }

#endif
#endif
