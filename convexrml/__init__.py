"""Provable robustness of nearest-neighbour classifiers under Mahalanobis metrics.

How far may an input be perturbed before the classifier changes its mind?  Bounds in closed form, exact radii by
explicit convex programs, and a cross-checker that holds one against the other.

The names below are the public ones; the rest is for those who read on.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from convexrml import checker, errors, formulations, optimality
    from convexrml.attack_settings import ToolAttack
    from convexrml.attack_tools import tool_attack_radius
    from convexrml.attacks import attack_radius
    from convexrml.bounds import certified_radius
    from convexrml.estimators.affine import affine_transformer
    from convexrml.estimators.reading import from_estimator
    from convexrml.exact import exact_radius
    from convexrml.judge import Roads, crosscheck
    from convexrml.learning.arml import ARML
    from convexrml.learning.exact_radius import ExactRadiusLearner
    from convexrml.learning.mining import mine_triplets
    from convexrml.learning.robust import RobustMetricLearner
    from convexrml.metric import MahalanobisMetric, nearest_psd
    from convexrml.neighbors import NearestNeighbors
    from convexrml.results import AttackRadii, CertifiedRadii, ExactRadii, RadiusStatus
    from convexrml.retrieval import retrieval_radius
    from convexrml.study.data import load_dataset
    from convexrml.study.outcome import read_outcome
    from convexrml.study.runner import run_study
    from convexrml.verdicts import CrossCheckReport, Verdict
    from convexrml.votes import Vote

_HOME = {
    "ARML": "learning.arml",
    "AttackRadii": "results",
    "CertifiedRadii": "results",
    "CrossCheckReport": "verdicts",
    "ExactRadii": "results",
    "ExactRadiusLearner": "learning.exact_radius",
    "MahalanobisMetric": "metric",
    "NearestNeighbors": "neighbors",
    "RadiusStatus": "results",
    "Roads": "judge",
    "RobustMetricLearner": "learning.robust",
    "ToolAttack": "attack_settings",
    "Verdict": "verdicts",
    "Vote": "votes",
    "affine_transformer": "estimators.affine",
    "attack_radius": "attacks",
    "certified_radius": "bounds",
    "crosscheck": "judge",
    "exact_radius": "exact",
    "from_estimator": "estimators.reading",
    "load_dataset": "study.data",
    "mine_triplets": "learning.mining",
    "nearest_psd": "metric",
    "read_outcome": "study.outcome",
    "retrieval_radius": "retrieval",
    "run_study": "study.runner",
    "tool_attack_radius": "attack_tools",
}
_MODULES = ("checker", "errors", "formulations", "optimality")

__all__ = [
    "ARML",
    "AttackRadii",
    "CertifiedRadii",
    "CrossCheckReport",
    "ExactRadii",
    "ExactRadiusLearner",
    "MahalanobisMetric",
    "NearestNeighbors",
    "RadiusStatus",
    "Roads",
    "RobustMetricLearner",
    "ToolAttack",
    "Verdict",
    "Vote",
    "affine_transformer",
    "attack_radius",
    "certified_radius",
    "checker",
    "crosscheck",
    "errors",
    "exact_radius",
    "formulations",
    "from_estimator",
    "load_dataset",
    "mine_triplets",
    "nearest_psd",
    "optimality",
    "read_outcome",
    "retrieval_radius",
    "run_study",
    "tool_attack_radius",
]


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for: importing convexrml alone loads neither numba nor cvxpy."""
    if name in _HOME:
        value = getattr(importlib.import_module(f"convexrml.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"convexrml.{name}")
    else:
        raise AttributeError(f"module 'convexrml' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*__all__, "__version__"])
