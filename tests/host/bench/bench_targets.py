"""What runs in the workers' processes in tests; spawned processes import it by name."""

import os
import signal
from dataclasses import replace

from lepton.bench import measure


def raises(entry, config, memory, progress):
    progress("thinking")
    raise ValueError(f"{entry.name} must not be measured")


def is_killed(entry, config, memory, progress):
    progress("using up memory")
    os.kill(os.getpid(), signal.SIGKILL)


def leaves(entry, config, memory, progress):
    os._exit(7)


def differs(entry, config, memory, progress):
    """A real measurement that then claims a difference."""
    return replace(measure(entry, config, memory, progress), exact=False, error="differs from the golden model: OUTPUT")
