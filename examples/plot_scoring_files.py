"""
Scoring a file from the command line
====================================

``cylosses score`` reads predictions and targets from tables and arrays, larger than memory if need be, and prints
exact losses: here of a CSV with missing cells, one for each region. The program is run as a shell would run it.
"""

import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

# %%
# A thousand sales and their forecasts; the east has ten gross errors, and some cells are empty.

rng = np.random.default_rng(0)
folder = tempfile.TemporaryDirectory()
path = Path(folder.name, "forecasts.csv")
with path.open("w", newline="") as file:
    table = csv.writer(file)
    table.writerow(["region", "predicted", "observed"])
    for k in range(1000):
        region, observed = ["north", "east", "south", "west"][k % 4], rng.normal(100, 20)
        error = rng.normal(0, 5 if region != "west" else 8) + (200 if region == "east" and k % 100 == 1 else 0)
        table.writerow([region, f"{observed + error:.1f}", f"{observed:.1f}" if k % 50 else ""])

# %%
# Squares and Huber's loss in one pass over the file.


def cylosses(*arguments):
    """What ``cylosses ARGUMENTS`` prints."""
    program = [sys.executable, "-m", "cylosses"]
    return subprocess.run([*program, *arguments], capture_output=True, text=True, check=True).stdout


command = ["score", str(path), "predicted", "observed", "--by", "region", "--missing", "skip"]
command += ["--loss", "mse", "--loss", "huber:delta=10"]
print(cylosses(*command, "--csv"))

# %%
# ``--json`` is for programs. Of the region whose forecasts are worst, the two losses do not think the same: most
# of the east's squares come from ten rows.

groups = json.loads(cylosses(*command, "--json"))["groups"]
folder.cleanup()
figure, panels = plt.subplots(1, 2, figsize=(7.5, 3.6), layout="constrained")
for panel, title, k in [(panels[0], "Mean square", 0), (panels[1], "Mean Huber loss, delta = 10", 1)]:
    panel.bar([group["key"][0] for group in groups], [group["value"][k] for group in groups], color=f"C{k}")
    panel.set(title=title, xlabel="region", ylabel="loss in units sold, squared")
