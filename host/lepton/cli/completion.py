"""`lepton completion SHELL`: a script that completes commands and options in a shell."""

from argparse import Namespace

import shtab

from .main import make_parser


def run(arguments: Namespace) -> int:
    print(shtab.complete(make_parser(), arguments.shell))
    return 0
