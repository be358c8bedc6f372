"""Comparison of two devices: one program runs on both, and every byte that it writes is compared."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..arch import Region
from ..device import Device
from ..driver import Driver
from ..program import CompiledModel
from .errors import RuntimeModelError
from .session import Result, Session


@dataclass(frozen=True)
class Difference:
    """Bytes of a memory region, or of an output, that are not the same on both sides."""

    where: str
    differing: int
    size: int
    first: int  # offset of the first differing byte
    found: int  # its value, unsigned
    expected: int

    def __str__(self) -> str:
        return (f"{self.where}: {self.differing} of {self.size} bytes differ, first at offset {self.first}: "
                f"0x{self.found:02x}, not 0x{self.expected:02x}")


@dataclass(frozen=True, eq=False)
class Comparison:
    """The device's result, the reference's, and what distinguishes them."""

    result: Result
    reference: Result
    differences: tuple[Difference, ...]
    bytes_compared: int


class ComparingSession:
    """Runs one model on a device and on a reference device, and compares all memory that programs write.

    One device after the other: two processors of the host are often two threads of one core, and together with the
    golden model the board would reach half of its speed. Devices are the caller's; they are not closed. Threads may
    share it. Raises `RuntimeModelError` for one device that is to be compared with itself, and what `Session` raises.
    """

    def __init__(self, model: CompiledModel, device: Device | Driver, reference: Device | Driver):
        if device is reference:
            raise RuntimeModelError("a device cannot be compared with itself; open another as the reference, as in "
                                    "lepton.device.open('golden', config=model.config)")
        self._lock = threading.RLock()
        self.device = Session(model, device)
        try:
            self.reference = Session(model, reference)
        except BaseException:
            self.device.close()
            raise

    def __enter__(self) -> "ComparingSession":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        self.device.close()
        self.reference.close()

    def reset(self) -> None:
        """Give the states of both their initial values."""
        with self._lock:
            self.device.states.reset()
            self.reference.states.reset()

    def run(self, inputs: np.ndarray | Mapping[str, np.ndarray], *, cycle_limit: int | None = None,
            progress: Callable[[str, int], None] | None = None) -> Comparison:
        """`Session.run` on both; raises what either raises, the device's error first. The options are the device's."""
        with self._lock:
            before = self.device.states.snapshot()
            result = self.device.run(inputs, cycle_limit=cycle_limit, progress=progress)
            try:
                reference = self.reference.run(inputs)
            except BaseException:
                self.device.states.restore(before)  # both stay at the same place of the stream
                raise
            found_memory = self.device.results_memory()
            expected_memory = self.reference.results_memory()
        differences: list[Difference] = []
        total = 0
        for (step, region), wanted in expected_memory.items():
            total += wanted.size
            name = self.device.model.steps[step].name
            differences += difference(f"{Region(region).name} of {name!r}", found_memory[step, region], wanted)
        for name, wanted in reference.outputs.items():
            differences += difference(f"output {name!r}", result.outputs[name], wanted)
        return Comparison(result, reference, tuple(differences), total)


def difference(where: str, found: np.ndarray, expected: np.ndarray) -> list[Difference]:
    """One `Difference` if two arrays are not the same byte for byte, none otherwise."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        raise ValueError(f"{where}: {found.dtype}{found.shape} cannot be compared with "
                         f"{expected.dtype}{expected.shape}")
    a, b = (np.ascontiguousarray(x).reshape(-1).view(np.uint8) for x in (found, expected))
    at = np.flatnonzero(a != b)
    return [Difference(where, at.size, a.size, int(at[0]), int(a[at[0]]), int(b[at[0]]))] if at.size else []
