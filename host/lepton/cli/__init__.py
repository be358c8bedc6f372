"""The `lepton` command. `main` has the arguments of all subcommands; each subcommand is a module with a function `run`,
which is imported only when the command is used.

Exit status: 0 for success, 1 if results differ, 2 for an error that the user can correct (one line says how), 130 after
Ctrl-C (128 + SIGINT, as shells report it).
"""

from .main import main

__all__ = ["main"]
