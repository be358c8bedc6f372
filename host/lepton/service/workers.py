"""Several processes of the service on one address: the kernel distributes connections among them (SO_REUSEPORT)."""

import contextlib
import logging
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.connection import wait as wait_for
from multiprocessing.context import SpawnProcess

from .errors import ServiceError
from .metrics import MULTIPROCESS
from .options import Home, Options
from .server import bind, end_process, serve

START_SECONDS = 60.0
STOP_SECONDS = 1.8  # for SIGTERM, then SIGKILL: an acknowledged segment is durable in any case
RESTART_SECONDS = 1.0  # before a worker that has ended is started again

logger = logging.getLogger("lepton.service")


def serve_with_workers(home: Home, options: Options, *, ready: Callable[[int], None] = lambda port: None) -> None:
    """`serve` in `options.workers` processes, until SIGINT or SIGTERM. A process that ends by itself is started again.

    Raises `ServiceError` if they do not start.
    """
    reserved = bind(options.address, shared=True)  # keeps the port; it does not listen
    port = reserved.getsockname()[1]
    options = replace(options, address=replace(options.address, port=port))
    home.open_authority()  # made once, before several processes would make it
    home.open_database().close()
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with tempfile.TemporaryDirectory(prefix="lepton-metrics-") as folder:
        os.environ[MULTIPROCESS] = folder
        group = _Group(home, options)
        try:
            group.start_all()
            ready(port)
            while not stop.is_set():
                group.restart_ended()
                stop.wait(0.1)
        finally:
            group.stop()
            reserved.close()


class _Group:
    def __init__(self, home: Home, options: Options):
        self._home = home
        self._options = options
        self._context = multiprocessing.get_context("spawn")
        self._processes: dict[SpawnProcess, float] = {}  # when each was started

    def start_all(self) -> None:
        pipes = [self._start() for _ in range(self._options.workers)]
        deadline = time.monotonic() + START_SECONDS
        for pipe in pipes:
            if not wait_for([pipe], max(0.0, deadline - time.monotonic())):
                raise ServiceError(f"a worker has not started within {START_SECONDS:g} s; see its log")
            try:
                pipe.recv()
            except EOFError as error:
                raise ServiceError("a worker has ended at its start; see its log") from error

    def restart_ended(self) -> None:
        for process, started in list(self._processes.items()):
            if not process.is_alive() and started + RESTART_SECONDS < time.monotonic():
                logger.error("worker %s has ended with status %s; another is started", process.pid, process.exitcode)
                del self._processes[process]
                from prometheus_client.multiprocess import mark_process_dead
                mark_process_dead(process.pid)
                self._start()

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
            if process.is_alive():
                process.kill()
                process.join()

    def _start(self) -> Connection:
        receiver, sender = self._context.Pipe(duplex=False)
        process = self._context.Process(target=_work, args=(self._home, self._options, sender), name="lepton-worker")
        process.start()
        sender.close()
        self._processes[process] = time.monotonic()
        return receiver


def _work(home: Home, options: Options, ready: Connection) -> None:
    """The main function of a worker."""
    def say(port: int) -> None:
        with contextlib.suppress(OSError):
            ready.send(port)
        ready.close()

    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()
    try:
        serve(home, options, ready=say)
    except (KeyboardInterrupt, SystemExit):
        pass
    except ServiceError as error:
        logger.error("%s", error)
        raise SystemExit(2) from error
    end_process(0)


def _end_with_parent(parent: int) -> None:
    """End the worker if its parent was killed, which could not end it."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
