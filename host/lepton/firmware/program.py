"""A program of the controller's processor."""

from dataclasses import dataclass

from ..arch.controller import CODE_BYTES, DATA_BYTES, ROM_BASE, ROM_BYTES


@dataclass(frozen=True)
class Program:
    """A linked program: `code` to be placed at `base`; `variables` and `stack` bytes of data memory, the latter an
    upper bound: the frames of all functions, as none is recursive."""

    name: str
    base: int
    code: bytes
    variables: int
    stack: int

    def report(self) -> str:
        room = ROM_BYTES if self.base == ROM_BASE else CODE_BYTES
        return (f"{self.name}: code {len(self.code)} of {room} bytes, variables {self.variables} and stack at most "
                f"{self.stack} of {DATA_BYTES} bytes")
