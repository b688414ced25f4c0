"""Commands: parse, call, print. No logic.

Results go to standard output, progress and messages to standard error. Exit code 0: done, 1: the
data or the run is at fault, 2: the command or its settings are.
"""

from l4s_ensemble.cli.app import main

__all__ = ["main"]
