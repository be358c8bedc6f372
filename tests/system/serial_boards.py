"""A simulated board on a serial line that tests step themselves, so that nothing depends on the machine's speed."""

import random
from functools import cache
from pathlib import Path

from lepton.arch import PRESETS
from lepton.serial import SerialDevice
from lepton_hdl.boards.sdram_timing import ULX3S_SDRAM
from lepton_hdl.boards.system import BoardSystem
from lepton_sim.serial_board import SerialBoardModel, build

CLOCK_HZ = 60_000_000
BAUD = 6_000_000  # ten cycles a bit: the fastest line that the clock allows is the quickest to simulate
_STEP = 2_000  # cycles between looks at the line


@cache
def _built(config: str) -> tuple[BoardSystem, Path]:
    system = BoardSystem(PRESETS[config], ULX3S_SDRAM, CLOCK_HZ, BAUD)
    return system, build(system)


def new_model(config: str = "tiny", **options: float) -> SerialBoardModel:
    """The board of these tests, built once."""
    system, library = _built(config)
    return SerialBoardModel(system, library=library, **options)


class SteppedPort:
    """A serial port whose board runs while the host reads. One byte in `damage` is damaged on its way; 0 means none.

    A damaged byte is lost, changed, doubled, or has a FLAG or garbage behind it.
    """

    def __init__(self, model: SerialBoardModel, damage: int = 0, seed: int = 1):
        self.model = model
        self.damage = damage
        self._random = random.Random(seed)
        self._sound = 0  # bytes before the next damaged one

    @property
    def in_waiting(self) -> int:
        return 0

    def write(self, data: bytes) -> int:
        self.model.send(self._damaged(data))
        return len(data)

    def read(self, size: int = 1) -> bytes:
        self.model.run(_STEP)
        return self._damaged(self.model.receive())

    def seconds(self) -> float:
        return self.model.status().cycles / CLOCK_HZ

    def _damaged(self, data: bytes) -> bytes:
        if not self.damage:
            return data
        result = bytearray()
        for byte in data:
            result.append(byte)
            self._sound -= 1
            if self._sound < 0:
                self._sound = self._random.randrange(2 * self.damage)
                kind = self._random.randrange(5)
                if kind == 0:
                    result.pop()
                elif kind == 1:
                    result[-1] ^= 1 << self._random.randrange(8)
                elif kind == 2:
                    result.append(byte)
                else:
                    result += b"\x7e" if kind == 3 else self._random.randbytes(self._random.randrange(1, 50))
        return bytes(result)


def opened(model: SerialBoardModel, damage: int = 0, seed: int = 1, config: str = "tiny") -> SerialDevice:
    """The device of a model; requests without an answer are sent again after 3 ms of the board's time."""
    port = SteppedPort(model, damage, seed)
    return SerialDevice(port, PRESETS[config], "the simulated line", silence=0.003, clock=port.seconds)
