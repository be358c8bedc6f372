"""`prepare` in a separate process, so that a malformed model cannot crash this one."""

import atexit
import contextlib
import os
import selectors
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from typing import IO

from lepton.graph import GraphError

from . import worker

SECONDS = 60.0  # for one model, and one second more for each MiB of it; the largest of the tests take a few


@dataclass(frozen=True)
class _Running:
    """A worker's process and its pipes."""

    process: subprocess.Popen[bytes]
    requests: IO[bytes]
    answers: IO[bytes]
    owner: int  # the process that started it: a fork must not share it

    @classmethod
    def start(cls) -> "_Running":
        process = subprocess.Popen([sys.executable, "-P", worker.__file__], stdin=subprocess.PIPE,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdin is not None and process.stdout is not None  # both are pipes
        return cls(process, process.stdin, process.stdout, os.getpid())

    @property
    def usable(self) -> bool:
        """Whether it runs, and belongs to this process."""
        return self.owner == os.getpid() and self.process.poll() is None

    def answer(self, data: bytes, seconds: float) -> bytes:
        """What it answers to a request. Raises EOFError where it ends before that, TimeoutError."""
        self.requests.write(worker.LENGTH.pack(len(data)) + data)
        self.requests.flush()
        deadline = time.monotonic() + seconds
        length, = worker.LENGTH.unpack(self._read(worker.LENGTH.size, deadline))
        return self._read(length, deadline)

    def _read(self, count: int, deadline: float) -> bytes:
        parts = []
        with selectors.DefaultSelector() as selector:
            selector.register(self.answers, selectors.EVENT_READ)
            while count:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    raise TimeoutError
                part = os.read(self.answers.fileno(), count)
                if not part:
                    raise EOFError
                parts.append(part)
                count -= len(part)
        return b"".join(parts)

    def end(self) -> None:
        """Kills the process; one that another process has started is left alone."""
        if self.owner != os.getpid():
            return
        self.process.kill()
        self.process.wait()
        self.answers.close()
        with contextlib.suppress(BrokenPipeError):  # what it had not read yet
            self.requests.close()


class IsolatedWorker:
    """Runs `worker.serve`; started with the first request, kept for the next ones, replaced when it is lost."""

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._running: _Running | None = None
        self._lock = threading.Lock()

    def prepare(self, data: bytes) -> bytes:
        """See `worker.prepare`. Raises GraphError where that refuses, crashes, or does not answer in time."""
        seconds = self.seconds + len(data) / (1 << 20)
        with self._lock:
            if self._running is None or not self._running.usable:
                self._running = _Running.start()
            running = self._running
            try:
                answer = running.answer(data, seconds)
            except (BrokenPipeError, EOFError):
                code = running.process.wait()
                self.close()
                what = ("the model is malformed: ONNX's libraries crashed on it" if code < 0 else
                        "ONNX's libraries ended without an answer, perhaps for lack of memory")
                raise GraphError(f"{what} (exit status {code})") from None
            except TimeoutError:
                self.close()
                raise GraphError(f"ONNX Runtime has not prepared the model within {seconds:.1f} seconds") from None
            except BaseException:  # interrupted: what is left of its answer must not be taken for the next one
                self.close()
                raise
        if answer[:1] == b"-":
            raise GraphError(answer[1:].decode(errors="replace"))
        return answer[1:]

    def close(self) -> None:
        """Ends the process."""
        if self._running is not None:
            self._running.end()
        self._running = None


SHARED = IsolatedWorker()
atexit.register(SHARED.close)
