"""A simulated board on a serial line that tests step themselves, so that nothing depends on the machine's speed."""

import random

from lepton.arch import PRESETS
from lepton.serial import SerialDevice
from lepton_hdl.boards.sdram_timing import ULX3S_SDRAM
from lepton_hdl.boards.system import BoardSystem
from lepton_sim.serial_board import SerialBoardModel

CLOCK_HZ = 60_000_000
BAUD = 6_000_000  # ten cycles a bit: the fastest line that the clock allows is the quickest to simulate
_STEP = 2_000  # cycles between looks at the line


def system(config: str = "tiny") -> BoardSystem:
    """The board of these tests; its Verilog is the same for all of them."""
    return BoardSystem(PRESETS[config], ULX3S_SDRAM, CLOCK_HZ, BAUD)


class SteppedPort:
    """A serial port whose board runs while the host reads. `loss` is the chance that a byte is damaged on its way.

    A damaged byte is lost, changed, doubled, or has a FLAG or garbage behind it.
    """

    def __init__(self, model: SerialBoardModel, loss: float = 0.0, seed: int = 1):
        self.model = model
        self.loss = loss
        self._random = random.Random(seed)

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
        if not self.loss:
            return data
        result = bytearray()
        for byte in data:
            result.append(byte)
            if self._random.random() < self.loss:
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


def opened(model: SerialBoardModel, loss: float = 0.0, seed: int = 1, config: str = "tiny") -> SerialDevice:
    """The device of a model; requests without an answer are sent again after 5 ms of the board's time."""
    port = SteppedPort(model, loss, seed)
    return SerialDevice(port, PRESETS[config], "the simulated line", silence=0.005, clock=port.seconds)
