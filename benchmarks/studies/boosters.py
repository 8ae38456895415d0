"""LightGBM, XGBoost and CatBoost with these objectives and with their own: ``python -m benchmarks.studies.boosters``.

Test errors on scikit-learn's diabetes data, as it is, times 100 (errors are divided by 100 again), with weights, and with one
training target in twenty moved by fifteen standard deviations; then seconds per round, beside the same objective in NumPy. The
boosters have their default settings, but for the number of threads and CatBoost's rounds (500, half its default). A booster that is
not installed is left out.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple

import numpy as np
from sklearn.datasets import load_diabetes, make_friedman1
from sklearn.model_selection import train_test_split

from benchmarks.measure.machine import cpu_model
from benchmarks.measure.neighbours import usable_cpus
from benchmarks.report.tables import markdown_table, seconds_text, size_text
from cylosses import LOSSES
from cylosses.boosting import Objective, robust_scale

Array = np.ndarray[Any, np.dtype[Any]]
# From training targets and weights to what a booster takes as its objective.
Maker = Callable[[Array, Array | None], Any]

FIRST_LOSSES = ("mse", "smooth_l1", "l1", "tukey")
CURVATURES = ("mm", "ones", "exact")


class Data(NamedTuple):
    """A variant of the data."""

    name: str
    unit: float = 1.0
    weighted: bool = False
    outliers: bool = False


VARIANTS = (
    Data("plain"),
    Data("x 100", unit=100.0),
    Data("weights", weighted=True),
    Data("weights, x 100", unit=100.0, weighted=True),
    Data("outliers", outliers=True),
)


class NumpyObjective:
    """Smooth L1 with majorise-minimise curvature, rescaled as the library does it, in plain NumPy."""

    no_jit = True

    def __init__(self, scale: float, beta: float) -> None:
        self.scale, self.beta = scale, beta

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> tuple[Array, Array]:
        """Return gradient and Hessian."""
        error = y_pred - y_true
        gradient = self.scale * np.clip(error / self.beta, -1, 1)
        hessian = self.scale / np.maximum(np.abs(error), self.beta)
        return (gradient, hessian) if sample_weight is None else (gradient * sample_weight, hessian * sample_weight)

    def calc_ders_range(self, approxes: Any, targets: Any, weights: Any) -> Array:
        """Return what CatBoost wants."""
        return -np.stack(self(targets, approxes, weights), 1)


class Clock:
    """Notes when each round ends: a callback of all three."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, environment: Any) -> None:
        """LightGBM calls this."""
        self.times.append(time.perf_counter())

    def after_iteration(self, info: Any) -> bool:
        """CatBoost calls this, and goes on if it is true."""
        self(info)
        return True

    def xgboost(self) -> Any:
        """Return what XGBoost wants, which insists on its own class."""
        from xgboost.callback import TrainingCallback

        clock = self

        class Callback(TrainingCallback):
            def after_iteration(self, model: Any, epoch: int, evals_log: Any) -> bool:
                clock(model)
                return False

        return Callback()

    def per_round(self) -> float:
        """Return the median seconds of a round, the first two left out."""
        return float(np.median(np.diff(self.times)[2:]))


class Booster(NamedTuple):
    """How to train one."""

    package: str
    rounds: int  # for the errors
    train: Callable[..., Any]
    own: Callable[[float], dict[str, Any]]  # from a Huber delta to its own objectives


def _lightgbm(objective: Any, rounds: int, x: Array, y: Array, weight: Array | None, clock: Clock | None = None) -> Any:
    from lightgbm import LGBMRegressor

    extra = {"alpha": objective[1]} if isinstance(objective, tuple) else {}
    name = objective[0] if isinstance(objective, tuple) else objective
    model = LGBMRegressor(objective=name, n_estimators=rounds, n_jobs=1, verbose=-1, **extra)
    return model.fit(x, y, sample_weight=weight, callbacks=[clock] if clock else None)


def _xgboost(objective: Any, rounds: int, x: Array, y: Array, weight: Array | None, clock: Clock | None = None) -> Any:
    from xgboost import XGBRegressor

    extra = {"huber_slope": objective[1]} if isinstance(objective, tuple) else {}
    name = objective[0] if isinstance(objective, tuple) else objective
    model = XGBRegressor(objective=name, n_estimators=rounds, n_jobs=1, callbacks=[clock.xgboost()] if clock else None, **extra)
    return model.fit(x, y, sample_weight=weight)


