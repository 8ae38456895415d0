from typing import final

from typing_extensions import Buffer

quantities: tuple[int, int, int, int, int]

def run(
    quantity: int,
    loss: int,
    parameter: float,
    reduction: int,
    curvature: int,
    axis: int | None,
    n_threads: int,
    input: Buffer,
    target: Buffer,
    weight: Buffer | None = None,
    value: Buffer | None = None,
    gradient: Buffer | None = None,
    hessian: Buffer | None = None,
) -> float: ...

@final
class LossAccumulator:
    @property
    def count(self) -> int: ...
    def update(
        self, loss: int, parameter: float, input: Buffer, target: Buffer, weight: Buffer | None = None, n_threads: int = 1
    ) -> None: ...
    def merge(self, other: LossAccumulator) -> int: ...
    def compute(self, reduction: int = 1) -> float: ...
    def reset(self) -> None: ...
