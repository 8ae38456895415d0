"""`SmoothL1Regressor` beside scikit-learn's `HuberRegressor` and beside the matrix-vector products that a fit cannot do without.

python -m benchmarks.studies.estimators

The samples are those of a linear model with normal errors of scale 1, except that some have gross errors. The coefficient error is
the largest distance to the coefficients that the samples were drawn with. The floor is as many pairs of products X @ w and X.T @ g
over the whole of X as the fit evaluates its objective.
"""

import argparse
from typing import Any

import numpy as np
from sklearn.linear_model import HuberRegressor

from benchmarks.measure.harness import Subject, measure
from benchmarks.report.tables import markdown_table, seconds_text
from cylosses import get_num_threads
from cylosses.sklearn import SmoothL1Regressor

OUTLIERS = 0.02
GROSS = 1000.0
TURN = 1.35  # where both losses turn from square to linear, in standard deviations


def samples(n_samples: int, n_features: int, dtype: str) -> tuple[Any, Any, Any]:
    """Return features, targets with outliers, and the true coefficients."""
    rng = np.random.default_rng(0)
    X, coef = rng.normal(size=(n_samples, n_features)), rng.normal(size=n_features)
    y = X @ coef + 3.0 + rng.normal(size=n_samples)
    y += np.where(rng.random(n_samples) < OUTLIERS, rng.uniform(-GROSS, GROSS, n_samples), 0.0)
    return X.astype(dtype), y.astype(dtype), coef


def products(X: Any, w: Any, predictions: Any, repeat: int) -> None:
    """Multiply X with a vector of features and with one of samples."""
    for _ in range(repeat):
        np.dot(X, w, out=predictions)
        np.dot(X.T, predictions, out=w)


def rows(n_samples: int, n_features: int, dtype: str, seconds: float) -> list[list[str]]:
    """Return the lines of the table for one dtype."""
    X, y, coef = samples(n_samples, n_features, dtype)
    models = [SmoothL1Regressor(beta=TURN, alpha=0), HuberRegressor(epsilon=TURN, alpha=0)]
    for model in models:
        model.fit(X, y)
    ours, huber = models
    passes = ours.n_evaluations_
    # Of zeros: the product with X.T grows, and must not overflow.
    floor = Subject("products", products, (X, np.zeros(n_features, dtype), np.zeros(n_samples, dtype), passes), kind="floor")
    fits = [
        Subject(type(model).__name__, model.fit, (X, y), kind=kind)
        for model, kind in zip(models, ("cylosses", "peer"), strict=True)
    ]
    timings = measure([floor, *fits], seconds, get_num_threads(), attempts=1)  # seconds long: the best of a few is quiet enough
    best = [timing.best for timing in timings]
    lines = [[dtype, f"{passes} × (X @ w, X.T @ g)", seconds_text(best[0]), "1", f"{best[2] / best[0]:.1f}", "", ""]]
    for model, time, iterations in zip(models, best[1:], (ours.n_iter_, huber.n_iter_), strict=True):
        error = f"{np.abs(model.coef_ - coef).max():.5f}"
        name = type(model).__name__
        lines.append([dtype, name, seconds_text(time), f"{time / best[0]:.2f}", f"{best[2] / time:.1f}", error, str(iterations)])
    return lines


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=10.0, help="to spend on each dtype, at least")
    chosen = parser.parse_args()
    lines = [line for dtype in ("float64", "float32") for line in rows(chosen.samples, chosen.features, dtype, chosen.seconds)]
    print(f"{chosen.samples:,} × {chosen.features}, {OUTLIERS:.0%} gross outliers, {get_num_threads()} threads\n")
    print(
        markdown_table(["dtype", "work", "best time", "× products", "faster than Huber", "coefficient error", "iterations"], lines)
    )


if __name__ == "__main__":
    main()