def _catboost(objective: Any, rounds: int, x: Array, y: Array, weight: Array | None, clock: Clock | None = None) -> Any:
    from catboost import CatBoostRegressor

    # For objectives of one's own it wants a metric; it is evaluated on the training rows, as its own ones are.
    metric = {} if isinstance(objective, str) else {"eval_metric": "RMSE"}
    model = CatBoostRegressor(
        loss_function=objective, iterations=rounds, thread_count=1, verbose=False, allow_writing_files=False, **metric
    )
    return model.fit(x, y, sample_weight=weight, callbacks=[clock] if clock else None)


BOOSTERS = {
    "LightGBM": Booster(
        "lightgbm",
        100,
        _lightgbm,
        lambda delta: {
            "L2": "regression",
            "Huber, default 0.9": "huber",
            "Huber, our delta": ("huber", delta),
            "MAE": "regression_l1",
        },
    ),
    "XGBoost": Booster(
        "xgboost",
        100,
        _xgboost,
        lambda delta: {
            "L2": "reg:squarederror",
            "pseudo-Huber, default 1": "reg:pseudohubererror",
            "pseudo-Huber, our delta": ("reg:pseudohubererror", delta),
            "MAE": "reg:absoluteerror",
        },
    ),
    "CatBoost": Booster(
        "catboost",
        500,
        _catboost,
        lambda delta: {
            "L2": "RMSE",
            "Huber, delta 1": "Huber:delta=1",
            "Huber, our delta": f"Huber:delta={delta:.9g}",
            "MAE": "MAE",
        },
    ),
}


def installed() -> dict[str, str]:
    """Return the version of each booster that is there; XGBoost has two packages."""
    found = {}
    for name, booster in BOOSTERS.items():
        for package in (booster.package, f"{booster.package}-cpu"):
            try:
                found[name] = version(package)
            except PackageNotFoundError:
                continue
    return found


# Errors ---------------------------------------------------------------------------------------------------------------


def errors(booster: Booster, make: Maker, data: Data, seeds: int) -> str:
    """Return mean absolute and root mean squared test error, the mean over splits, as text."""
    x, y = load_diabetes(return_X_y=True)
    found = []
    for seed in range(seeds):
        x_train, x_test, y_train, y_test = train_test_split(x, y * data.unit, random_state=seed)
        rng = np.random.default_rng(seed)
        weight, test_weight = (rng.integers(1, 5, len(part)).astype(float) if data.weighted else None for part in (y_train, y_test))
        if data.outliers:
            hit = rng.random(len(y_train)) < 0.05
            y_train = y_train + hit * rng.choice([-15.0, 15.0], len(y_train)) * y_train.std()
        error = booster.train(make(y_train, weight), booster.rounds, x_train, y_train, weight).predict(x_test) - y_test
        squared = np.average(error**2, weights=test_weight)
        found.append((np.average(abs(error), weights=test_weight) / data.unit, squared**0.5 / data.unit))
    absolute, root = np.mean(found, axis=0)
    return f"{absolute:.1f} / {root:.1f}" if root < 10_000 else "diverges"


def makers(booster: Booster, losses: Sequence[str], curvatures: Sequence[str]) -> dict[str, Maker]:
    """Return the rows of the table of errors: the booster's own objectives and these."""
    found: dict[str, Maker] = {}
    for name in booster.own(1.0):
        found[f"own {name}"] = lambda y, w, name=name: booster.own(0.2 * robust_scale(y, w))[name]
    for loss in losses:
        for curvature in curvatures:
            text = loss if len(curvatures) == 1 else f"{loss}, {curvature}"
            found[f"cylosses {text}"] = lambda y, w, loss=loss, curvature=curvature: Objective(loss, curvature).for_targets(y, w)
    return found


