# ALL the maths: per loss a struct of parameters, a constructor, and four functions of one residual: value, derivative, second
# derivative, and the IRLS weight psi(d)/d that bounds the curvature from above.
#
# Decisions, with their reasons:
# (a) A loss is a C struct, and Cython specialises every function below for each struct and each float type at compile time (a "fused"
#     type). So a formula is written once and costs no function pointer per element.
# (b) Everything is computed in the element's own type and in one fixed order, without libm beyond sqrt: the bits are the same on every
#     instruction set. The build forbids fused multiply-add contraction and fast-math for the same reason.
# (c) Branches select between finished values (`a if condition else b` without side effects), so that compilers turn loops over these
#     functions into vector code.
# (d) Comparisons are written so that NaN falls through to an expression that keeps it.
# (e) No square of a residual is formed where it could underflow or overflow although the loss does not.
# (f) Parameters are held in double, already rounded to the working type (passes.pyx does that), so the casts below are exact. What is
#     subtracted from an infinite error is 0 where the parameter is infinite too, so that the loss is infinite and not NaN.

from cython cimport floating
from libc.math cimport fabs, fabsf, sqrt, sqrtf

from cylosses._kernels.exact cimport FRACTION, Bits64, exponent, power_of_two


cdef extern from "cylosses.h":
    cdef enum LossCode "cylosses_loss":
        # The rows of the dispatch table in passes.pyx; losses.py names them. Their numbers are part of the C interface.
        SMOOTH_L1 "CYLOSSES_SMOOTH_L1"
        L1 "CYLOSSES_L1"
        MSE "CYLOSSES_MSE"
        HUBER "CYLOSSES_HUBER"
        TUKEY "CYLOSSES_TUKEY"
        QUANTILE "CYLOSSES_QUANTILE"
        EPSILON_INSENSITIVE "CYLOSSES_EPSILON_INSENSITIVE"
        PSEUDO_HUBER "CYLOSSES_PSEUDO_HUBER"
        CHARBONNIER "CYLOSSES_CHARBONNIER"

cdef inline bint is_costly(int loss) noexcept nogil:
    """Whether divisions or roots make a loss take twice as long as the others: what the choice of threads asks."""
    return loss == TUKEY or loss == PSEUDO_HUBER or loss == CHARBONNIER


cdef enum:
    IRLS_CAP = 1048576      # largest IRLS weight of losses with a kink, where psi(d)/d is unbounded; losses.py documents it


cdef struct AbsoluteError:
    double unused           # C has no empty structs

cdef struct SquaredError:
    double unused

cdef struct SmoothL1:
    double beta
    double half_beta

cdef struct SmoothL1PowerOfTwo:
    # beta a power of two, as the default is: z / beta is a product, with the same bits in less time.
    double beta
    double half_beta
    double inverse

cdef struct Huber:
    double delta
    double half_delta

cdef struct Tukey:
    double c
    double sixth            # c / 6
    double saturation       # the loss of errors beyond c

cdef struct Quantile:
    double below            # factor of |d| where the prediction is too low: q
    double above            # where it is too high: 1 - q

cdef struct EpsilonInsensitive:
    double epsilon
    double subtracted

cdef struct PseudoHuber:
    double delta
    double subtracted

cdef struct Charbonnier:
    double eps


ctypedef fused Loss:
    AbsoluteError
    SquaredError
    SmoothL1
    SmoothL1PowerOfTwo
    Huber
    Tukey
    Quantile
    EpsilonInsensitive
    PseudoHuber
    Charbonnier


# ---- constructors ----------------------------------------------------------------------------------------------------------------

cdef inline double finite_or_zero(double v) noexcept nogil:
    return v if v <= 1.7976931348623157e308 else 0.0


cdef inline AbsoluteError make_l1() noexcept nogil:
    cdef AbsoluteError loss
    loss.unused = 0
    return loss


cdef inline SquaredError make_mse() noexcept nogil:
    cdef SquaredError loss
    loss.unused = 0
    return loss


