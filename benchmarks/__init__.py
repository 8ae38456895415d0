"""Benchmarks of cylosses: one harness, side by side with its peers and with the floors that memory sets. See README.md."""
