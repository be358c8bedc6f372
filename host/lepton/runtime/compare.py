"""Two devices, one program, every byte: how the RTL is held against the golden model."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..arch import Region
from ..compiler import CompiledModel
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

    One after the other: two processors are often two threads of one core, and beside the golden model the board
    would show half its speed. Devices are the caller's; they are not closed.
    """

    def __init__(self, model: CompiledModel, device, reference):
        self.device = Session(model, device)
        try:
            self.reference = Session(model, reference)
        except BaseException:
            self.device.close()
            raise

    def __enter__(self) -> "ComparingSession":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        self.device.close()
        self.reference.close()

    def run(self, inputs: np.ndarray | Mapping[str, np.ndarray], **options) -> Comparison:
        """`Session.run` on both; raises what either raises, the device's error first."""
        result = self.device.run(inputs, **options)
        reference = self.reference.run(inputs)
        differences, total = [], 0
        found_memory, expected_memory = self.device.results_memory(), self.reference.results_memory()
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
