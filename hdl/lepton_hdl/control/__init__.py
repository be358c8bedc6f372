"""The control block (design D3, D7): registers, program fetch, semaphores, dispatch, job and counters."""

from .control import ControlBlock
from .counters import Activity

__all__ = ["Activity", "ControlBlock"]
