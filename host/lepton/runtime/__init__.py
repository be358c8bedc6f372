"""Runs compiled models: arrays in, arrays and a report out.

- `session`: a model in device memory
- `states`: what a session keeps from one run to the next
- `report`: cycles, utilization and stalls per layer
- `compare`: the same model on two devices, compared byte for byte
"""

from .compare import ComparingSession, Comparison, Difference, difference
from .errors import InputError, RuntimeModelError
from .report import CAUSES, FINISH, Report, Row
from .session import Result, Session, program_hash
from .states import States

__all__ = [
    "CAUSES", "FINISH", "ComparingSession", "Comparison", "Difference", "InputError", "Report", "Result", "Row",
    "RuntimeModelError", "Session", "States", "difference", "program_hash",
]
