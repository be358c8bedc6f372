"""A program of the controller's processor."""

from dataclasses import dataclass

from ..arch.controller import CODE_BYTES, DATA_BYTES, ROM_BASE, ROM_BYTES


@dataclass(frozen=True)
class FirmwareProgram:
    """A linked program: `code` for address `base`, and the bytes of data memory for `variables` and `stack`.

    `stack` is an upper bound: the sum of the frames of all functions, none of which is recursive.
    """

    name: str
    base: int
    code: bytes
    variables: int
    stack: int

    def report(self) -> str:
        """The sizes, and their limits."""
        room = ROM_BYTES if self.base == ROM_BASE else CODE_BYTES
        return (f"{self.name}: code {len(self.code)} of {room} bytes, variables {self.variables} and stack at most "
                f"{self.stack} of {DATA_BYTES} bytes")
