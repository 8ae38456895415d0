# NumPy's dtypes and what the loops call storage.

cimport numpy as cnp

from cylosses._core.job cimport (
    BFLOAT16, FLOAT16, FLOAT32, FLOAT64, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64,
)

cdef extern from "numpy/arrayobject.h":
    object scalar_from "PyArray_Scalar"(void* data, cnp.PyArray_Descr* dtype, object base)

cdef enum:
    WEAK = -1               # the storage of a Python number, which has no width of its own, as in NumPy 2


cdef inline int storage_in(cnp.ndarray array) except? -1:
    """storage_of() of an array's dtype."""
    cdef int number = cnp.PyArray_TYPE(array)
    if number == cnp.NPY_FLOAT32:
        return FLOAT32
    return FLOAT64 if number == cnp.NPY_FLOAT64 else storage_of(array.dtype)


cdef inline int storage_of(cnp.dtype dtype) except? -1:
    """How elements of this dtype lie in memory; -1 for those that no loop reads."""
    cdef int number = dtype.type_num
    cdef Py_ssize_t size = dtype.itemsize
    if number == cnp.NPY_FLOAT32:
        return FLOAT32
    if number == cnp.NPY_FLOAT64:
        return FLOAT64
    if number == cnp.NPY_FLOAT16:
        return FLOAT16
    if number == cnp.NPY_BOOL:
        return UINT8
    if cnp.NPY_BYTE <= number <= cnp.NPY_ULONGLONG:
        if dtype.kind == c"u":
            return UINT8 if size == 1 else UINT16 if size == 2 else UINT32 if size == 4 else UINT64
        return INT8 if size == 1 else INT16 if size == 2 else INT32 if size == 4 else INT64
    return BFLOAT16 if number > cnp.NPY_FLOAT16 and dtype.name == "bfloat16" else -1


cdef inline int wider(int a, int b) noexcept nogil:
    """The storage of results of two operands: the wider float; float64 for integers and Python numbers alone."""
    cdef int width_a = float_width(a), width_b = float_width(b)
    if width_a == 0 and width_b == 0:
        return FLOAT64
    if width_a == width_b:
        return a if a == b else FLOAT32         # float16 with bfloat16: neither holds the other
    return a if width_a > width_b else b


cdef inline int float_width(int storage) noexcept nogil:
    """Bytes of a floating-point number; 0 for other storages."""
    if storage == FLOAT32:
        return 4
    if storage == FLOAT64:
        return 8
    return 2 if storage == FLOAT16 or storage == BFLOAT16 else 0


cdef inline cnp.dtype dtype_of(int storage):
    """The dtype of results of this storage."""
    if storage == BFLOAT16:
        return cnp.dtype("bfloat16")            # NumPy knows the name: ml_dtypes, from which such arrays come, is loaded
    return cnp.PyArray_DescrFromType(
        cnp.NPY_FLOAT32 if storage == FLOAT32 else cnp.NPY_FLOAT64 if storage == FLOAT64 else cnp.NPY_FLOAT16
    )


cdef inline object scalar_of(int storage, void* data):
    """The number at this address as a NumPy scalar."""
    cdef cnp.dtype dtype = dtype_of(storage)
    return scalar_from(data, <cnp.PyArray_Descr*> dtype, None)
