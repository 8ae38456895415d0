"""Objectives and evaluation metrics for LightGBM, XGBoost and CatBoost: any loss of the registry.

Decisions, with their reasons (docs/boosting.md has the figures):

a. Nothing of a booster is imported: all three take any object with the right methods. A native call is known by its second
   argument, which holds labels and weights; the scikit-learn interfaces pass three plain arrays.
b. Rows are independent. CatBoost hands over blocks of 1 to 1000 rows in any order, and distributed training a share of them, so
   that gradients must not depend on which other rows are in the call. What depends on all targets is one number, their `scale`.
c. That number rescales gradient and Hessian, both by the same factor: leaf values stay, but ``lambda`` and ``min_child_weight``
   act as they do for squared errors, whatever the unit of the targets.
d. No state that shows. ``"auto"`` is a function of the targets that come with the call; what was worked out is kept, and worked
   out again for other targets, so that copies, folds and second fits see nothing of earlier ones.
e. A booster, or a library beside it, may have left another floating-point mode in the thread that calls. Each public method
   computes in the default one, comparisons included: where subnormal numbers count as 0, different parameters are equal.
f. Plain Python: CatBoost would compile with numba what does not use ``self``, and warns where it cannot; ``no_jit`` says so.
"""

from cylosses.boosting.metric import Metric
from cylosses.boosting.objective import Objective
from cylosses.boosting.scale import robust_scale

__all__ = ["Metric", "Objective", "robust_scale"]
