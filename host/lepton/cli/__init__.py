"""The `lepton` command. Each subcommand is a module with `add_arguments` and `run`, imported only when asked for.

Exit status: 0 when everything succeeded, 1 when results differ, 2 for what the
user can mend (one line says what), 130 after Ctrl-C.
"""

from .main import main

__all__ = ["main"]
