# Whether arrays overlap in memory: what call.pyx, the C level and the views all ask before they write.

cdef struct Extent:
    # The memory from the first to behind the last element of an array; nothing of an empty one.
    const char* first
    const char* end


cdef inline Extent extent_of_bytes(const void* data, size_t size) noexcept nogil:
    """The extent of a contiguous array of so many bytes."""
    cdef Extent extent
    extent.first = <const char*> data
    extent.end = extent.first + size
    return extent


cdef inline bint overlap(Extent a, Extent b) noexcept nogil:
    """Whether two extents meet. If not, writing to one array leaves the other as it is."""
    return a.first < b.end and b.first < a.end and a.first < a.end and b.first < b.end
