from collections.abc import Callable
from types import ModuleType
from typing import Any, Literal, ParamSpec, TypedDict, TypeVar, overload, type_check_only

import numpy as np
from typing_extensions import disjoint_base

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")

@type_check_only
class BuildInfo(TypedDict):
    isa: str
    openmp: int
    compiler: str
    flags: str

@disjoint_base
class ExactSum:
    def plus(self, other: ExactSum) -> ExactSum: ...
    def add_count(self, n: int) -> None: ...
    def round_quotient(self, divisor: ExactSum | None, dtype: np.dtype[Any]) -> Any: ...
    def parts(self) -> tuple[int, int, int]: ...
    @staticmethod
    def from_parts(n: int, exponent: int, special: int) -> ExactSum: ...

@disjoint_base
class DefaultMode:
    def __enter__(self) -> None: ...
    def __exit__(self, *_: object) -> None: ...
    def __call__(self, function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]: ...

@disjoint_base
class Cell:
    def __init__(self, content: object) -> None: ...
    @property
    def content(self) -> Any: ...
    def replace(self, old: object, new: object) -> bool: ...

TERMS: dict[str, int]
max_threads: int
passes: ModuleType

def set_threads(n: int, follow: bool) -> None: ...
def get_threads() -> int: ...
def in_default_mode(function: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]: ...
def fits(loss: int, parameter: float, single: bool) -> bool: ...
def round_to_single(parameter: float) -> float: ...
def register_loss(loss: int, least: float, greatest: float, name: str) -> None: ...
def bits_of(parameter: float) -> int: ...
def from_bits(bits: int) -> float: ...
def choose_build() -> ModuleType: ...
def available_builds() -> dict[str, str]: ...
def build_info() -> BuildInfo: ...
def plain_loss(
    loss: int,
    parameter: object,
    reduction: object,
    input: object,
    target: object,
    weight: object,
    where: object,
    axis: object,
    keepdims: object,
    out: object,
    n_threads: object,
) -> Any | None: ...
@overload
def plain_gradient(
    loss: int,
    parameter: object,
    reduction: object,
    input: object,
    target: object,
    grad_output: object,
    wrt: object,
    with_value: Literal[False],
    weight: object,
    where: object,
    axis: object,
    out: object,
    n_threads: object,
) -> np.ndarray[Any, Any] | None: ...
@overload
def plain_gradient(
    loss: int,
    parameter: object,
    reduction: object,
    input: object,
    target: object,
    grad_output: object,
    wrt: object,
    with_value: Literal[True],
    weight: object,
    where: object,
    axis: object,
    out: object,
    n_threads: object,
) -> tuple[Any, np.ndarray[Any, Any]] | None: ...
def plain_gradient_and_hessian(
    loss: int,
    parameter: object,
    reduction: object,
    input: object,
    target: object,
    curvature: object,
    weight: object,
    where: object,
    out: object,
    n_threads: object,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]] | None: ...
def factor(grad_output: np.ndarray[Any, Any] | None, count: int) -> tuple[float, float, int]: ...
def factor_of_fraction(numerator: int, denominator: int) -> tuple[float, float, int]: ...
def execute(
    loss: int,
    parameter: float,
    dtype: np.dtype[Any],
    n_threads: int,
    shape: tuple[int, ...],
    kept: list[int] | None,
    operands: dict[str, np.ndarray[Any, Any]],
    summed: str,
    divide: bool,
    result: np.ndarray[Any, Any] | None,
    factors: np.ndarray[Any, Any] | None,
    curvature: int,
    scale: tuple[float, float, int],
    totals: tuple[ExactSum, ExactSum] | None,
) -> int: ...
