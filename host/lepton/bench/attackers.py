"""Clients that misbehave, each at an address of its own, as the loopback network 127.0.0.0/8 allows it."""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Coroutine
from pathlib import Path

Work = Coroutine[None, None, None]


class Attack:
    """Attacks the service at `port`, whose authority's certificate is in the file `authority`, from one event loop in a
    thread, until the end of the `with` block."""

    def __init__(self, port: int, authority: Path) -> None:
        self._port = port
        self._stranger = ssl.create_default_context(cafile=str(authority))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._tasks: list[asyncio.Task[None]] = []
        self.events: list[str] = []  # what has happened to the attackers

    def __enter__(self) -> "Attack":
        return self

    def __exit__(self, *_: object) -> None:
        async def cancel() -> None:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
        asyncio.run_coroutine_threadsafe(cancel(), self._loop).result(60)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def start(self, work: Work) -> None:
        async def begin() -> None:
            self._tasks.append(asyncio.get_running_loop().create_task(self._survive(work)))
        asyncio.run_coroutine_threadsafe(begin(), self._loop).result(10)

    async def _survive(self, work: Work) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            await work

    def silent(self, address: str, count: int) -> None:
        """`count` TCP connections that never send a byte, made again when they are closed."""
        for _ in range(count):
            self.start(self._hold(address, b""))

    def half_open(self, address: str, count: int) -> None:
        """Connections that begin a handshake and do not continue it."""
        hello = _client_hello(self._stranger)
        for _ in range(count):
            self.start(self._hold(address, hello))

    async def _hold(self, address: str, first: bytes) -> None:
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, local_addr=(address, 0))
                writer.write(first)
                while await reader.read(4096):
                    pass
                self.events.append("closed")
                writer.close()
            except OSError as error:
                self.events.append(f"refused: {error}")
            await asyncio.sleep(0.5)

    def wrong_codes(self, address: str, count: int) -> None:
        """Clients that try codes, each over a new connection."""
        for number in range(count):
            self.start(self._guess(address, number))

    async def _guess(self, address: str, number: int) -> None:
        context = self._stranger
        body = b'{"code": "guess%d", "request": "x"}' % number
        request = (b"POST /v1/enrolment HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                   b"Connection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
        while True:
            try:
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, ssl=context, server_hostname="127.0.0.1", local_addr=(address, 0))
                writer.write(request)
                self.events.append((await reader.read(4096)).split(b"\r\n")[0].decode())
                writer.close()
            except (OSError, ssl.SSLError) as error:
                self.events.append(f"failed: {error}")
                await asyncio.sleep(0.1)

    def trickle(self, client: ssl.SSLContext, key: str, address: str, length: int = 1 << 20) -> None:
        """An upload whose body comes with one byte a second."""
        self.start(self._trickle(client, key, address, length))

    async def _trickle(self, context: ssl.SSLContext, key: str, address: str, length: int) -> None:
        head = f"PUT /v1/{key} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode()
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, ssl=context, server_hostname="127.0.0.1",
                    local_addr=(address, 0))
                writer.write(head)
                answer = asyncio.ensure_future(reader.read(4096))
                try:
                    while not answer.done():
                        writer.write(b"x")
                        await asyncio.wait([answer], timeout=1)
                finally:
                    answer.cancel()
                self.events.append(answer.result().split(b"\r\n")[0].decode())
                writer.close()
            await asyncio.sleep(0.1)

    def read_pages(self, client: ssl.SSLContext, path: str) -> None:
        """A reader that asks for one page after another."""
        self.start(self._read(client, path))

    async def _read(self, context: ssl.SSLContext, path: str) -> None:
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        while True:
            with contextlib.suppress(OSError, ValueError, asyncio.IncompleteReadError):
                reader, writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, ssl=context, server_hostname="127.0.0.1")
                while True:
                    writer.write(request)
                    head = await reader.readuntil(b"\r\n\r\n")
                    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                    await reader.readexactly(length)
                    self.events.append(head.split(b"\r\n")[0].decode())
                    if b" 429 " in head.split(b"\r\n")[0]:
                        await asyncio.sleep(0.2)
            await asyncio.sleep(0.1)


def _client_hello(context: ssl.SSLContext) -> bytes:
    """The first message of a handshake."""
    outgoing = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()
