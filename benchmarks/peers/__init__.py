"""The peers: libraries that compute the same losses, one adapter each, used as well as their documentation allows.

A peer that is not installed, or cannot do a work, is left out by name. To add one: a module here with a subclass of `Peer`, and a
place in `PEERS`.
"""

from benchmarks.peers.base import Peer
from benchmarks.peers.exact import MathFsum, Xsum
from benchmarks.peers.jax_jit import JaxJit
from benchmarks.peers.numba_fused import NumbaFused
from benchmarks.peers.numexpr_vm import NumExpr
from benchmarks.peers.plain_numpy import PlainNumPy
from benchmarks.peers.pytorch import Torch, TorchCompile
from benchmarks.peers.sklearn_private import SklearnPrivate

__all__ = ["PEERS", "Peer", "find_peers"]

PEERS = (Torch, TorchCompile, NumbaFused, NumExpr, JaxJit, SklearnPrivate, PlainNumPy, MathFsum, Xsum)


def find_peers(without: frozenset[str] = frozenset()) -> tuple[list[Peer], dict[str, str]]:
    """Return the peers that work here, and the reason for each that does not.

    Parameters
    ----------
    without : frozenset of str
        Names of peers to leave out.
    """
    found, skipped = [], {}
    for cls in PEERS:
        if cls.name in without:
            skipped[cls.name] = "left out on request"
            continue
        try:
            found.append(cls())
        except Exception as error:  # whatever keeps a peer from starting is its reason to be skipped
            skipped[cls.name] = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    return found, skipped
