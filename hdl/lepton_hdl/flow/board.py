"""The boards that `lepton chip build` knows."""

from typing import Any

from lepton.arch import ChipConfig

from ..boards.ulx3s import Ulx3s, platform, ulx3s
from .yosys import FlowError, need


def board_top(board: str, config: ChipConfig, clock_hz: float, chip: Any = None) -> tuple[Ulx3s, Any, int]:
    """Top level, platform and baud rate of a board. `chip`: another component with the ports of a chip.

    Raises `FlowError` for an unknown board, a clock that it cannot make, and where amaranth-boards is missing.
    """
    if board != "ulx3s":
        raise FlowError(f"board must be ulx3s, not {board!r}")
    need("amaranth_boards")
    try:
        top = ulx3s(config, clock_hz, chip=chip)
    except ValueError as error:
        raise FlowError(str(error)) from error
    return top, platform(), round(top.system.clock_hz / top.system.divisor)
