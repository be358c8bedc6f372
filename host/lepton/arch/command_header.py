"""Fields that the commands of all engines have."""

from enum import IntEnum

from .record import Field


def command_header(opcodes: type[IntEnum]) -> tuple[Field, ...]:
    """The fields that every command begins with, 64 bits."""
    return (
        Field("opcode", 8, "what to do", enum=opcodes),
        Field("reserved_header", 8, "zero"),
        Field("layer", 16, "which layer the command belongs to; for counters and error reports"),
        Field("wait", 16, "semaphores to take before starting, one bit each"),
        Field("post", 16, "semaphores to give when finished, one bit each"),
    )


# Of a command with `repeat`.
ROUNDS = (
    Field("first_wait", 4, "one more semaphore to take, by the first of a repeated command only; 0: none"),
    Field("last_post", 4, "one more semaphore to give, by the last of a repeated command only; 0: none"),
)
