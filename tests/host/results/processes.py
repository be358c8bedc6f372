"""Start and kill the processes of `worker.py`, and read what a producer wrote down."""

import signal
import subprocess
import sys
from pathlib import Path

WORKER = Path(__file__).with_name("worker.py")


def start(*arguments):
    process = subprocess.Popen([sys.executable, str(WORKER), *map(str, arguments)], stdout=subprocess.PIPE)
    assert process.stdout.readline() == b"ready\n"
    return process


def kill(process):
    assert process.poll() is None, f"{process.args} ended by itself"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()


def last_acknowledged(ledger):
    lines = ledger.read_text().split("\n")[:-1] if ledger.exists() else []
    return int(lines[-1]) if lines else -1
