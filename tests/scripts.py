"""The scripts of examples/: which guide each belongs to, what it needs, and what it prints."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import cylosses

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


class Script(NamedTuple):
    """A script: the page of docs/ that it goes with, packages besides matplotlib and NumPy, and a pattern of its output."""

    page: str | None
    packages: tuple[str, ...]
    output: str


SCRIPTS = {
    "boosting_objectives": Script("boosting", ("catboost", "lightgbm", "xgboost"), r"LightGBM: smooth L1 \d+\.\d, squares \d+"),
    "own_estimator": Script("own-estimator", ("sklearn",), r"\[1\.98 0\.   1\.01\]"),
    "plot_beta": Script(None, ("sklearn",), r"beta  0\.03: error 0\.3\d\nbeta  [01]\.\d\d: error 0\.3\d\nbeta 10\.00: error [1-9]"),
    "plot_boxes": Script(None, (), r"share of the two bad boxes: smooth L1 0\.89, squares 0\.96"),
    "plot_dask_chunks": Script("dask", ("dask",), r"has the bits of the call in memory: True"),
    "plot_depth_maps": Script(None, (), r"45 % of the pixels are known; .*\nlargest gradient 1\.00, where nothing is known 0\.0"),
    "plot_documented_calls": Script(
        None, (), r"smooth_l1_loss\(p, t\)\n    np\.float32\(2\.5433333\)\n(.*\n)*.*BroadcastWarning: "
    ),
    "plot_outliers": Script(None, (), r"Tukey, c = 4\.685 m: 19\.96 m without outliers, 19\.94 m with 100"),
    "plot_per_element": Script(
        None, ("sklearn",), r"\[1\.25e-01 7\.50e\+00 5\.00e-03\]\ndays \[ 1  3  4 21\] make 72 % of the loss"
    ),
    "plot_quantiles": Script("parameters", (), r"best constants: \[ 50\.  97\. 177\.\]"),
    "plot_robust_line": Script("scikit-learn", ("sklearn",), r"smooth L1, beta = [\d.]+: slope 1\.9"),
    "plot_scipy_fit": Script("scipy", ("scipy",), r"true: amplitude 2\.00(.*\n)* +Tukey: amplitude 2\.08"),
    "plot_scoring_files": Script("cli", ("click", "duckdb"), r"region,mse,huber:delta=10,count\neast,\d(.*\n)*total,.*,980"),
    "plot_streaming_totals": Script("state-format", (), r"merged:     1\.1929985 the same bytes: True"),
    "torch_training": Script("torch", ("torch", "ml_dtypes"), r"one thread and two give the same bits: True"),
}
PEERS = {"catboost", "lightgbm", "torch", "xgboost"}  # packages that only the peers' environment has


class Panel(NamedTuple):
    """The texts of a panel of a picture; a colour bar has no title."""

    title: str
    x: str
    y: str
    is_bar: bool


class Run(NamedTuple):
    """What a script has printed, and the panels of each picture that it has drawn."""

    printed: str
    pictures: list[list[Panel]]


# Runs a script, then draws its pictures and tells, behind a zero byte, what they hold.
_DRIVER = """
import json, runpy, sys
runpy.run_path(sys.argv[1], run_name="__main__")
pictures = []
if "matplotlib.pyplot" in sys.modules:
    import matplotlib.pyplot as plt
    for figure in map(plt.figure, plt.get_fignums()):
        figure.canvas.draw()
        bars = [hasattr(axes, "_colorbar") for axes in figure.axes]
        pictures.append([[axes.get_title(), axes.get_xlabel(), axes.get_ylabel(), bar] for axes, bar in zip(figure.axes, bars)])
print(end="\\0" + json.dumps(pictures))
"""


def run(name: str) -> Run:
    """Run a script in a process of its own, which draws on no screen and where each warning is an error."""
    package = Path(cylosses.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _DRIVER, EXAMPLES / f"{name}.py"],
        capture_output=True,
        encoding="utf-8",
        env=os.environ | {"PYTHONPATH": str(package), "MPLBACKEND": "Agg", "PYTHONIOENCODING": "utf-8"},
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    printed, _, pictures = done.stdout.partition("\0")
    return Run(printed, [[Panel(*panel) for panel in picture] for picture in json.loads(pictures)])
