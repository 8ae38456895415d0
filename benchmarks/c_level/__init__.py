"""Benchmarks of the compiled loops themselves: ``python -m benchmarks.c_level`` compiles a driver that calls them from C."""
