"""The event log of the controller: what happened to which client's jobs, and when."""

from dataclasses import dataclass
from enum import IntEnum

from ..arch import ErrorCode
from ..arch.controller import CLIENTS, EventKind, JobStatus, Refusal

# What the arguments of an event are called, and which of them are codes.
_ARGUMENTS = {
    EventKind.BOOT: ("firmware", "cycles"), EventKind.START: ("job", "program", "limit"),
    EventKind.END: ("job", "status", "cycles", "error"), EventKind.REFUSED: ("job", "reason"),
    EventKind.BAD_DOORBELL: ("tail", "head"), EventKind.CLIENT_RESET: (), EventKind.TIME_LIMIT: ("job", "limit"),
    EventKind.ABORT: ("job",), EventKind.ENGINE_RESET: ("job",), EventKind.MEMORY_FAULT: ("offset", "bytes")}
_CODES: dict[str, type[IntEnum]] = {"status": JobStatus, "error": ErrorCode, "reason": Refusal}


@dataclass(frozen=True)
class LogEvent:
    """An entry of the event log; `time` in cycles since the chip's reset, `arguments` as `EventKind` says."""

    sequence: int
    time: int
    kind: EventKind
    client: int
    arguments: tuple[int, int, int, int]

    @property
    def who(self) -> str:
        """"client 3" or "controller"."""
        return f"client {self.client}" if self.client < CLIENTS else "controller"

    @property
    def details(self) -> str:
        """The arguments with their names, and codes in words."""
        def shown(name: str, value: int) -> str:
            if name in _CODES:
                return _CODES[name](value).name if value in set(_CODES[name]) else str(value)
            return f"{value:#x}" if name in ("firmware", "program") else str(value)

        values = zip(_ARGUMENTS[self.kind], self.arguments, strict=False)
        return " ".join(f"{name} {shown(name, value)}" for name, value in values)

    def __str__(self) -> str:
        return f"{self.sequence:6} {self.time:14} {self.who:10} {self.kind.name:13} {self.details}"
