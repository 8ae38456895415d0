# ALL the maths: per loss a struct of parameters, a constructor, and four functions of one residual: value, derivative, second
# derivative, and the IRLS weight psi(d)/d that bounds the curvature from above.
#
# Decisions, with their reasons:
# (a) A loss is a C struct, and Cython specialises every function below for each struct and each float type at compile time (a "fused"
#     type). So a formula is written once and costs no function pointer per element.
# (b) Everything is computed in one fixed order, without libm beyond sqrt: the bits are the same on every instruction set. The build
#     forbids fused multiply-add contraction and fast-math for the same reason. The type is the element's own, but double for powers
#     of Tukey's taper and of roots (g), which otherwise are up to 12 ulp off.
# (c) Branches select between finished values (`a if condition else b` without side effects), so that compilers turn loops over these
#     functions into vector code.
# (d) Comparisons are written so that NaN falls through to an expression that keeps it.
# (e) No square of a residual is formed where it could underflow or overflow although the loss does not.
# (f) Parameters are held in double, already rounded to the working type (start_job() does that), so the casts below are exact. What is
#     subtracted from an infinite error is 0 where the parameter is infinite too, so that the loss is infinite and not NaN.
# (g) Roundings add up in powers, and c² - 5z² cancels near Tukey's inflection point. There, squares are exact: a product and what its
#     rounding lost, by Dekker's splitting of the factors (fma is slow below x86-64-v3). Error and parameter are scaled by a power of
#     two first, so that no square or its last place leaves the range.

from cython cimport floating
from libc.math cimport HUGE_VAL, fabs, fabsf, sqrt, sqrtf

from cylosses._core.bits cimport FRACTION, Bits64, exponent_of, power_of_two


cdef extern from *:
    """
    #include <math.h>
    /* z - c / 2, in one operation where there is one. Halves are exact but for odd subnormals: users see to it that those do not count,
       so that the bits are the same. */
    #if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
    #define CYLOSSES_LESS_HALF_F(z, c) fmaf(-0.5f, c, z)
    #define CYLOSSES_LESS_HALF(z, c) fma(-0.5, c, z)
    #else
    #define CYLOSSES_LESS_HALF_F(z, c) ((z) - 0.5f * (c))
    #define CYLOSSES_LESS_HALF(z, c) ((z) - 0.5 * (c))
    #endif
    """
    float less_half_float "CYLOSSES_LESS_HALF_F"(float z, float c) noexcept nogil
    double less_half_double "CYLOSSES_LESS_HALF"(double z, double c) noexcept nogil


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

cdef inline bint is_known(int loss) noexcept nogil:
    """Whether there are formulas for a loss of this number."""
    return 0 <= loss <= <int> CHARBONNIER


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
    double inverse

cdef struct Huber:
    double delta
    double knee             # delta, or the largest number if that is infinite

cdef struct Tukey:
    double c
    double sixth            # c / 6, and what its rounding lost
    double sixth_rest
    double saturation       # the loss of errors beyond c
    double scale            # the power of two by which c and z are multiplied below
    double square           # (scale c)², and what its rounding lost
    double square_rest
    double inverse          # (scale c)**-4 is inverse + inverse * inverse_rest
    double inverse_rest

cdef struct Quantile:
    double below            # factor of |d| where the prediction is too low: q
    double above            # where it is too high: 1 - q
    double most_below       # the loss of an infinite error: 0 where the factor is
    double most_above

cdef struct EpsilonInsensitive:
    double epsilon
    double subtracted

cdef struct PseudoHuber:
    double delta
    double subtracted
    double scale            # the power of two by which delta and z are multiplied below
    double square           # (scale delta)², and what its rounding lost
    double square_rest
    double cube             # (scale delta)³ is cube + cube * cube_rest
    double cube_rest

cdef struct Charbonnier:
    double eps
    double scale            # the power of two by which eps and z are multiplied below
    double square           # (scale eps)², and what its rounding lost
    double square_rest


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


# ---- exact sums and products -----------------------------------------------------------------------------------------------------

