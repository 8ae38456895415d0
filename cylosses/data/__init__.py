"""Data sets of the demo; README.md tells their sources."""
