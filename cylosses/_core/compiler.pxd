# What compilers are told of functions, by the type that they return: Cython has no other place for attributes.

cdef extern from "compiler.h":
    ctypedef void outlined "CYLOSSES_OUTLINED void"
    ctypedef void rare "CYLOSSES_RARE void"