cdef inline double sum_rest(double a, double b, double total) noexcept nogil:
    """What the rounding of total = a + b lost (Knuth)."""
    cdef double b_kept = total - a
    return (a - (total - b_kept)) + (b - b_kept)


cdef inline double ordered_sum_rest(double a, double b, double total) noexcept nogil:
    """The same for |a| >= |b|, or a sum that is exact."""
    return b - (total - a)


cdef inline double upper_half(double v) noexcept nogil:
    """The leading 26 bits of v, |v| < 2**996; the others fit in 26 as well, with their sign (Veltkamp)."""
    cdef double shifted = 134217729.0 * v       # 2**27 + 1
    return shifted - (shifted - v)


cdef inline double product_rest(double a, double b, double product) noexcept nogil:
    """What the rounding of product = a b lost, if it is no subnormal (Dekker)."""
    cdef double a_high = upper_half(a), b_high = upper_half(b)
    cdef double a_low = a - a_high, b_low = b - b_high
    return ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low


# ---- constructors ----------------------------------------------------------------------------------------------------------------

cdef inline double finite_or_zero(double v) noexcept nogil:
    return v if v <= 1.7976931348623157e308 else 0.0


cdef inline double scale_of(double parameter) noexcept nogil:
    """The power of two that takes a normal parameter to between 2**-30 and 2**-29, a subnormal one to 2**-81 at least, and the largest
    (by 2**-1022, the least normal number) to below 4, with all errors. There, powers and their last places are normal numbers."""
    cdef int e = -30 - exponent_of(parameter)
    return power_of_two(e if e > -1022 else -1022)


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
    """Whether 1 / beta is a normal number of the working type and exact, and losses of subnormal errors round to 0."""
    cdef double most = 8.507059173023462e37 if single else 4.49423283715579e307      # 2**126, 2**1021
    cdef double least = 7.888609052210118e-31 if single else 7.458340731200207e-155  # 2**-100, 2**-512
    cdef Bits64 b
    b.f = beta
    return not b.i & FRACTION and least <= beta <= most


cdef inline SmoothL1PowerOfTwo make_smooth_l1_power_of_two(double beta) noexcept nogil:
    cdef SmoothL1PowerOfTwo loss
    loss.beta = beta
    loss.inverse = power_of_two(-exponent_of(beta))        # a division takes as long as a small part of a block
    return loss


cdef inline Huber make_huber(double delta, bint single) noexcept nogil:
    cdef Huber loss
    cdef double most = 3.4028234663852886e38 if single else 1.7976931348623157e308
    loss.delta = delta
    loss.knee = delta if delta < most else most
    return loss


cdef inline Tukey make_tukey(double c) noexcept nogil:
    cdef Tukey loss
    loss.c = c
    loss.sixth = c / 6
    loss.sixth_rest = ((c - 6 * loss.sixth) - product_rest(6, loss.sixth, 6 * loss.sixth)) / 6 if c < 1e300 else 0
    loss.saturation = c * (c / 6)
    loss.scale = scale_of(c)
    c *= loss.scale
    loss.square = c * c
    loss.square_rest = product_rest(c, c, loss.square)
    cdef double fourth = loss.square * loss.square
    cdef double fourth_rest = product_rest(loss.square, loss.square, fourth) + 2 * loss.square * loss.square_rest
    loss.inverse = 1 / fourth
    cdef double one = loss.inverse * fourth
    loss.inverse_rest = ((1 - one) - product_rest(loss.inverse, fourth, one)) - loss.inverse * fourth_rest
    return loss


cdef inline Quantile make_quantile(double q) noexcept nogil:
    cdef Quantile loss
    loss.below = q
    loss.above = 1 - q
    loss.most_below = HUGE_VAL if loss.below > 0 else 0
    loss.most_above = HUGE_VAL if loss.above > 0 else 0
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
    loss.scale = scale_of(delta) if loss.subtracted else 0      # to an infinite delta, every error is nothing
    delta = delta * loss.scale if loss.subtracted else 1
    loss.square = delta * delta
    loss.square_rest = product_rest(delta, delta, loss.square)
    loss.cube = loss.square * delta
    loss.cube_rest = (product_rest(loss.square, delta, loss.cube) + loss.square_rest * delta) / loss.cube
    return loss


