"""What `cylosses.dask` needs: operands as aligned Dask arrays, what tasks do to one block, totals, derivatives, groups, quantiles."""
