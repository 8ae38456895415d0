"""Between tensors and arrays: they share memory, nothing is copied."""

from functools import cache
from typing import Any

import numpy as np
import torch
from torch import from_numpy

from cylosses._types import Array

BFLOAT16 = torch.bfloat16


@cache
def numpy_dtype(dtype: torch.dtype) -> np.dtype[Any]:
    """Return NumPy's dtype of a dtype of torch's."""
    if dtype is torch.bfloat16:
        try:
            import ml_dtypes  # noqa: F401
        except ModuleNotFoundError as error:
            if error.name != "ml_dtypes":
                raise
            raise ImportError("cylosses.torch needs the package ml_dtypes for bfloat16: pip install 'cylosses[torch]'") from error
        return np.dtype("bfloat16")  # NumPy knows the name now
    return np.dtype(str(dtype).removeprefix("torch."))


@cache
def torch_dtype(dtype: np.dtype[Any]) -> torch.dtype:
    """Return torch's dtype of a dtype of NumPy's."""
    found: torch.dtype = getattr(torch, dtype.name)
    return found


def array_of(tensor: torch.Tensor) -> Array:
    """Return the elements of a dense CPU tensor as an array."""
    if tensor.dtype is BFLOAT16:  # which torch does not hand to NumPy
        bits: Array = tensor.detach().resolve_neg().view(torch.int16).numpy()
        return bits.view(numpy_dtype(torch.bfloat16))
    array: Array = tensor.numpy(force=True)
    return array


def tensor_of(result: Any) -> torch.Tensor:
    """Return an array, or a NumPy scalar, as a tensor."""
    if result.dtype.isbuiltin != 1:  # bfloat16
        return torch.from_numpy(np.asarray(result).view(np.int16)).view(torch.bfloat16)
    return from_numpy(result if type(result) is np.ndarray else np.asarray(result))
