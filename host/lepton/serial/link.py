"""Requests over a line that may lose bytes: sent again until they are answered."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ..arch.serial import HEADER_BYTES, RequestKind, Status
from ..device import DeviceError
from .frames import Decoder, encode

# Requests that are sent ahead of their answers. The board holds two whole frames, and reads a third from the line.
WINDOW = 3
TRIES = 6
_SEQUENCES = 256
_REQUEST = struct.Struct("<BBII")


class SerialPort(Protocol):
    """What a link needs of a serial port; `serial.Serial` has it."""

    def read(self, size: int = 1) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    @property
    def in_waiting(self) -> int: ...


@dataclass(frozen=True)
class LineRequest:
    """One request; `length` is that of `data`, or what is to be read."""

    operation: RequestKind
    address: int = 0
    length: int = 0
    data: bytes = b""


class _Open:
    """The requests of one call of `ask_all`: those that wait, those that are under way, and the answers.

    `under_way` maps sequence numbers to indices of requests, in the order in which they were sent last.
    """

    def __init__(self, requests: Iterable[LineRequest]):
        self.requests = list(requests)
        self.under_way: dict[int, int] = {}
        self._answers: dict[int, bytes] = {}
        self._next = 0

    @property
    def complete(self) -> bool:
        """Whether every request has its answer."""
        return len(self._answers) == len(self.requests)

    @property
    def may_send(self) -> bool:
        """Whether a request waits and the window has room for it."""
        return self._next < len(self.requests) and len(self.under_way) < WINDOW

    def start(self, sequence: int) -> LineRequest:
        """The next request, which is sent as `sequence`."""
        self.under_way[sequence] = self._next
        self._next += 1
        return self.requests[self.under_way[sequence]]

    def again(self, sequence: int) -> LineRequest:
        """A request under way, which is sent once more."""
        self.under_way[sequence] = self.under_way.pop(sequence)  # now the last one that was sent
        return self.requests[self.under_way[sequence]]

    def before(self, sequence: int) -> list[int]:
        """The sequence numbers that were sent before this one and have no answer."""
        sent = list(self.under_way)
        return sent[:sent.index(sequence)]

    def answer(self, sequence: int, data: bytes) -> None:
        """Note the answer to a request under way."""
        self._answers[self.under_way.pop(sequence)] = data

    def answers(self) -> list[bytes]:
        """The answers in the order of the requests."""
        return [self._answers[index] for index in range(len(self.requests))]

    @property
    def line_bytes(self) -> int:
        """Bytes of all headers and data, one way for each request."""
        return sum(HEADER_BYTES + request.length for request in self.requests)

    @property
    def window_bytes(self) -> int:
        """Bytes of a window full of the longest request."""
        return WINDOW * (HEADER_BYTES + max((request.length for request in self.requests), default=0))


class Link:
    """Answers of a board to requests.

    `silence`: seconds without a byte from the board after which requests without an answer are sent again. A board
    that has been slow (a simulated one) gets twice the time that it took for as many bytes before. After `TRIES` times
    it counts as disconnected (`DeviceError`). `clock` gives the seconds.
    """

    def __init__(self, port: SerialPort, name: str, silence: float = 1.0, clock: Callable[[], float] = time.monotonic):
        self.name = name
        self.silence = silence
        self._clock = clock
        self.repeated = 0  # requests that were sent more than once
        self._port = port
        self._decoder = Decoder()
        self._sequence = 0
        self._pace = 0.0  # seconds a byte of requests and answers, from the last call

    @property
    def damaged(self) -> int:
        """Frames from the board with a wrong CRC."""
        return self._decoder.damaged

    def ask(self, request: LineRequest, patience: float = 0.0) -> bytes:
        """The answer's data; the board may take `patience` seconds longer. Raises `DeviceError`."""
        return self.ask_all([request], patience)[0]

    def ask_all(self, requests: Iterable[LineRequest], patience: float = 0.0) -> list[bytes]:
        """The answers in order. Up to `WINDOW` requests are under way, so they must be independent of each other."""
        todo = _Open(requests)
        tries = 0
        started = heard = self._clock()
        limit = patience + max(self.silence, 2 * self._pace * todo.window_bytes)
        while not todo.complete:
            while todo.may_send:
                self._sequence = (self._sequence + 1) % _SEQUENCES
                self._send(self._sequence, todo.start(self._sequence))
            received = self._port.read(max(1, self._port.in_waiting))
            if received:
                heard = self._clock()
            lost, answered = self._take(todo, received)
            if answered:
                tries = 0
            if self._clock() - heard > limit:
                tries += 1
                if tries == TRIES:
                    raise DeviceError(f"the board on {self.name} does not answer; check that it is connected, that its "
                                      "bitstream is loaded, and the baud rate")
                lost = list(todo.under_way)
                heard = self._clock()
            for sequence in lost:
                self._send(sequence, todo.again(sequence))
                self.repeated += 1
        if tries == 0 and patience == 0 and todo.requests:
            self._pace = (self._clock() - started) / todo.line_bytes
        return todo.answers()

    def _take(self, todo: _Open, received: bytes) -> tuple[list[int], bool]:
        """Note the answers in bytes from the board. Gives the requests that were lost, and whether any was answered."""
        lost: dict[int, None] = {}
        answered = False
        for answer in self._decoder.feed(received):
            if len(answer) < 2 or answer[0] not in todo.under_way:
                continue  # a second answer to a request that was sent twice
            # The board answers in order: what was sent before this request was lost.
            lost |= dict.fromkeys(todo.before(answer[0]))
            todo.answer(answer[0], self._judged(todo.requests[todo.under_way[answer[0]]], answer))
            answered = True
        return [sequence for sequence in lost if sequence in todo.under_way], answered

    def _send(self, sequence: int, request: LineRequest) -> None:
        header = _REQUEST.pack(sequence, request.operation, request.address, request.length)
        self._port.write(encode(header + request.data))

    def _judged(self, request: LineRequest, answer: bytes) -> bytes:
        status = answer[1]
        data = answer[2:]
        if status == Status.OK:
            return data
        what = f"{request.operation.name} at {request.address:#x}, {request.length} bytes,"
        known = {status.value: f"ended with {status.name}" for status in Status}
        known[Status.NO_ANSWER] = "had no answer from the chip"
        known[Status.BAD_REQUEST] = "was refused by the board"
        ended = known.get(status, f"ended with {status}")
        raise DeviceError(f"{what} {ended} (board on {self.name})")
