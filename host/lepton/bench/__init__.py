"""Measures the chip on networks and layers of known shape, beside goals and other accelerators' published figures.

- `catalog`: what is measured, what is to be reached, what others reach
- `measure`: one row, compiled, run on the RTL and held against the golden model
- `worker`: rows in processes of their own
- `roofline`: the chart
- `cloud`: the way of results to a store
- `trace`: one inference as a timeline for Perfetto
"""

from .catalog import ROWS, Entry, select
from .measure import Measurement, measure
from .worker import run_rows

__all__ = ["ROWS", "Entry", "Measurement", "measure", "run_rows", "select"]
