"""What `cylosses.dask` needs: aligned operands, what tasks do to one block, totals, derivatives, groups, quantiles."""