cdef inline SmoothL1 make_smooth_l1(double beta) noexcept nogil:
    """For beta > 0; beta == 0 is the absolute error, which the dispatch table picks."""
    cdef SmoothL1 loss
    loss.beta = beta
    loss.half_beta = 0.5 * finite_or_zero(beta)
    return loss


cdef inline bint has_exact_inverse(double beta, bint single) noexcept nogil:
    """Whether 1 / beta is a normal number of the working type and exact."""
    cdef double most = 8.507059173023462e37 if single else 4.49423283715579e307      # 2**126, 2**1021
    cdef Bits64 b
    b.f = beta
    return not b.i & FRACTION and 1 / most <= beta <= most


cdef inline SmoothL1PowerOfTwo make_smooth_l1_power_of_two(double beta) noexcept nogil:
    cdef SmoothL1PowerOfTwo loss
    loss.beta = beta
    loss.half_beta = 0.5 * beta
    loss.inverse = power_of_two(-exponent(beta))        # a division takes as long as a small part of a block
    return loss


cdef inline Huber make_huber(double delta) noexcept nogil:
    cdef Huber loss
    loss.delta = delta
    loss.half_delta = 0.5 * finite_or_zero(delta)
    return loss


cdef inline Tukey make_tukey(double c) noexcept nogil:
    cdef Tukey loss
    loss.c = c
    loss.sixth = c / 6
    loss.saturation = c * (c / 6)
    return loss


cdef inline Quantile make_quantile(double q) noexcept nogil:
    cdef Quantile loss
    loss.below = q
    loss.above = 1 - q
    return loss


cdef inline EpsilonInsensitive make_epsilon_insensitive(double epsilon) noexcept nogil:
    cdef EpsilonInsensitive loss
    loss.epsilon = epsilon
    loss.subtracted = finite_or_zero(epsilon)
    return loss


cdef inline PseudoHuber make_pseudo_huber(double delta) noexcept nogil:
    cdef PseudoHuber loss
    loss.delta = delta
    loss.subtracted = finite_or_zero(delta)
    return loss


cdef inline Charbonnier make_charbonnier(double eps) noexcept nogil:
    cdef Charbonnier loss
    loss.eps = eps
    return loss


# ---- helpers ---------------------------------------------------------------------------------------------------------------------

cdef inline floating magnitude(floating d) noexcept nogil:
    if floating is float:
        return fabsf(d)
    else:
        return fabs(d)


cdef inline floating root(floating v) noexcept nogil:
    if floating is float:
        return sqrtf(v)
    else:
        return sqrt(v)


cdef inline floating far(floating d) noexcept nogil:
    """From this t on, sqrt(1 + t**2) is t to the last bit."""
    if floating is float:
        return 16384
    else:
        return 1073741824


cdef inline floating sign(floating d) noexcept nogil:
    """-1, 1, or d itself where it is 0 or NaN."""
    return <floating> 1 if d > 0 else (<floating> -1 if d < 0 else d)


cdef inline floating over_beta(Loss loss, floating d) noexcept nogil:
    """d / beta of smooth L1."""
    if Loss is SmoothL1PowerOfTwo:
        return d * <floating> loss.inverse
    elif Loss is SmoothL1:
        return d / <floating> loss.beta
    else:
        return 0


cdef inline floating hypotenuse_ratio(floating a, floating b) noexcept nogil:
    """sqrt(a² + b²) over the larger of a, b > 0; NaN if a is."""
    cdef floating r = b / a if a > b else a / b
    return root(<floating> 1 + r * r)


cdef inline floating tukey_taper(floating c, floating z) noexcept nogil:
    """1 - (z/c)**2 for z <= c: without cancellation close to c, where it is r (2 - r) with r = (c - z) / c."""
    cdef floating q = z / c
    cdef floating r = (c - z) / c
    return <floating> 1 - q * q if q < <floating> 0.5 else r * (<floating> 2 - r)


cdef inline floating tukey_weight(floating c, floating z) noexcept nogil:
    """The taper squared: far from c, 1 - u (2 - u) with u = (z/c)**2 has fewer roundings that count."""
    cdef floating q = z / c
    cdef floating t = tukey_taper(c, z)
    return <floating> 1 - q * q * (<floating> 2 - q * q) if q < <floating> 0.45 else t * t


