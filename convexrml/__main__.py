"""``python -m convexrml``: the command line."""

from convexrml.cli import main

main(prog_name="convexrml")
