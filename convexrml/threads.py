"""Threads: numba's parallel kernels are entered by one Python thread at a time."""

import threading

# Numba's fallback threading layer must not be entered twice at once, and the others gain nothing from it: one call
# already uses all of numba's threads.
PARALLEL_KERNELS = threading.Lock()
