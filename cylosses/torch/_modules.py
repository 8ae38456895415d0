"""The losses as modules with the names and signatures of those of `torch.nn`.

The classes are written out from one template for each class of the registry.
"""

import inspect
from typing import Any

import torch

from cylosses import LOSSES, Loss
from cylosses._types import Axis
from cylosses.torch import _functions
from cylosses.torch._call import parameter_of

__all__: list[str] = []  # the classes are added below


class LossModule(torch.nn.Module):  # type: ignore[misc]
    """What the modules have in common: settings, which are attributes as those of torch's modules are."""

    loss: type[Loss]

    def _set(self, loss: Loss) -> None:
        super().__init__()
        self.reduction = loss.reduction
        if loss.parameter_name:
            setattr(self, loss.parameter_name, parameter_of(loss))

    def forward(
        self,
        input: torch.Tensor,
        target: torch.Tensor,
        weight: torch.Tensor | None = None,
        *,
        where: torch.Tensor | None = None,
        axis: Axis = None,
        keepdims: bool = False,
    ) -> torch.Tensor:
        """Return the loss between input and target, as the function of the same loss: a call of the module calls this.

        Examples
        --------
        >>> import torch
        >>> from cylosses.torch import L1Loss
        >>> L1Loss().forward(torch.tensor([1.0, 2.0]), torch.tensor([4.0, 9.0]), torch.tensor([3.0, 1.0]))
        tensor(4.)
        """
        function = getattr(_functions, f"{self.loss.name}_loss")
        result: torch.Tensor = function(input, target, **self._settings(), weight=weight, where=where, axis=axis, keepdims=keepdims)
        return result

    def extra_repr(self) -> str:
        """Return the settings as the repr of the module shows them.

        Examples
        --------
        >>> from cylosses.torch import HuberLoss
        >>> HuberLoss(delta=2.0).extra_repr()
        "reduction='mean', delta=2.0"
        """
        return ", ".join(f"{name}={value!r}" for name, value in self._settings().items())

    def _settings(self) -> dict[str, Any]:
        parameter = self.loss.parameter_name
        return {"reduction": self.reduction} | ({parameter: getattr(self, parameter)} if parameter else {})


_CLASS = """
class {cls}(LossModule):
    loss = LOSSES["{name}"]

    def __init__(self, {flags}reduction="mean"{declared}):
        self._set(self.loss({given}))
"""

_CLASS_DOC = """{summary} A module, as those of `torch.nn`.

Parameters
----------
{parameters}

Notes
-----
``module(input, target, weight=None, *, where=None, axis=None, keepdims=False)`` is what `{name}_loss` of this package is with these
settings, which are attributes of the module. It has neither parameters nor buffers: its ``state_dict`` is empty.

Examples
--------
>>> import torch
>>> from cylosses.torch import {cls}
>>> {cls}(reduction="sum")(torch.ones(3), torch.ones(3)).shape
torch.Size([])
"""


def _define(cls: type[Loss]) -> None:
    """Put the module of a loss into this module."""
    parameter, doc = cls.parameter_name, cls.__doc__ or ""
    names = (["size_average", "reduce"] if cls.legacy else []) + ["reduction"] + ([parameter] if parameter else [])
    words = {
        "name": cls.name,
        "cls": cls.__name__,
        "flags": "size_average=None, reduce=None, " if cls.legacy else "",
        "declared": f", {parameter}={cls.default!r}" if parameter else "",
        "given": ", ".join(f"{name}={name}" for name in names),
        "summary": doc.partition("\n")[0],
        "parameters": inspect.cleandoc(doc.partition("----------\n")[2].partition("\n\n")[0]),
    }
    exec(compile(_CLASS.format(**words), f"{__file__} (template)", "exec"), globals())
    globals()[cls.__name__].__doc__ = _CLASS_DOC.format(**words)
    __all__.append(cls.__name__)


for _cls in LOSSES.values():
    _define(_cls)
