"""Requests over a line that may lose bytes: sent again until they are answered."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol

from ..arch.serial import HEADER_BYTES, Operation, Status
from ..device import DeviceError
from .frames import Decoder, encode

# Requests that are sent ahead of their answers. The board holds two whole frames, and reads a third from the line.
WINDOW = 3
TRIES = 6
_SEQUENCES = 256
_REQUEST = struct.Struct("<BBII")


class Port(Protocol):
    """What a link needs of a serial port; `serial.Serial` has it."""

    def read(self, size: int = 1) -> bytes: ...
    def write(self, data: bytes, /) -> int | None: ...
    @property
    def in_waiting(self) -> int: ...


@dataclass(frozen=True)
class Request:
    """One request; `length` is that of `data`, or what is to be read."""

    operation: Operation
    address: int = 0
    length: int = 0
    data: bytes = b""


class Link:
    """Answers of a board to requests.

    `silence`: seconds without a byte from the board after which requests without an answer are sent again. A board
    that has been slow (a simulated one) gets twice the time that it took for as many bytes before. After `TRIES` times
    it counts as gone (`DeviceError`). `clock` gives the seconds.
    """

    def __init__(self, port: Port, name: str, silence: float = 1.0, clock: Callable[[], float] = time.monotonic):
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

    def ask(self, request: Request, patience: float = 0.0) -> bytes:
        """The answer's data; the board may take `patience` seconds longer. Raises `DeviceError`."""
        return self.ask_all([request], patience)[0]

    def ask_all(self, requests: Iterable[Request], patience: float = 0.0) -> list[bytes]:
        """The answers in order. Up to `WINDOW` requests are under way, so they must be independent of each other."""
        todo = list(requests)
        patience_given = patience
        answers: dict[int, bytes] = {}
        open_requests: dict[int, int] = {}  # sequence number to index, in the order in which they were sent last
        following = 0
        tries = 0
        started = heard = self._clock()
        expected = WINDOW * (HEADER_BYTES + max((request.length for request in todo), default=0))
        patience += max(self.silence, 2 * self._pace * expected)
        while len(answers) < len(todo):
            while following < len(todo) and len(open_requests) < WINDOW:
                self._sequence = (self._sequence + 1) % _SEQUENCES
                open_requests[self._sequence] = following
                self._send(self._sequence, todo[following])
                following += 1
            received = self._port.read(max(1, self._port.in_waiting))
            if received:
                heard = self._clock()
            lost: list[int] = []
            for answer in self._decoder.feed(received):
                if len(answer) < 2 or answer[0] not in open_requests:
                    continue  # a second answer to a request that was sent twice
                # The board answers in order: what was sent before this request was lost.
                for sequence in list(open_requests):
                    if sequence == answer[0]:
                        break
                    lost.append(sequence)
                index = open_requests.pop(answer[0])
                answers[index] = self._judged(todo[index], answer)
                tries = 0
            if self._clock() - heard > patience:
                tries += 1
                if tries == TRIES:
                    raise DeviceError(f"the board on {self.name} does not answer; check that it is connected, that its "
                                      "bitstream is loaded, and the baud rate")
                lost = list(open_requests)
                heard = self._clock()
            for sequence in lost:
                if sequence in open_requests:
                    index = open_requests.pop(sequence)
                    open_requests[sequence] = index
                    self._send(sequence, todo[index])
                    self.repeated += 1
        if tries == 0 and patience_given == 0 and todo:
            total = sum(HEADER_BYTES + request.length for request in todo)
            self._pace = (self._clock() - started) / total
        return [answers[index] for index in range(len(todo))]

    def _send(self, sequence: int, request: Request) -> None:
        header = _REQUEST.pack(sequence, request.operation, request.address, request.length)
        self._port.write(encode(header + request.data))

    def _judged(self, request: Request, answer: bytes) -> bytes:
        status, data = answer[1], answer[2:]
        if status == Status.OK:
            return data
        what = f"{request.operation.name} at {request.address:#x}, {request.length} bytes,"
        known = {status.value: f"ended with {status.name}" for status in Status}
        known[Status.NO_ANSWER] = "had no answer from the chip"
        known[Status.BAD_REQUEST] = "was refused by the board"
        ended = known.get(status, f"ended with {status}")
        raise DeviceError(f"{what} {ended} (board on {self.name})")