cdef inline Charbonnier make_charbonnier(double eps) noexcept nogil:
    cdef Charbonnier loss
    loss.eps = eps
    loss.scale = scale_of(eps)
    eps *= loss.scale
    loss.square = eps * eps
    loss.square_rest = product_rest(eps, eps, loss.square)
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


cdef inline floating less_half(floating z, floating c) noexcept nogil:
    """z - c / 2."""
    if floating is float:
        return less_half_float(z, c)
    else:
        return less_half_double(z, c)


cdef inline floating far(floating d) noexcept nogil:
    """From this t on, sqrt(1 + t**2) is t to half an ulp; there, 1 added to t**2 would be rounded."""
    if floating is float:
        return 4096
    else:
        return 67108864


cdef inline floating largest(floating d) noexcept nogil:
    """The largest number of the type."""
    if floating is float:
        return <floating> 3.4028234663852886e38
    else:
        return <floating> 1.7976931348623157e308


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


cdef inline double tukey_weight(Tukey loss, double z) noexcept nogil:
    """The taper squared, (c² - z²)² / c⁴ for z <= c: one rounding each for square, its rest, and the result."""
    z *= loss.scale
    cdef double zz = z * z
    cdef double difference = loss.square - zz
    cdef double rest = ordered_sum_rest(loss.square, -zz, difference) + (loss.square_rest - product_rest(z, z, zz))
    cdef double gap = difference + rest
    rest = ordered_sum_rest(difference, rest, gap)
    cdef double square = gap * gap
    return (square + (2 * gap * rest + square * loss.inverse_rest)) * loss.inverse


cdef inline floating tukey_curvature(Tukey loss, floating magnitude_of_d) noexcept nogil:
    """w (5w - 4) with the taper w, (c² - z²) (c² - 5z²) / c⁴ for z <= c; 0 beyond, as at c.

    The second factor is exact near its root, save for one rounding: there, each partial sum in this order is a number of the type.
    Elsewhere the rests of the partial sums count.

    Of `floating` so that each type has a function of its own, called once: gcc 12 inlines those however long. And a choice between
    results would become a branch: no vector code either way.
    """
    cdef double z = magnitude_of_d
    z = (loss.c if z >= loss.c else z) * loss.scale
    cdef double zz = z * z
    cdef double zz_rest = product_rest(z, z, zz)
    cdef double difference = loss.square - zz
    cdef double difference_rest = ordered_sum_rest(loss.square, -zz, difference)
    cdef double rest = difference_rest + (loss.square_rest - zz_rest)
    cdef double gap = difference + rest
    cdef double gap_rest = ordered_sum_rest(difference, rest, gap)

    cdef double a = difference - 4 * zz
    rest = sum_rest(difference, -4 * zz, a)
    cdef double b = a + difference_rest
    rest += ordered_sum_rest(a, difference_rest, b)
    a = b + loss.square_rest
    rest += ordered_sum_rest(b, loss.square_rest, a)
    b = a - 4 * zz_rest
    rest += ordered_sum_rest(a, -4 * zz_rest, b)
    a = b - zz_rest
    rest += ordered_sum_rest(b, -zz_rest, a)

    b = gap * a
    b = (b + (gap * rest + gap_rest * a + b * loss.inverse_rest)) * loss.inverse
    return <floating> (b + 0.0)     # 0 for -0 at c


