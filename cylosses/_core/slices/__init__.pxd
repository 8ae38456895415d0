# Makes this folder a package for Cython.
