# ALL the maths: per loss a struct of parameters, a constructor, and value, derivative and second derivative of one residual.
#
# Decisions, with their reasons:
# (a) A loss is a C struct, and Cython specialises every function below for each struct and each float type at compile time (a "fused"
#     type). So a formula is written once and costs no function pointer per element.
# (b) Everything is computed in the element's own type and in one fixed order, without libm beyond sqrt: the bits are the same on every
#     instruction set. The build forbids fused multiply-add contraction and fast-math for the same reason.
# (c) Branches select between finished values (`a if condition else b` without side effects), so that compilers turn loops over these
#     functions into vector code.
# (d) Comparisons are written so that NaN falls through to an expression that keeps it.
# (e) No square of a residual is formed on its own: it would underflow or overflow where the loss does not.
# (f) Parameters are held in double, already rounded to the working type (`dispatch` does that), so the casts below are exact.

from cython cimport floating
from libc.math cimport fabs, fabsf


cdef enum LossCode:
    # The rows of the dispatch table in passes.pyx; losses.py names them.
    SMOOTH_L1 = 0
    L1 = 1


cdef struct AbsoluteError:
    double unused       # C has no empty structs


cdef struct SmoothL1:
    double beta
    double half_beta    # 0 for beta = inf, so that an infinite error still gives inf


ctypedef fused Loss:
    AbsoluteError
    SmoothL1


cdef inline floating magnitude(floating d) noexcept nogil:
    if floating is float:
        return fabsf(d)
    else:
        return fabs(d)


cdef inline AbsoluteError make_l1() noexcept nogil:
    cdef AbsoluteError loss
    loss.unused = 0
    return loss


cdef inline SmoothL1 make_smooth_l1(double beta) noexcept nogil:
    """For beta > 0; beta == 0 is the absolute error, which the dispatch table picks."""
    cdef SmoothL1 loss
    loss.beta = beta
    loss.half_beta = 0.5 * beta if beta <= 1.7976931348623157e308 else 0.0
    return loss


# smooth L1 (Girshick 2015), z = |d|:     z < beta:  (0.5 z) (z / beta)   derivative  d / beta     second  1 / beta
#                                         else:      z - 0.5 beta                     sign(d)              0
# L1:                                     always:    z                                sign(d)              0

cdef inline floating value(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating beta
    if Loss is SmoothL1:
        beta = <floating> loss.beta
        # Halving z is exact where it matters; halving z / beta would cost up to 3 ulp among the subnormals.
        return <floating> 0.5 * z * (z / beta) if z < beta else z - <floating> loss.half_beta
    else:
        return z


cdef inline floating derivative(Loss loss, floating d) noexcept nogil:
    cdef floating beta
    if Loss is SmoothL1:
        beta = <floating> loss.beta
        return <floating> 1 if d >= beta else (<floating> -1 if d <= -beta else d / beta)
    else:
        return <floating> 1 if d > 0 else (<floating> -1 if d < 0 else d)


cdef inline floating second_derivative(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating beta
    if Loss is SmoothL1:
        beta = <floating> loss.beta
        return <floating> 1 / beta if z < beta else (<floating> 0 if z >= beta else z)
    else:
        return <floating> 0 if z >= 0 else z