# ---- the formulas ----------------------------------------------------------------------------------------------------------------
#
# z = |d|                condition        value                       derivative        second         IRLS weight
#
# L1                                      z                           sign(d)           0              1 / z, capped
# MSE                                     d²                          2 d               2              2
# smooth L1 (beta)       z < beta:        (z/2) (z / beta)            d / beta          1 / beta       1 / beta
#                        else:            z - beta/2                  sign(d)           0              1 / z
# Huber (delta)          z < delta:       z²/2                        d                 1              1
#                        else:            delta (z - delta/2)         delta sign(d)     0              delta / z
# Tukey (c)              z < c:           c²/6 (1 - w³)               d w²              w (5w - 4)     w²
#   w = 1 - (z/c)²       else:            c²/6                        0                 0              0
# quantile (q)           d < 0:           q z                         -q                0              q / z, capped
#                        d > 0:           (1 - q) z                   1 - q             0              (1 - q) / z, capped
# epsilon-insensitive    z <= epsilon:    0                           0                 0              0
#                        else:            z - epsilon                 sign(d)           0              1 / z, capped
# pseudo-Huber (delta)   t = z / delta,   s = sqrt(1 + t²):
#                                         z² / (1 + s)                d / s             1 / s³         1 / s
# Charbonnier (eps)      m = max(z, eps), s = sqrt(1 + (min(z, eps) / m)²):
#                                         m s                         (d / m) / s       (eps/m)²/m/s³  1 / s / m
#
# Sources: smooth L1: Girshick 2015. Huber 1964. Tukey: Beaton and Tukey 1974. Quantile: Koenker and Bassett 1978. Epsilon-insensitive:
# Vapnik 1995. Pseudo-Huber and Charbonnier: Charbonnier et al. 1994.

cdef inline floating clipped(floating v, floating most) noexcept nogil:
    """v between -most and most, NaN as it is; each comparison is one instruction."""
    v = most if most < v else v
    return -most if -most > v else v


