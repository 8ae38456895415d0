# ALL the maths: per loss four functions of one residual: value, derivative, second derivative, and the IRLS weight psi(d)/d that
# bounds the curvature from above.
#
# Decisions, with their reasons:
# (a) A loss is a C struct (parameters.pxd), and Cython specialises every function below for each struct and each float type at
#     compile time (a "fused" type). So a formula is written once and costs no function pointer per element.
# (b) Everything is computed in one fixed order, without libm beyond sqrt: the bits are the same on every instruction set. The build
#     forbids fused multiply-add contraction and fast-math for the same reason; where an operation is fused, its result is exact
#     either way. The type is the element's own, but double for powers of Tukey's taper and of roots (f), which otherwise are up to
#     12 ulp off.
# (c) Branches select between finished values (`a if condition else b` without side effects), so that compilers turn loops over
#     these functions into vector code.
# (d) Comparisons are written so that NaN falls through to an expression that keeps it.
# (e) No square of a residual is formed where it could underflow or overflow although the loss does not.
# (f) Roundings add up in powers, and c² - 5z² cancels near Tukey's inflection point. There, squares are exact, as a high and a low
#     word.
# (g) Each struct has a branch of its own in each function. One without does not compile: the last `else` asks for a member that no
#     struct has, and Cython refuses the line ("return loss.lacks_a_branch_in_value").
#
# To add a loss:
# 1. its struct, a member of Loss, and the function that makes it, and in is_known() its number (parameters.pxd)
# 2. its branch in each of the four functions below, and its lines in the tables above them
# 3. its row of the dispatch table, for_loss() in blocks/computing.pxd
# Outside of the core: its class in losses/, and its exact formulas in the oracle of the tests.

from cython cimport floating
from libc.math cimport fabs, fabsf, sqrt, sqrtf

from cylosses._core.error_free cimport fast_two_sum, two_product, two_sum
from cylosses._core.parameters cimport (
    AbsoluteError, Charbonnier, EpsilonInsensitive, GemanMcClure, Huber, Loss, PseudoHuber, Quantile, SmoothL1, SmoothL1PowerOfTwo,
    SquaredError, Tukey, splittable,
)

