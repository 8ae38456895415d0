# The caches: prefetches, and stores past them.
#
# What is prefetched, and what is not: hardware reads on by itself along any contiguous stretch, and across gaps of a few lines,
# with more lines in flight than a core can ask for; prefetching those lines too makes it slower. It does not read on over wide
# gaps, and not along the many columns of a transposition at once: those are prefetched one block ahead.

cdef extern from "memory/streaming.h":
    void prefetch_line "cylosses_prefetch"(const void* p) noexcept nogil
    void copy_lines_past_cache "cylosses_copy_lines_past_cache"(char* to, const void* source, size_t n) noexcept nogil
    void copy_past_cache "cylosses_copy_past_cache"(char* to, const void* source, size_t n) noexcept nogil
    void fence_stores "cylosses_fence_stores"() noexcept nogil

cdef enum:
    CACHE_LINE = 64         # bytes


cdef inline void prefetch(const char* data, Py_ssize_t size) noexcept nogil:
    """Ask for the cache lines of `size` bytes."""
    cdef Py_ssize_t k
    for k in range((size + CACHE_LINE - 1) // CACHE_LINE):
        prefetch_line(data + k * CACHE_LINE)


cdef inline void prefetch_column(const char* data, Py_ssize_t size) noexcept nogil:
    """Ask for the lines of one block of a column, except for one that it only begins in, which the block before has asked for."""
    cdef Py_ssize_t k
    for k in range((size + CACHE_LINE - 1) // CACHE_LINE):
        prefetch_line(data + size - 1 - k * CACHE_LINE)
