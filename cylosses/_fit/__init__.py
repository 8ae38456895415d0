"""A linear model with a convex loss and a ridge penalty: the solver of `cylosses.sklearn` and of `cylosses demo`.

Decisions, and why:

(a) One pass over X per evaluation. The rows are walked in blocks that stay in the cache from the product X @ w over the fused loss
    and gradient to the product gradient @ X. Two whole products would read X from memory twice.
(b) All arithmetic is in float64. A float32 X, or a layout that BLAS does not take, goes through a buffer of a block's size; it is
    never copied whole. So float32 data have the optimum of the same numbers in float64.
(c) Partial sums are kept per block and added in the order of the rows: the result does not depend on the number of threads.
(d) L-BFGS works on coordinates u in which the curvature is about 1 in every direction: w = start + T u, with T from the Cholesky
    factor of the majorise-minimise Hessian at the start (from its diagonal if X is sparse or has many features). The map is
    invertible, so the optimum stays what it is; collinear features and features of different units cost no iterations.
    Of many rows, an evenly spaced sample of blocks gives the start and T.
(e) The objective and u are scaled by what the data make of them, so that `tol` means the same in all units.
(f) The derivative of a loss with a kink does not vanish at the optimum. Such a loss is minimised with a parabola of half-width beta
    around the kink, for a falling sequence of beta that ends at `ROUNDING` times the mean absolute residual.
"""

import numpy as np
import numpy.typing as npt

Vector = npt.NDArray[np.float64]
