"""What `cylosses.views` needs: requests, their checks, and the compiled functions."""
