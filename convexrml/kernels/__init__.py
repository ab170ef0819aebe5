"""Numba kernels: contiguous float64 arrays in, arrays out; they know nothing of the rest of the house.

None uses ``fastmath``: every sum has one fixed order, so equal rows give equal results bit by bit wherever they
stand, and NaN and infinity behave as IEEE 754 says.
"""
