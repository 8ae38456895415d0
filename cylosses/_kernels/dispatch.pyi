from typing import Any, Literal, TypedDict, overload

import numpy as np

class BuildInfo(TypedDict):
    isa: str
    openmp: int
    compiler: str
    flags: str

class ExactSum:
    def merge(self, other: ExactSum) -> None: ...
    def add_count(self, n: int) -> None: ...
    def round_quotient(self, divisor: ExactSum | None, dtype: np.dtype[Any]) -> Any: ...
    def parts(self) -> tuple[int, int, int]: ...
    @staticmethod
    def from_parts(n: int, exponent: int, special: int) -> ExactSum: ...

def set_threads(n: int, follow: bool) -> None: ...
def get_threads() -> int: ...
def round_to_single(parameter: float) -> float: ...
def set_accepted(loss: int, least: float, greatest: float) -> None: ...
def available_builds() -> dict[str, str]: ...
def build_info() -> BuildInfo: ...
def plain_value(loss: int, parameter: float, input: object, target: object, divide: bool) -> Any | None: ...
def plain_values(loss: int, parameter: float, input: object, target: object, out: object) -> Any | None: ...
@overload
def plain_gradient(
    loss: int, parameter: float, input: object, target: object, divide: bool, with_value: Literal[False], out: object
) -> np.ndarray[Any, Any] | None: ...
@overload
def plain_gradient(
    loss: int, parameter: float, input: object, target: object, divide: bool, with_value: Literal[True], out: object
) -> tuple[Any, np.ndarray[Any, Any]] | None: ...
def execute(
    loss: int,
    parameter: float,
    *,
    shape: tuple[int, ...],
    outer: int,
    single: bool,
    input: np.ndarray[Any, Any],
    target: np.ndarray[Any, Any],
    dtype: np.dtype[Any],
    curvature: int = 0,
    weight: np.ndarray[Any, Any] | None = None,
    where: np.ndarray[Any, Any] | None = None,
    grad_output: np.ndarray[Any, Any] | None = None,
    value: np.ndarray[Any, Any] | None = None,
    gradient: np.ndarray[Any, Any] | None = None,
    hessian: np.ndarray[Any, Any] | None = None,
    scale: float = 1.0,
    summed: str = "",
    divide: bool = False,
    result: np.ndarray[Any, Any] | None = None,
    result_dtype: np.dtype[Any] | None = None,
    total: ExactSum | None = None,
    weights: ExactSum | None = None,
    n_threads: int = 0,
) -> int: ...
