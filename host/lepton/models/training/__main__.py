"""`python -m lepton.models.training NAME ...`: train these networks, and write their files again."""

import argparse
import importlib
from pathlib import Path

from .fitting import fit
from .publish import publish
from .recipe import Recipe

NAMES = ("bearing", "gestures", "road", "tumours", "vessels", "vit", "volatility", "weather", "words")
WITH_SHARED = ("vessels",)  # their data are in the folder of --shared


def recipe(name: str, shared: Path) -> Recipe:
    """The recipe of a network."""
    module = importlib.import_module(f".{name}", __package__)
    return module.recipe(shared) if name in WITH_SHARED else module.recipe()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m lepton.models.training", description="Train networks of the zoo.")
    parser.add_argument("names", nargs="+", choices=NAMES, metavar="NAME", help=f"one or several of {', '.join(NAMES)}")
    parser.add_argument("--shared", type=Path, default=Path("../shared/data"),
                        help="folder with further data (default: %(default)s)")
    options = parser.parse_args(arguments)
    for name in options.names:
        made = recipe(name, options.shared)
        fit(made)
        publish(made)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
