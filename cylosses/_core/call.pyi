from typing import Any

import numpy as np

from cylosses._core.totals import Total

def value(
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
) -> Any: ...
def gradient(
    loss: int,
    parameter: object,
    reduction: object,
    input: object,
    target: object,
    grad_output: object,
    wrt: object,
    weight: object,
    where: object,
    axis: object,
    out: object,
    n_threads: object,
) -> np.ndarray[Any, Any]: ...
def value_and_gradient(
    loss: int,
    parameter: object,
    reduction: object,
    input: object,
    target: object,
    weight: object,
    where: object,
    axis: object,
    out: object,
    n_threads: object,
) -> tuple[Any, np.ndarray[Any, Any]]: ...
def gradient_and_hessian(
    loss: int,
    parameter: object,
    reduction: object,
    input: object,
    target: object,
    grad_output: object,
    curvature: object,
    weight: object,
    where: object,
    out: object,
    n_threads: object,
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]: ...
def total(
    loss: int,
    parameter: object,
    input: object,
    target: object,
    weight: object,
    where: object,
    axis: object,
    n_threads: object,
) -> Total: ...
def axes(axis: object) -> tuple[int, ...] | None: ...
