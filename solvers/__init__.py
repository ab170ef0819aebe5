"""Solver profiles: one TOML file per solver, read by `convexrml.profiles`.

Installed as the package `convexrml.solvers`; this module holds no code.
"""
