"""What the server that forks loads once for all tasks: the modules, and the compiled kernels that every task enters."""

import convexrml.compare.measure  # noqa: F401
from convexrml.compare.families import FAMILIES, Instance

for _name in ("perturbation-qp", "knn-miqp"):
    _tiny = Instance(_name, FAMILIES[_name].smallest, 0)
    FAMILIES[_name].build(_tiny, FAMILIES[_name].plan(_tiny))
