"""`prepare` in a process of its own, so that no model can take this one down."""

import atexit
import contextlib
import os
import selectors
import subprocess
import sys
import threading
import time

from lepton.graph import GraphError

from . import worker

SECONDS = 300.0  # for one model; large ones take a few


class IsolatedWorker:
    """Runs `worker.serve`; started with the first request, kept for the next ones, replaced when it is lost."""

    def __init__(self, seconds: float = SECONDS):
        self.seconds = seconds
        self.process: subprocess.Popen | None = None
        self.owner = 0  # the process that started it: a fork must not share it
        self.lock = threading.Lock()

    def prepare(self, data: bytes) -> bytes:
        """See `worker.prepare`. Raises GraphError where that refuses, crashes, or does not answer in time."""
        with self.lock:
            if self.process is None or self.owner != os.getpid() or self.process.poll() is not None:
                self._start()
            try:
                self.process.stdin.write(worker.LENGTH.pack(len(data)) + data)
                self.process.stdin.flush()
                deadline = time.monotonic() + self.seconds
                length, = worker.LENGTH.unpack(self._read(worker.LENGTH.size, deadline))
                answer = self._read(length, deadline)
            except (BrokenPipeError, EOFError):
                code = self.process.wait()
                self.close()
                what = ("the model is malformed: ONNX's libraries crashed on it" if code < 0 else
                        "ONNX's libraries gave up; is there memory enough?")
                raise GraphError(f"{what} (exit status {code})") from None
            except TimeoutError:
                self.close()
                raise GraphError(f"ONNX Runtime has not prepared the model within {self.seconds:g} seconds") from None
        if answer[:1] == b"-":
            raise GraphError(answer[1:].decode(errors="replace"))
        return answer[1:]

    def _start(self):
        self.process = subprocess.Popen([sys.executable, "-P", worker.__file__], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.owner = os.getpid()

    def _read(self, count: int, deadline: float) -> bytes:
        parts, stream = [], self.process.stdout
        with selectors.DefaultSelector() as selector:
            selector.register(stream, selectors.EVENT_READ)
            while count:
                if not selector.select(max(deadline - time.monotonic(), 0)):
                    raise TimeoutError
                part = os.read(stream.fileno(), count)
                if not part:
                    raise EOFError
                parts.append(part)
                count -= len(part)
        return b"".join(parts)

    def close(self):
        """Ends the process."""
        process, self.process = self.process, None
        if process is not None and self.owner == os.getpid():
            process.kill()
            process.wait()
            process.stdout.close()
            with contextlib.suppress(BrokenPipeError):  # what it had not read yet
                process.stdin.close()


SHARED = IsolatedWorker()
atexit.register(SHARED.close)
