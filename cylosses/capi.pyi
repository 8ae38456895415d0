from enum import IntEnum

abi_version: int
addresses: dict[str, int]
signatures: dict[str, str]
__pyx_capi__: dict[str, object]

class LossCode(IntEnum):
    # generated: numbers of the losses (python -m tools.generate)
    SMOOTH_L1 = 0
    L1 = 1
    MSE = 2
    HUBER = 3
    TUKEY = 4
    QUANTILE = 5
    EPSILON_INSENSITIVE = 6
    PSEUDO_HUBER = 7
    CHARBONNIER = 8
    GEMAN_MCCLURE = 9
    # generated: end

class Reduction(IntEnum):
    SUM = 0
    MEAN = 1

class Curvature(IntEnum):
    EXACT_CURVATURE = 0
    MM_CURVATURE = 1
    UNIT_CURVATURE = 2

class Status(IntEnum):
    OK = 0
    BAD_LOSS = 1
    BAD_PARAMETER = 2
    BAD_REDUCTION = 3
    BAD_CURVATURE = 4
    BAD_SIZE = 5
    BAD_ARRAY = 6
    BAD_WEIGHT = 7
    BAD_THREADS = 8
    TOO_MANY = 9
