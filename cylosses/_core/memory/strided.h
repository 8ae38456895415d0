/* Copies of elements at any stride, of which only the size matters. */

#ifndef CYLOSSES_STRIDED_H
#define CYLOSSES_STRIDED_H

#include <Python.h>
#include <stdint.h>
#include <string.h>

#include "compiler.h"

#if defined(_MSC_VER)
#include <stdlib.h>
#define CYLOSSES_SWAPPED_16(word) _byteswap_ushort(word)
#define CYLOSSES_SWAPPED_32(word) _byteswap_ulong(word)
#define CYLOSSES_SWAPPED_64(word) _byteswap_uint64(word)
#else
#define CYLOSSES_SWAPPED_16(word) __builtin_bswap16(word)
#define CYLOSSES_SWAPPED_32(word) __builtin_bswap32(word)
#define CYLOSSES_SWAPPED_64(word) __builtin_bswap64(word)
#endif

#define CYLOSSES_COPY_WORD(type, converted) \
    do { \
        type word; \
        memcpy(&word, from, sizeof word); \
        word = converted; \
        memcpy(to, &word, sizeof word); \
        from += from_stride; \
        to += to_stride; \
    } while (0)

#define CYLOSSES_COPY_WORDS(type, converted) \
    do { \
        for (; n >= 4; n -= 4) { \
            CYLOSSES_COPY_WORD(type, converted); \
            CYLOSSES_COPY_WORD(type, converted); \
            CYLOSSES_COPY_WORD(type, converted); \
            CYLOSSES_COPY_WORD(type, converted); \
        } \
        for (; n > 0; n--) CYLOSSES_COPY_WORD(type, converted); \
    } while (0)

/* n elements of 1, 2, 4 or 8 bytes, whose bytes are swapped if that is asked. Small rather than fast: vector code for each size and
   order would be 15 kB of each build. */
CYLOSSES_RARE static void cylosses_copy_elements(
    const char* from, Py_ssize_t from_stride, char* to, Py_ssize_t to_stride, Py_ssize_t size, int swapped, Py_ssize_t n
) {
    if (size == 1) CYLOSSES_COPY_WORDS(uint8_t, word);
    else if (size == 2 && swapped) CYLOSSES_COPY_WORDS(uint16_t, CYLOSSES_SWAPPED_16(word));
    else if (size == 2) CYLOSSES_COPY_WORDS(uint16_t, word);
    else if (size == 4 && swapped) CYLOSSES_COPY_WORDS(uint32_t, CYLOSSES_SWAPPED_32(word));
    else if (size == 4) CYLOSSES_COPY_WORDS(uint32_t, word);
    else if (swapped) CYLOSSES_COPY_WORDS(uint64_t, CYLOSSES_SWAPPED_64(word));
    else CYLOSSES_COPY_WORDS(uint64_t, word);
}

#endif
