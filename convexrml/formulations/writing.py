"""What every formulation with one `problem` can do: write it to a file."""

from __future__ import annotations

from pathlib import Path

import cvxpy as cp


class Writable:
    """A formulation whose ``problem`` can be written for other people's solvers."""

    problem: cp.Problem

    def write(self, path: Path | str) -> Path:
        """Write the program, with the present values of its parameters, as ``.cbf``, ``.mps``, ``.dat-s`` or ``.npz``.

        The objective is that of ``problem``, in its units: see `convexrml.export.write_program`.

        Parameters
        ----------
        path : Path or str
            The file; its ending says the format.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        InvalidInputError
            If the ending is unknown, the format cannot hold the program, or a parameter has no value.
        SolverMissingError
            If the library that writes the format is not installed.
        """
        from convexrml.export import write_program

        return write_program(self.problem, path)
