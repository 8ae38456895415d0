"""The search for wrong results: random calls of every kind against exact arithmetic. See `tools.fuzz.__main__`."""
