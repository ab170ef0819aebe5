"""What results were made with."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Sequence

from convexrml import __version__
from convexrml.profiles import get_profile

_DEPENDENCIES = ("numpy", "scipy", "numba", "scikit-learn", "cvxpy")


def versions(solvers: Sequence[str] = ()) -> dict[str, str | None]:
    """Versions of convexrml, of Python, of what convexrml builds on, and of the solvers named."""
    found: dict[str, str | None] = {"convexrml": __version__, "python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in _DEPENDENCIES}
    return found | {name: get_profile(name).version() for name in solvers}
