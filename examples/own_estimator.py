"""
An estimator of your own
========================

Robust regression without negative coefficients: SciPy minimises, and `value_and_grad` computes value and gradient.
"""

import numpy as np
from scipy.optimize import minimize
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from cylosses import CharbonnierLoss

# %%
# The estimator passes the checks of scikit-learn.


class NonNegativeRegressor(RegressorMixin, BaseEstimator):
    def __init__(self, eps=0.1):
        self.eps = eps

    def fit(self, X, y):
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True)
        loss, gradient = CharbonnierLoss(eps=self.eps), np.empty(len(y))

        def objective(w):
            value, _ = loss.value_and_grad(X @ w[:-1] + w[-1], y, out=gradient)  # value and gradient from one pass
            return value, np.append(gradient @ X, gradient.sum())

        bounds = [(0, None)] * X.shape[1] + [(None, None)]  # the last is the intercept
        result = minimize(objective, np.zeros(len(bounds)), jac=True, bounds=bounds, method="L-BFGS-B")
        self.coef_, self.intercept_, self.n_iter_ = result.x[:-1], result.x[-1], result.nit
        return self

    def predict(self, X):
        check_is_fitted(self)
        return validate_data(self, X, dtype=np.float64, reset=False) @ self.coef_ + self.intercept_


# %%
# One in fifty targets is wrong by far; the coefficient that would be -1 ends at 0.

if __name__ == "__main__":
    X = np.random.default_rng(0).normal(size=(500, 3))
    y = X @ [2.0, -1.0, 1.0] + 3.0
    y[::50] = 1000.0  # outliers
    print(NonNegativeRegressor().fit(X, y).coef_.round(2))
