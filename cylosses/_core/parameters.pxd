# What a loss is made of before any residual is seen: per loss a struct of numbers that depend on its parameter only, and the
# function that makes it. The formulas that use them are in formulas.pxd.
#
# (a) Parameters are held in double, already rounded to the working type (start_job() does that), so that casts to it are exact.
# (b) What is subtracted from an infinite error is 0 where the parameter is infinite too, so that the loss is infinite and not NaN.
# (c) Where a formula squares parameter and error, both are first multiplied by a power of two, `scale`, so that neither squares nor
#     their low words leave the range. A name that ends in _low is the low word of the number before it (error_free.pxd).

from cylosses._core.bits cimport FRACTION, Bits64, exponent_of, power_of_two
from cylosses._core.error_free cimport two_product


cdef extern from "cylosses.h":
    cdef enum LossCode "cylosses_loss":
        # The rows of the dispatch table; the classes in losses/ name them. Their numbers are part of the C interface.
        # generated: numbers of the losses (python -m tools.generate)
        SMOOTH_L1 "CYLOSSES_SMOOTH_L1"
        L1 "CYLOSSES_L1"
        MSE "CYLOSSES_MSE"
        HUBER "CYLOSSES_HUBER"
        TUKEY "CYLOSSES_TUKEY"
        QUANTILE "CYLOSSES_QUANTILE"
        EPSILON_INSENSITIVE "CYLOSSES_EPSILON_INSENSITIVE"
        PSEUDO_HUBER "CYLOSSES_PSEUDO_HUBER"
        CHARBONNIER "CYLOSSES_CHARBONNIER"
        GEMAN_MCCLURE "CYLOSSES_GEMAN_MCCLURE"
        # generated: end

cdef inline bint is_known(int loss) noexcept nogil:
    """Whether there are formulas for a loss of this number: the last of LossCode is the greatest."""
    return 0 <= loss <= <int> GEMAN_MCCLURE


cdef struct AbsoluteError:
    double unused           # C has no empty structs

cdef struct SquaredError:
    double unused

cdef struct SmoothL1:
    double beta
    double half_beta

cdef struct SmoothL1PowerOfTwo:
    # For beta a power of two, as the default is: z / beta is a product, with the same bits in less time.
    double beta
    double inverse

cdef struct Huber:
    double delta
    double knee             # delta, or the largest number if that is infinite

cdef struct Tukey:
    double c
    double sixth            # c / 6
    double sixth_low
    double saturation       # the loss of errors beyond c
    double scale            # the power of two by which c and z are multiplied
    double square           # (scale c)²
    double square_low
    double inverse          # (scale c)**-4 is inverse + inverse * inverse_correction
    double inverse_correction

cdef struct Quantile:
    double below            # factor of |d| where the prediction is too low: q
    double above            # where it is too high: 1 - q
    double greater          # the greater and the lesser of the two, as factors of d: the one of them that is q has a minus sign
    double lesser
    double zero             # 0, which compilers do not know: at a constant, gcc 12 would compare and blend, not take the maximum

cdef struct EpsilonInsensitive:
    double epsilon
    double subtracted

cdef struct PseudoHuber:
    double delta
    double subtracted
    double scale            # the power of two by which delta and z are multiplied
    double square           # (scale delta)²
    double square_low
    double cube             # (scale delta)³ is cube + cube * cube_correction
    double cube_correction

cdef struct Charbonnier:
    double eps
    double scale            # the power of two by which eps and z are multiplied
    double square           # (scale eps)²
    double square_low

cdef struct GemanMcClure:
    double c
    double scale
    double square           # (scale c)², and its low word
    double square_low
    double inverse          # 1 / square, rounded: for corrections only

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
    GemanMcClure


# ---- the functions that make them ------------------------------------------------------------------------------------------------

cdef inline double finite_or_zero(double v) noexcept nogil:
    return v if v <= 1.7976931348623157e308 else 0.0


cdef inline double splittable(double v) noexcept nogil:
    """v, but at most 2**497, so that two_product() takes its square as a factor; NaN as it is."""
    return 4.0917382598701773e149 if v > 4.0917382598701773e149 else v


cdef inline double scale_of(double parameter) noexcept nogil:
    """The power of two that takes a normal parameter to between 2**-30 and 2**-29, a subnormal one to 2**-81 at least, and the
    largest (by 2**-1022, the least normal number) to below 4, with all errors: powers and their low words are then normal numbers.
    """
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
    loss.inverse = power_of_two(-exponent_of(beta))        # exact, and quicker than a division
    return loss


cdef inline Huber make_huber(double delta, bint single) noexcept nogil:
    cdef Huber loss
    cdef double most = 3.4028234663852886e38 if single else 1.7976931348623157e308
    loss.delta = delta
    loss.knee = delta if delta < most else most
    return loss


cdef inline Tukey make_tukey(double c) noexcept nogil:
    cdef Tukey loss
    cdef double whole, low, fourth, fourth_low, one
    loss.c = c
    loss.sixth = c / 6
    whole = two_product(6, loss.sixth, &low)
    loss.sixth_low = ((c - whole) - low) / 6 if c < 1e300 else 0
    loss.saturation = c * (c / 6)
    loss.scale = scale_of(c)
    c *= loss.scale
    loss.square = two_product(c, c, &loss.square_low)
    fourth = two_product(loss.square, loss.square, &fourth_low)
    fourth_low += 2 * loss.square * loss.square_low
    loss.inverse = 1 / fourth
    one = two_product(loss.inverse, fourth, &low)
    loss.inverse_correction = ((1 - one) - low) - loss.inverse * fourth_low
    return loss


cdef inline Quantile make_quantile(double q) noexcept nogil:
    cdef Quantile loss
    loss.below = q
    loss.above = 1 - q
    loss.greater = loss.above if q <= 0.5 else -loss.below
    loss.lesser = -loss.below if q <= 0.5 else loss.above
    loss.zero = q - q
    return loss


cdef inline EpsilonInsensitive make_epsilon_insensitive(double epsilon) noexcept nogil:
    cdef EpsilonInsensitive loss
    loss.epsilon = epsilon
    loss.subtracted = finite_or_zero(epsilon)
    return loss


cdef inline PseudoHuber make_pseudo_huber(double delta) noexcept nogil:
    cdef PseudoHuber loss
    cdef double low
    loss.delta = delta
    loss.subtracted = finite_or_zero(delta)
    loss.scale = scale_of(delta) if loss.subtracted else 0      # for an infinite delta, every error counts as 0
    delta = delta * loss.scale if loss.subtracted else 1
    loss.square = two_product(delta, delta, &loss.square_low)
    loss.cube = two_product(loss.square, delta, &low)
    loss.cube_correction = (low + loss.square_low * delta) / loss.cube
    return loss


cdef inline Charbonnier make_charbonnier(double eps) noexcept nogil:
    cdef Charbonnier loss
    loss.eps = eps
    loss.scale = scale_of(eps)
    eps *= loss.scale
    loss.square = two_product(eps, eps, &loss.square_low)
    return loss


cdef inline GemanMcClure make_geman_mcclure(double c) noexcept nogil:
    cdef GemanMcClure loss
    loss.c = c
    loss.scale = scale_of(c)
    c *= loss.scale
    loss.square = two_product(c, c, &loss.square_low)
    loss.inverse = 1 / loss.square
    return loss
