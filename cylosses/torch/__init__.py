"""The losses for torch's tensors on the CPU: the extra `torch`.

For every loss of `cylosses.LOSSES` there are a function and a module. Those that torch has, too, have its names and signatures, so
that only an import changes: ``from cylosses.torch import smooth_l1_loss``. ``torch.ops.cylosses`` has the operators that
compilers see.
"""

try:
    import torch as _torch  # noqa: F401  # what is missing is torch itself, or something that torch needs
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ImportError("cylosses.torch needs the package torch: pip install 'cylosses[torch]'") from error

from cylosses.torch import _functions, _modules
from cylosses.torch._functions import *  # noqa: F403
from cylosses.torch._modules import *  # noqa: F403

__all__: list[str] = []
__all__ += _functions.__all__
__all__ += _modules.__all__
