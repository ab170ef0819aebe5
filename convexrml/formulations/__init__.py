"""The explicit convex programs: one per file, the docstring derives, the code is its last line.

A formulation is built from a classifier, or from triplets, holds a `cvxpy.Problem` as ``problem``, and measures any
solution itself, in the original data, by weak duality.
"""

from convexrml.formulations.k_nearest_perturbation import KNearestPerturbation
from convexrml.formulations.max_min_radius import MaxMinRadius, RadiusInterval
from convexrml.formulations.mean_radius import MeanRadius, MeanRadiusSolution
from convexrml.formulations.minimal_perturbation import MinimalPerturbation
from convexrml.formulations.reachability import Reachability
from convexrml.formulations.robust_hinge import RobustHinge
from convexrml.formulations.solution import ClaimedSolution, Residuals, Solution
from convexrml.regularisers import FixedTrace, FrobeniusPrior, TracePenalty
from convexrml.triplets import Triplets

__all__ = [
    "ClaimedSolution",
    "FixedTrace",
    "FrobeniusPrior",
    "KNearestPerturbation",
    "MaxMinRadius",
    "MeanRadius",
    "MeanRadiusSolution",
    "MinimalPerturbation",
    "RadiusInterval",
    "Reachability",
    "Residuals",
    "RobustHinge",
    "Solution",
    "TracePenalty",
    "Triplets",
]