cdef extern from *:
    """
    #include <math.h>
    /* z - c / 2, in one operation where there is one. The bits are the same, since half of c is exact but for odd subnormals: then
       either z is so large that c / 2 does not count, or what the result is multiplied with makes a product that rounds to 0. */
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


cdef enum:
    IRLS_CAP = 1048576      # largest IRLS weight of losses with a kink, where psi(d)/d is unbounded; losses/base.py documents it


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


cdef inline floating sign(floating d) noexcept nogil:
    """-1, 1, or d itself where it is 0 or NaN."""
    return <floating> 1 if d > 0 else (<floating> -1 if d < 0 else d)


cdef inline floating clipped(floating v, floating most) noexcept nogil:
    """v between -most and most, NaN as it is; each comparison is one instruction."""
    v = most if most < v else v
    return -most if -most > v else v


cdef inline floating hypotenuse_ratio(floating a, floating b) noexcept nogil:
    """sqrt(a² + b²) over the larger of a, b > 0; NaN if a is.

    Relative error <= 2.25u: of r² 3u, which counts half at most, of the sum 1u, and a root halves both; 1u from the root.
    """
    cdef floating r = b / a if a > b else a / b
    return root(<floating> 1 + r * r)


cdef inline floating tukey_taper(floating c, floating z) noexcept nogil:
    """1 - (z/c)**2 for z <= c: without cancellation close to c, where it is r (2 - r) with r = (c - z) / c.

    Relative error <= 3u from z = c/2 on, where c - z is exact: 1u each from quotient, difference and product.
    """
    cdef floating q = z / c
    cdef floating r = (c - z) / c
    return <floating> 1 - q * q if q < <floating> 0.5 else r * (<floating> 2 - r)


cdef inline double tukey_weight(Tukey loss, double z) noexcept nogil:
    """The taper squared, (c² - z²)² / c⁴ for z <= c.

    Relative error <= 3u: 1u each from the square of the high word of c² - z², from the sum with the smaller terms, and from the
    product with 1/c⁴.
    """
    cdef double zz, zz_low, difference, low, gap, gap_low, square
    z *= loss.scale
    zz = two_product(z, z, &zz_low)
    difference = fast_two_sum(loss.square, -zz, &low)
    gap = fast_two_sum(difference, low + (loss.square_low - zz_low), &gap_low)
    square = gap * gap
    return (square + (2 * gap * gap_low + square * loss.inverse_correction)) * loss.inverse


cdef inline floating tukey_curvature(Tukey loss, floating magnitude_of_d) noexcept nogil:
    """w (5w - 4) with the taper w, (c² - z²) (c² - 5z²) / c⁴ for z <= c; 0 beyond, as at c.

    Relative error <= 3u: 1u each from the product of the high words, from the sum with the smaller terms, and from the product with
    1/c⁴. Near the root of c² - 5z², each partial sum of this factor in this order is a number of the type: it is exact, save for
    one rounding. Elsewhere the low words of the partial sums are summed up.

    Of `floating` so that each type has a function of its own, called once, since gcc 12 inlines those however long; and z is
    clipped to c, since a choice between results would become a branch. Otherwise there would be no vector code.
    """
    cdef double z = magnitude_of_d
    cdef double zz, zz_low, difference, difference_low, gap, gap_low, a, b, low, lows
    z = (loss.c if z >= loss.c else z) * loss.scale
    zz = two_product(z, z, &zz_low)
    difference = fast_two_sum(loss.square, -zz, &difference_low)
    gap = fast_two_sum(difference, difference_low + (loss.square_low - zz_low), &gap_low)

    a = two_sum(difference, -4 * zz, &lows)
    b = fast_two_sum(a, difference_low, &low)
    lows += low
    a = fast_two_sum(b, loss.square_low, &low)
    lows += low
    b = fast_two_sum(a, -4 * zz_low, &low)
    lows += low
    a = fast_two_sum(b, -zz_low, &low)
    lows += low

    b = gap * a
    b = (b + (gap * lows + gap_low * a + b * loss.inverse_correction)) * loss.inverse
    return <floating> (b + 0.0)     # 0 for -0 at c


cdef inline double cubed_root(double square, double square_low, double z, double excess) noexcept nogil:
    """(square + square_low + z²)**1.5 (1 - excess), for an excess of the size of roundings.

    Relative error <= 3u: 1u each from the root, the product and the sum.
    """
    cdef double zz, zz_low, v, low, s
    zz = two_product(z, z, &zz_low)
    v = two_sum(square, zz, &low)
    low += square_low + zz_low
    s = sqrt(v)
    return s * v + s * (1.5 * low - v * excess)


cdef inline floating largest(floating d) noexcept nogil:
    """The largest number of the type."""
    if floating is float:
        return <floating> 3.4028234663852886e38
    else:
        return <floating> 1.7976931348623157e308


cdef inline double geman_mcclure_ratio(GemanMcClure loss, double v, double v_low, double h) noexcept nogil:
    """What h = square / v lacks, relative to h, of the square with its low word over v with its low word."""
    cdef double low
    cdef double product = two_product(h, v, &low)
    return (((loss.square - product) - low) + (loss.square_low - h * v_low)) * loss.inverse


cdef inline floating geman_mcclure_slope(GemanMcClure loss, floating factor, floating z) noexcept nogil:
    """factor h², with h = c² / (c² + z²): the derivative for a factor of d, the IRLS weight for 1.

    In float64, relative error <= 3u: 1u from each product with h, which is exact but for a term of u², and 1u from the sum. In this
    order no product leaves the range before the result does. In float32, h is a double, and the result is rounded once.

    Errors from 2**526 c on are taken for that: the splitting of factors has a limit, and from there on the result is 0.
    """
    cdef double zz, zz_low, v, v_low, h, result, scaled = splittable(z * loss.scale)
    zz = two_product(scaled, scaled, &zz_low)
    v = two_sum(loss.square, zz, &v_low)
    h = loss.square / v
    result = (factor * h) * h
    if floating is float:
        return <floating> result
    else:
        return result + result * (2 * geman_mcclure_ratio(loss, v, v_low + (loss.square_low + zz_low), h))


cdef inline floating geman_mcclure_curvature(GemanMcClure loss, floating z) noexcept nogil:
    """h² (c² - 3z²) / (c² + z²), with h as above.

    In float64, relative error <= 4u: 1u each from h², the quotient, their product and the last sum. c² - 3z² has low words of its
    own, so that it keeps its leading digits where it passes through 0. In float32, both squares are exact, and the difference is
    rounded once.
    """
    cdef double zz, zz_low, v, v_low, h, hh, a, b, difference_low, low, lows, inverse, result, scaled = splittable(z * loss.scale)
    zz = two_product(scaled, scaled, &zz_low)
    v = two_sum(loss.square, zz, &v_low)
    h = loss.square / v
    hh = h * h
    if floating is float:
        return <floating> (hh * ((loss.square - 3 * zz) / v) + 0.0)
    else:
        v_low += loss.square_low + zz_low
        b = two_sum(loss.square, -zz, &difference_low)
        a = two_sum(b, -2 * zz, &lows)
        b = two_sum(a, difference_low, &low)
        lows += low
        a = two_sum(b, loss.square_low, &low)
        lows += low
        b = two_sum(a, -2 * zz_low, &low)
        lows += low
        a = two_sum(b, -zz_low, &low)
        lows += low
        inverse = h * loss.inverse          # 1 / v, near enough for corrections
        result = hh * (a / v)
        low = 2 * geman_mcclure_ratio(loss, v, v_low, h) - v_low * inverse
        return <floating> ((result + (hh * lows * inverse + result * low)) + 0.0)       # no -0 far out


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
# Geman-McClure (c)      m = min(z, c), r = m / max(z, c), h = c² / (c² + z²):
#                                         (m/2) (m / (1 + r²))        d h²              h² (4h - 3)    h²
#
# Sources: smooth L1: Girshick 2015. Huber 1964. Tukey: Beaton and Tukey 1974. Quantile: Koenker and Bassett 1978.
# Epsilon-insensitive: Vapnik 1995. Pseudo-Huber and Charbonnier: Charbonnier et al. 1994. Geman and McClure 1987.
#
# Bounds of the relative error of normal results for a given d, to first order in u, the largest relative error of one rounding
# (2**-24 or 2**-53; an ulp is 1u to 2u). Where none is given, there is no more than one rounding.
#
# smooth L1              value 2u: quotient, product.
# Huber                  value 2u: difference, product.
# Tukey                  value 5.3u, where the two forms meet at z = 0.645 c; derivative 4u: the weight's 3u, product; others 3u.
# quantile               value, IRLS weight 2u: 1 - q, product or quotient.
# pseudo-Huber           value 6u: of t² 3u, of 1 + t² 4u, of its root s 3u, of 1 + s 4u; quotient, product.
#                        derivative, IRLS weight 4u: 3u from s, quotient. second 4u: cubed_root()'s 3u, quotient.
# Charbonnier            value 3.25u: hypotenuse_ratio()'s 2.25u, product. derivative, IRLS weight 4.25u: 2.25u, two quotients.
#                        second 4u: near, as pseudo-Huber; far out, four operations.
# Geman-McClure          value 4u: 2u from 1 + r², the quotient, the product. derivative, IRLS weight 3u, second 4u: see the
#                        functions above.

cdef inline floating value(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating p, t, w, sixth
    if Loss is AbsoluteError:
        return z
    elif Loss is SquaredError:
        return d * d
    elif Loss is SmoothL1:
        # Halving z is exact where it matters; halving z / beta would cost up to 3 ulp among the subnormals.
        p = <floating> loss.beta
        return <floating> 0.5 * z * (z / p) if z < p else z - <floating> loss.half_beta
    elif Loss is SmoothL1PowerOfTwo:
        p = <floating> loss.beta
        t = z if z < p else p           # both branches in one product, since z (z - z/2) is z²/2
        return t * <floating> loss.inverse * less_half(z, t)
    elif Loss is Huber:
        p = <floating> loss.knee
        t = z if z < p else p           # as above
        return t * less_half(z, t)
    elif Loss is Tukey:
        # Each form where its error is least. Near 0, z²/2 - z² t (1/2 - t/6) with t = (z/c)². Near c, c (c/6 - c/6 w³): c²/6 is not
        # formed on its own, since it may overflow where the loss does not. What the rounding of c/6 lost is added where that costs
        # nothing: in the smaller term of a difference.
        p = <floating> loss.c
        t = z / p
        t = t * t
        t = z * (<floating> 0.5 * z - z * (t * (<floating> 0.5 - t * <floating> (1.0 / 6.0))))
        w = tukey_taper(p, z)
        sixth = <floating> loss.sixth
        w = p * (sixth - (sixth * (w * w * w) - <floating> ((loss.sixth - sixth) + loss.sixth_low)))
        return <floating> loss.saturation if z >= p else (t if z < <floating> 0.645 * p else w)
    elif Loss is Quantile:
        # The greater of d (1 - q) and -d q, in operations of one instruction each. An infinite error times a factor of 0 is NaN,
        # but the limit of the loss is 0; that factor is the lesser one, and a lesser product that is NaN counts as 0. The other
        # keeps NaN.
        p = <floating> loss.zero
        t = d * <floating> loss.lesser
        t = t if t > p else p
        p = d * <floating> loss.greater
        p = t if t > p else p
        return magnitude(p)             # 0, not -0
    elif Loss is EpsilonInsensitive:
        return <floating> 0 if z < <floating> loss.epsilon else z - <floating> loss.subtracted
    elif Loss is PseudoHuber:
        # Far out, sqrt(1 + t²) - 1 is t - 1 to half an ulp, and t may be infinite.
        p = <floating> loss.delta
        t = z / p
        return z * (z / (<floating> 1 + root(<floating> 1 + t * t))) if t < far(d) else p * (z - <floating> loss.subtracted)
    elif Loss is GemanMcClure:
        # Symmetric in z and c, which is why no square of the larger is formed. An infinite z is infinitely far: r is 0.
        p = <floating> loss.c
        t = z if z < p else p
        w = t / (p if z < p else z)
        return t * (<floating> 0.5 * (t / (<floating> 1 + w * w)))
    elif Loss is Charbonnier:
        p = <floating> loss.eps
        return (z if z > p else p) * hypotenuse_ratio(z, p)
    else:
        return loss.lacks_a_branch_in_value


cdef inline floating derivative(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating p, t
    if Loss is AbsoluteError:
        return sign(d)
    elif Loss is SquaredError:
        return d + d
    elif Loss is SmoothL1:              # an infinite error over an infinite beta is NaN, but has the sign as its limit
        p = <floating> loss.beta
        return <floating> 1 if d >= p else (<floating> -1 if d <= -p else d / p)
    elif Loss is SmoothL1PowerOfTwo:
        return clipped(d, <floating> loss.beta) * <floating> loss.inverse       # at a constant, gcc 12 would compare and blend
    elif Loss is Huber:
        return clipped(d, <floating> loss.delta)
    elif Loss is Tukey:
        t = <floating> (d * tukey_weight(loss, z))
        return <floating> 0 if z >= <floating> loss.c else t
    elif Loss is Quantile:
        return <floating> loss.above if d > 0 else (<floating> 0 - <floating> loss.below if d < 0 else d)   # -q, and 0 of 0
    elif Loss is EpsilonInsensitive:
        t = sign(d)                     # named, and two comparisons: else gcc 12 makes branches of it, and no vector code
        return <floating> 0 if z < <floating> loss.epsilon else (<floating> 0 if z <= <floating> loss.subtracted else t)
    elif Loss is PseudoHuber:
        p = <floating> loss.delta
        t = z / p
        p = p * sign(d)
        return d / root(<floating> 1 + t * t) if t < far(d) else p
    elif Loss is GemanMcClure:
        t = geman_mcclure_slope(loss, d, z)
        return <floating> 0 if z > largest(d) else t
    elif Loss is Charbonnier:
        p = <floating> loss.eps
        return (<floating> 1 if d > p else (<floating> -1 if d < -p else d / p)) / hypotenuse_ratio(z, p)
    else:
        return loss.lacks_a_branch_in_derivative


cdef inline floating second_derivative(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating p, t
    cdef double scaled, near, far_out
    if Loss is AbsoluteError or Loss is Quantile or Loss is EpsilonInsensitive:
        return <floating> 0 if z >= 0 else z
    elif Loss is SquaredError:
        return <floating> 2 if z >= 0 else z
    elif Loss is SmoothL1 or Loss is SmoothL1PowerOfTwo:
        p = <floating> loss.beta
        return <floating> 1 / p if z < p else (<floating> 0 if z >= p else z)
    elif Loss is Huber:
        p = <floating> loss.delta
        return <floating> 1 if z < p else (<floating> 0 if z >= p else z)
    elif Loss is Tukey:
        return tukey_curvature(loss, z)
    elif Loss is PseudoHuber:
        scaled = z * loss.scale
        t = <floating> (loss.cube / cubed_root(loss.square, loss.square_low, scaled, loss.cube_correction))
        t = <floating> 1 if t > 1 else t                    # a rounding may not take it above the IRLS weight, which is 1 at 0
        return <floating> 0 if scaled > 1e100 else t        # less than half the least subnormal, and intermediates may be infinite
    elif Loss is GemanMcClure:
        return geman_mcclure_curvature(loss, z)
    elif Loss is Charbonnier:
        scaled = z * loss.scale
        near = loss.square / cubed_root(loss.square, loss.square_low, scaled, loss.square_low / loss.square) * loss.scale
        near = 1 / loss.eps if near > 1 / loss.eps else near        # likewise
        far_out = loss.eps / z
        far_out = far_out * (far_out / z)
        return <floating> (far_out if scaled > 1073741824.0 * (loss.eps * loss.scale) else near)
    else:
        return loss.lacks_a_branch_in_second_derivative


cdef inline floating irls_weight(Loss loss, floating d) noexcept nogil:
    cdef floating z = magnitude(d)
    cdef floating least = <floating> (1.0 / IRLS_CAP)
    cdef floating p, t
    t = least if z <= least else z
    if Loss is AbsoluteError:
        return <floating> 1 / t
    elif Loss is SquaredError:
        return <floating> 2 if z >= 0 else z
    elif Loss is SmoothL1 or Loss is SmoothL1PowerOfTwo:
        p = <floating> loss.beta
        return <floating> 1 / (p if z <= p else z)
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
    elif Loss is PseudoHuber:
        p = <floating> loss.delta
        t = z / p
        return <floating> 1 / root(<floating> 1 + t * t) if t < far(d) else p / z
    elif Loss is GemanMcClure:
        return geman_mcclure_slope(loss, <floating> 1, z)
    elif Loss is Charbonnier:
        p = <floating> loss.eps
        return <floating> 1 / hypotenuse_ratio(z, p) / (z if z > p else p)
    else:
        return loss.lacks_a_branch_in_irls_weight
