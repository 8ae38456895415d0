"""The Cython face: exact regression losses on typed memoryviews, for ``cimport`` without the GIL, and for Python.

Functions write to arrays that the caller has, and allocate none. From Cython, ``from cylosses.views cimport ...`` takes contiguous
memoryviews of float32 or float64. From Python, the same functions take any object with the buffer protocol: NumPy arrays,
`array.array`, `memoryview`. The guide is ``docs/c-api.md``; for arrays of any shape, layout and dtype there is `cylosses.functional`,
whose results are the same bits.

Examples
--------
>>> from array import array
>>> from cylosses import views
>>> from cylosses.capi import LossCode, Reduction
>>> input, target = array("d", [1.5, 2.0, 0.5]), array("d", [1.0, 10.0, 0.5])
>>> views.value(LossCode.SMOOTH_L1, 1.0, Reduction.MEAN, input, target)
2.5416666666666665
"""

from cylosses._views.functions import (
    LossAccumulator,
    elementwise_value,
    gradient,
    gradient_and_hessian,
    gradient_and_hessian_along_axis,
    gradient_along_axis,
    value,
    value_along_axis,
    value_and_gradient,
    value_and_gradient_along_axis,
)

__all__ = [
    "LossAccumulator",
    "elementwise_value",
    "gradient",
    "gradient_along_axis",
    "gradient_and_hessian",
    "gradient_and_hessian_along_axis",
    "value",
    "value_along_axis",
    "value_and_gradient",
    "value_and_gradient_along_axis",
]