cdef inline double cubed_root(double square, double square_rest, double z, double excess) noexcept nogil:
    """(square + square_rest + z²)**1.5 (1 - excess), for an excess of the size of roundings: three roundings."""
    cdef double zz = z * z
    cdef double v = square + zz
    cdef double rest = sum_rest(square, zz, v) + (square_rest + product_rest(z, z, zz))
    cdef double s = sqrt(v)
    return s * v + s * (1.5 * rest - v * excess)


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
    cdef floating p, t, w, sixth
    if Loss is SmoothL1:
        # Halving z is exact where it matters; halving z / beta would cost up to 3 ulp among the subnormals.
        p = <floating> loss.beta
        return <floating> 0.5 * z * over_beta(loss, z) if z < p else z - <floating> loss.half_beta
    elif Loss is SmoothL1PowerOfTwo:
        p = <floating> loss.beta
        t = z if z < p else p           # both branches in one product, since z (z - z/2) is z²/2
        return over_beta(loss, t) * less_half(z, t)
    elif Loss is AbsoluteError:
        return z
    elif Loss is SquaredError:
        return d * d
    elif Loss is Huber:
        p = <floating> loss.knee
        t = z if z < p else p           # as above
        return t * less_half(z, t)
    elif Loss is Tukey:
        # Each form where its roundings count least; c²/6 is not formed on its own, it may overflow where the loss does not. What is
        # lost of c/6 is made good where that is free: in the smaller term of a difference.
        p = <floating> loss.c
        t = z / p
        t = t * t
        t = z * (<floating> 0.5 * z - z * (t * (<floating> 0.5 - t * <floating> (1.0 / 6.0))))
        w = tukey_taper(p, z)
        sixth = <floating> loss.sixth
        w = p * (sixth - (sixth * (w * w * w) - <floating> ((loss.sixth - sixth) + loss.sixth_rest)))
        return <floating> loss.saturation if z >= p else (t if z < <floating> 0.645 * p else w)
    elif Loss is Quantile:
        # Where the factor is 0, its product with an infinite error is NaN, but the limit of the loss is 0.
        t = z * (<floating> loss.below if d < 0 else <floating> loss.above)
        p = <floating> loss.most_below if d < 0 else <floating> loss.most_above
        return p if z > largest(d) else t
    elif Loss is EpsilonInsensitive:
        return <floating> 0 if z < <floating> loss.epsilon else z - <floating> loss.subtracted
    elif Loss is Charbonnier:
        p = <floating> loss.eps
        return (z if z > p else p) * hypotenuse_ratio(z, p)
    else:
        # Far out, sqrt(1 + t²) - 1 is t - 1 to half an ulp, and t may be infinite.
        p = <floating> loss.delta
        t = z / p
        return z * (z / (<floating> 1 + root(<floating> 1 + t * t))) if t < far(d) else p * (z - <floating> loss.subtracted)


cdef inline floating derivative(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating p, t
    if Loss is SmoothL1PowerOfTwo:
        return over_beta(loss, clipped(d, <floating> loss.beta))        # at a constant, gcc 12 would compare and blend
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
        t = <floating> (d * tukey_weight(loss, z))
        return <floating> 0 if z >= <floating> loss.c else t
    elif Loss is Quantile:
        return <floating> loss.above if d > 0 else (<floating> 0 - <floating> loss.below if d < 0 else d)   # -q, and 0 of 0
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
    cdef double scaled, near, far_out
    if Loss is SmoothL1 or Loss is SmoothL1PowerOfTwo:
        p = <floating> loss.beta
        return <floating> 1 / p if z < p else (<floating> 0 if z >= p else z)
    elif Loss is SquaredError:
        return <floating> 2 if z >= 0 else z
    elif Loss is Huber:
        p = <floating> loss.delta
        return <floating> 1 if z < p else (<floating> 0 if z >= p else z)
    elif Loss is Tukey:
        return tukey_curvature(loss, z)
    elif Loss is PseudoHuber:
        scaled = z * loss.scale
        t = <floating> (loss.cube / cubed_root(loss.square, loss.square_rest, scaled, loss.cube_rest))
        t = <floating> 1 if t > 1 else t                    # where the IRLS weight is 1, it is not to be exceeded by a rounding
        return <floating> 0 if scaled > 1e100 else t        # less than half the least subnormal, and intermediates may be infinite
    elif Loss is Charbonnier:
        scaled = z * loss.scale
        near = loss.square / cubed_root(loss.square, loss.square_rest, scaled, loss.square_rest / loss.square) * loss.scale
        near = 1 / loss.eps if near > 1 / loss.eps else near        # likewise
        far_out = loss.eps / z
        far_out = far_out * (far_out / z)
        return <floating> (far_out if scaled > 1073741824.0 * (loss.eps * loss.scale) else near)
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
        t = <floating> tukey_weight(loss, z)
        return <floating> 0 if z >= <floating> loss.c else t
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