def print_errors(boosters: Sequence[str], losses: Sequence[str], curvatures: Sequence[str], seeds: int) -> None:
    """Print a table of errors for each booster."""
    for name in boosters:
        booster = BOOSTERS[name]
        lines = [
            [row, *(errors(booster, make, data, seeds) for data in VARIANTS)]
            for row, make in makers(booster, losses, curvatures).items()
        ]
        print(f"\n### {name}, MAE / RMSE\n")
        print(markdown_table(["objective", *(data.name for data in VARIANTS)], lines), flush=True)


# Seconds --------------------------------------------------------------------------------------------------------------


def seconds_per_round(
    booster: Booster, objectives: dict[str, Any], x: Array, y: Array, rounds: int, turns: int
) -> dict[str, float]:
    """Return the seconds of a round with each objective, the shortest of the medians. They take turns."""
    best = dict.fromkeys(objectives, float("inf"))
    for _ in range(turns):
        for name, objective in objectives.items():
            clock = Clock()
            booster.train(objective, rounds, x, y, None, clock)
            best[name] = min(best[name], clock.per_round())
    return best


def print_seconds(boosters: Sequence[str], sizes: Sequence[int], turns: int) -> None:
    """Print seconds per round on one thread, and those of the objective alone."""
    for size in sizes:
        x, y = make_friedman1(size, n_features=20, noise=1.0, random_state=0)
        y = y.astype(np.float32)
        ours = Objective().for_targets(y)
        plain = NumpyObjective(float(ours.scale), float(ours.parameter))
        objectives = {"cylosses, auto": Objective(), "cylosses": ours, "NumPy": plain}
        lines = []
        rounds = 30 if size >= 50_000 else 200
        for name in boosters:
            # CatBoost cannot take the automatic one.
            mine = {label: objective for label, objective in objectives.items() if name != "CatBoost" or label != "cylosses, auto"}
            own = {
                f"own {label}": value
                for label, value in BOOSTERS[name].own(float(ours.parameter)).items()
                if label in ("L2", "MAE")
            }
            found = seconds_per_round(BOOSTERS[name], mine | own, x, y, rounds, turns)
            lines.append(
                [name, *(seconds_text(found[label]) if label in found else "" for label in (*objectives, "own L2", "own MAE"))]
            )
        for label, dtype in (("call, float32", np.float32), ("call, float64 predictions", np.float64)):
            prediction = y.astype(dtype) + 1
            lines.append([label, *(seconds_text(_call(objective, y, prediction)) for objective in objectives.values()), "", ""])
        print(f"\n### Seconds per round, {size_text(size)} rows, 20 features, smooth L1, one thread\n")
        print(markdown_table(["", *objectives, "own L2", "own MAE"], lines), flush=True)


def _call(objective: Any, y: Array, prediction: Array) -> float:
    times = []
    for _ in range(30):
        start = time.perf_counter()
        objective(y, prediction)
        times.append(time.perf_counter() - start)
    return min(times)


def main(argv: Sequence[str] | None = None) -> None:
    """Print what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.studies.boosters", description=__doc__.partition("\n")[0])
    parser.add_argument("--boosters", nargs="+", choices=list(BOOSTERS), default=list(BOOSTERS))
    parser.add_argument("--losses", nargs="+", choices=list(LOSSES), default=list(FIRST_LOSSES))
    parser.add_argument("--curvatures", nargs="+", choices=CURVATURES, default=["mm"])
    parser.add_argument("--seeds", type=int, default=5, help="random splits to average over")
    parser.add_argument("--sizes", type=int, nargs="+", default=[442, 100_000], help="rows to time")
    parser.add_argument("--turns", type=int, default=3, help="repetitions of each timing")
    parser.add_argument("--only", choices=["errors", "seconds"])
    options = parser.parse_args(argv)

    from cylosses import set_num_threads

    set_num_threads(1)  # as the boosters have
    versions = installed()
    boosters = [name for name in options.boosters if name in versions]
    print(
        f"{cpu_model()}, {usable_cpus()} CPUs; NumPy {np.__version__}, "
        + ", ".join(f"{name} {versions[name]}" for name in boosters)
    )
    if options.only != "seconds":
        print_errors(boosters, options.losses, options.curvatures, options.seeds)
    if options.only != "errors":
        print_seconds(boosters, options.sizes, options.turns)


if __name__ == "__main__":
    main()
