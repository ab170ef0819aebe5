"""The command line: one file for each group of commands.

Heavy modules are imported inside the commands, so that help comes at once.
"""

from __future__ import annotations

import click

from convexrml import __version__
from convexrml.cli.certify import certify, crosscheck
from convexrml.cli.check import check, solvers
from convexrml.cli.compare import compare, instances
from convexrml.cli.frame import Commands
from convexrml.cli.learn import learn
from convexrml.cli.study import study

EPILOG = """\b
Examples:
  convexrml certify --data train.csv --test test.csv
  convexrml crosscheck --points 100 --norms 2 --solvers clarabel,daqp
  convexrml learn --out metric.npz && convexrml certify --metric metric.npz
  convexrml certify --certificates certs && convexrml check certs
"""


@click.group(cls=Commands, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, package_name="convexrml", message="%(prog)s %(version)s")
def main() -> None:
    """Measure how far an input may be perturbed before a nearest-neighbour classifier changes its mind.

    Exit status of every command: 0 if all went well; 1 if a check failed (a bound is violated, a certificate
    rejected); 2 if something cannot be read, used or done; 130 if interrupted.
    """


for _command in (certify, check, compare, crosscheck, instances, learn, solvers, study):
    main.add_command(_command)
