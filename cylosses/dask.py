"""WIP"""
from typing import Any
from cylosses import Loss
from cylosses._dask import derivatives, totals
from cylosses._dask.operands import Operands
import dask.array as da

def loss(loss, input, target, *, weight=None, where=None, axis=None, keepdims=False, n_threads=1, split_every=None):
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    return totals.value(loss, operands, axis, keepdims, split_every)

def grad(loss, input, target, *, grad_output=None, wrt="input", weight=None, where=None, axis=None, n_threads=1, split_every=None):
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    return derivatives.gradient(loss, operands, grad_output, wrt, axis, split_every)

def value_and_grad(loss, input, target, *, weight=None, where=None, axis=None, n_threads=1, split_every=None):
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    return derivatives.value_and_gradient(loss, operands, axis, split_every)

def grad_and_hess(loss, input, target, *, grad_output=None, curvature="exact", weight=None, where=None, n_threads=1, split_every=None):
    operands = Operands.of(loss, input, target, weight, where, n_threads)
    return derivatives.gradient_and_hessian(loss, operands, grad_output, curvature, split_every)
