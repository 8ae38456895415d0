# Loops over blocks keep LANES independent partial results, which compilers turn into vector registers.

cdef extern from *:
    """
    #include <math.h>
    /* a + b, as a fused multiply-add where there is one: it runs on the multipliers, and the adders are what these loops wait for.
       `one` is 1.0 in a variable, since compilers would make an addition of a constant. */
    #if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    #define CYLOSSES_ADD_BY_FMA(a, one, b) fma(a, one, b)
    #else
    #define CYLOSSES_ADD_BY_FMA(a, one, b) ((a) + (b))
    #endif
    static const volatile double cylosses_one = 1;
    """
    double add_by_fma "CYLOSSES_ADD_BY_FMA"(double a, double one, double b) noexcept nogil
    const double ONE "cylosses_one"

cdef enum:
    LANES = 32              # gcc unrolls loops of 16 early, and then they stay scalar


cdef inline double greater(double a, double b) noexcept nogil:
    return a if a > b else b


cdef inline double lesser(double a, double b) noexcept nogil:
    return a if a < b else b


cdef inline void fold(double* lanes) noexcept nogil:
    """Leave the sum of all lanes in the first."""
    cdef int j
    for j in range(4):
        lanes[j] = (
            ((lanes[j] + lanes[j + 4]) + (lanes[j + 8] + lanes[j + 12]))
            + ((lanes[j + 16] + lanes[j + 20]) + (lanes[j + 24] + lanes[j + 28]))
        )
    lanes[0] = (lanes[0] + lanes[1]) + (lanes[2] + lanes[3])


cdef inline double greatest(double* lanes) noexcept nogil:
    """The greatest of all lanes, which are overwritten."""
    cdef int j
    for j in range(4):
        lanes[j] = greater(
            greater(greater(lanes[j], lanes[j + 4]), greater(lanes[j + 8], lanes[j + 12])),
            greater(greater(lanes[j + 16], lanes[j + 20]), greater(lanes[j + 24], lanes[j + 28])),
        )
    return greater(greater(lanes[0], lanes[1]), greater(lanes[2], lanes[3]))


cdef inline double least_of(double* lanes) noexcept nogil:
    """The least of all lanes, which are overwritten."""
    cdef int j
    for j in range(4):
        lanes[j] = lesser(
            lesser(lesser(lanes[j], lanes[j + 4]), lesser(lanes[j + 8], lanes[j + 12])),
            lesser(lesser(lanes[j + 16], lanes[j + 20]), lesser(lanes[j + 24], lanes[j + 28])),
        )
    return lesser(lesser(lanes[0], lanes[1]), lesser(lanes[2], lanes[3]))


cdef inline Py_ssize_t whole_lanes(Py_ssize_t n) noexcept nogil:
    """n, rounded up to a multiple of LANES."""
    return (n + LANES - 1) // LANES * LANES
