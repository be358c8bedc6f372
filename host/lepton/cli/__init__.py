"""The `lepton` command. `main` has the arguments of all subcommands; each subcommand is a module with a function `run`,
imported only when asked for.

Exit status: 0 when everything succeeded, 1 when results differ, 2 for what the
user can mend (one line says what), 130 after Ctrl-C.
"""

from .main import main

__all__ = ["main"]
