"""What the examples of the fields have in common: the options, and a network of `lepton models` on the board."""

import argparse
from dataclasses import dataclass

import lepton
import lepton.models
import numpy as np
from lepton.deployment import Deployment
from lepton.models import LeptonModel
from lepton.runtime import Report


@dataclass(frozen=True, eq=False)
class Run:
    """A network's samples and what the board made of them."""

    model: LeptonModel
    outputs: np.ndarray
    report: Report

    def cost(self) -> str:
        """Of one inference, in a line."""
        if self.report.timed:
            return (
                f"{self.report.cycles:,} cycles an inference on the simulated board, "
                f"{1000 * self.report.chip_ms:.0f} microseconds at {self.report.config.clock_mhz} MHz"
            )
        cycles = self.model.facts.cycles.get(self.report.config.name)
        return f"about {cycles:,} cycles an inference, by the compiler's prediction" if cycles else "cycles not counted"


def options(description: str, picture: str) -> argparse.Namespace:
    """--device, --config and --output."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--device",
        choices=("golden", "rtl"),
        default="golden",
        help="golden model, or rtl for the simulated board, which is built once in minutes (%(default)s)",
    )
    parser.add_argument("--config", default="base", help="the chip's configuration (%(default)s)")
    parser.add_argument("--output", default=picture, metavar="FILE.png", help="the picture (%(default)s)")
    return parser.parse_args()


def run(name: str, chosen: argparse.Namespace, count: int | None = None) -> Run:
    """The first `count` samples of a network through the chip."""
    model = lepton.models.load(name)
    compiled = lepton.compile(model.path, config=chosen.config)
    with Deployment(compiled, chosen.device) as board:
        results = list(board.session.each(model.inputs[:count]))
    key = compiled.outputs[0].name
    outputs = np.stack([result.outputs[key].reshape(model.outputs.shape[1:]) for result in results])
    return Run(model, outputs, results[-1].report)