cdef inline floating value(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating p, t, w
    if Loss is SmoothL1 or Loss is SmoothL1PowerOfTwo:
        # Halving z is exact where it matters; halving z / beta would cost up to 3 ulp among the subnormals.
        p = <floating> loss.beta
        return <floating> 0.5 * z * over_beta(loss, z) if z < p else z - <floating> loss.half_beta
    elif Loss is AbsoluteError:
        return z
    elif Loss is SquaredError:
        return d * d
    elif Loss is Huber:
        p = <floating> loss.delta
        return <floating> 0.5 * z * z if z < p else p * (z - <floating> loss.half_delta)
    elif Loss is Tukey:
        # Each form where its roundings count least; c²/6 is not formed on its own, it may overflow where the loss does not.
        p = <floating> loss.c
        t = z / p
        t = t * t
        t = z * (z * (<floating> 0.5 - t * (<floating> 0.5 - t * <floating> (1.0 / 6.0))))
        w = tukey_taper(p, z)
        w = p * (<floating> loss.sixth * (<floating> 1 - w * w * w))
        return <floating> loss.saturation if z >= p else (t if z < <floating> 0.66 * p else w)
    elif Loss is Quantile:
        return z * (<floating> loss.below if d < 0 else <floating> loss.above)
    elif Loss is EpsilonInsensitive:
        return <floating> 0 if z < <floating> loss.epsilon else z - <floating> loss.subtracted
    elif Loss is Charbonnier:
        p = <floating> loss.eps
        return (z if z > p else p) * hypotenuse_ratio(z, p)
    else:
        # Far out, sqrt(1 + t²) - 1 is t - 1 to the last bit, and t may be infinite.
        p = <floating> loss.delta
        t = z / p
        return z * (z / (<floating> 1 + root(<floating> 1 + t * t))) if t < far(d) else p * (z - <floating> loss.subtracted)


cdef inline floating derivative(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating p, t
    if Loss is SmoothL1PowerOfTwo:
        return clipped(over_beta(loss, d), <floating> 1)
    elif Loss is SmoothL1:          # an infinite error over an infinite beta is NaN, but has the sign as its limit
        p = <floating> loss.beta
        return <floating> 1 if d >= p else (<floating> -1 if d <= -p else over_beta(loss, d))
    elif Loss is AbsoluteError:
        return sign(d)
    elif Loss is SquaredError:
        return d + d
    elif Loss is Huber:
        return clipped(d, <floating> loss.delta)
    elif Loss is Tukey:
        p = <floating> loss.c
        t = tukey_weight(p, z)
        return <floating> 0 if z >= p else d * t
    elif Loss is Quantile:
        return <floating> loss.above if d > 0 else (-<floating> loss.below if d < 0 else d)
    elif Loss is EpsilonInsensitive:
        t = sign(d)                 # named, and two comparisons: else gcc 12 makes branches of it, and no vector code
        return <floating> 0 if z < <floating> loss.epsilon else (<floating> 0 if z <= <floating> loss.subtracted else t)
    elif Loss is Charbonnier:
        p = <floating> loss.eps
        return (<floating> 1 if d > p else (<floating> -1 if d < -p else d / p)) / hypotenuse_ratio(z, p)
    else:
        p = <floating> loss.delta
        t = z / p
        p = p * sign(d)
        return d / root(<floating> 1 + t * t) if t < far(d) else p


cdef inline floating second_derivative(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating p, t
    if Loss is SmoothL1 or Loss is SmoothL1PowerOfTwo:
        p = <floating> loss.beta
        return <floating> 1 / p if z < p else (<floating> 0 if z >= p else z)
    elif Loss is SquaredError:
        return <floating> 2 if z >= 0 else z
    elif Loss is Huber:
        p = <floating> loss.delta
        return <floating> 1 if z < p else (<floating> 0 if z >= p else z)
    elif Loss is Tukey:
        p = <floating> loss.c
        t = tukey_taper(p, z)
        return <floating> 0 if z >= p else t * (<floating> 5 * t - <floating> 4)
    elif Loss is PseudoHuber:
        t = z / <floating> loss.delta
        t = <floating> 1 / (root(<floating> 1 + t * t) if t < far(d) else t)
        return t * t * t
    elif Loss is Charbonnier:
        p = <floating> loss.eps
        t = (<floating> 1 if z <= p else p / z) / hypotenuse_ratio(z, p)
        p = z if z > p else p
        p = t * t / p if t > <floating> 1e-15 else t * (t / p)      # where neither product nor quotient leaves the range
        return p / hypotenuse_ratio(z, <floating> loss.eps)
    else:
        return <floating> 0 if z >= 0 else z


cdef inline floating irls_weight(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating least = <floating> (1.0 / IRLS_CAP)
    cdef floating p, t
    t = least if z <= least else z
    if Loss is SmoothL1 or Loss is SmoothL1PowerOfTwo:
        p = <floating> loss.beta
        return <floating> 1 / (p if z <= p else z)
    elif Loss is AbsoluteError:
        return <floating> 1 / t
    elif Loss is SquaredError:
        return <floating> 2 if z >= 0 else z
    elif Loss is Huber:
        p = <floating> loss.delta
        return <floating> 1 if z <= p else p / z
    elif Loss is Tukey:
        p = <floating> loss.c
        t = tukey_weight(p, z)
        return <floating> 0 if z >= p else t
    elif Loss is Quantile:
        return (<floating> loss.below if d < 0 else <floating> loss.above) / t
    elif Loss is EpsilonInsensitive:
        p = <floating> 0 if z < <floating> loss.epsilon else z - <floating> loss.subtracted
        return <floating> 0 if p == 0 else <floating> 1 / t
    elif Loss is Charbonnier:
        p = <floating> loss.eps
        return <floating> 1 / hypotenuse_ratio(z, p) / (z if z > p else p)
    else:
        p = <floating> loss.delta
        t = z / p
        return <floating> 1 / root(<floating> 1 + t * t) if t < far(d) else p / z
