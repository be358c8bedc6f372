"""A network that misbehaves: a TCP proxy whose rules change while it runs."""

import contextlib
import random
import socket
import threading
import time


class Proxy:
    """Passes connections to `port` on the loopback interface.

    `down`: connections are refused at once. `cut_after`: bytes towards the server after which a connection breaks.
    `delay`: seconds before each piece. `lossy`: the share of pieces at which a connection breaks.
    `rate`: bytes a second towards the server. `answers_lost`: what the server says is thrown away, and the connection
    cut.
    """

    def __init__(self, port: int, seed: int = 0):
        self._port = port
        self._rng = random.Random(seed)
        self.down = False
        self.cut_after = None
        self.delay = 0.0
        self.lossy = 0.0
        self.answers_lost = False
        self.cuts = 0
        self.rate: float | None = None
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._open = True
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> "Proxy":
        return self

    def __exit__(self, *exc) -> None:
        self._open = False
        self._listener.close()

    def _accept(self) -> None:
        while self._open:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.down:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self._port), 5)
            except OSError:
                client.close()
                continue
            for end in (client, server):  # small buffers: a sender of a slow link waits for it
                end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 << 10)
            for source, sink, upward in ((client, server, True), (server, client, False)):
                threading.Thread(target=self._carry, args=(source, sink, upward), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket, upward: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while piece := source.recv(16 << 10 if self.rate is None else max(1, int(self.rate / 20))):
                time.sleep(self.delay)
                if upward and self.rate is not None:
                    time.sleep(len(piece) / self.rate)
                broken = self.down or self._rng.random() < self.lossy or (not upward and self.answers_lost)
                if upward and self.cut_after is not None and passed + len(piece) > self.cut_after:
                    sink.sendall(piece[:self.cut_after - passed])
                    broken = True
                if broken:
                    self.cuts += 1
                    break
                sink.sendall(piece)
                passed += len(piece)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
