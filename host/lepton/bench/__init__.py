"""Measures the chip on networks and layers of known shape, and compares with goals and other accelerators' figures.

- `catalog`: the rows: networks and layers, goals, figures of others
- `measure`: compiles one row, runs it on the RTL and compares it with the golden model
- `worker`: runs each row in its own process
- `roofline`: the chart
- `controller`: the cost of the controller
- `cloud`, `drain`: spooling and uploading of results
- `service_load`, `service_process`, `attackers`: the ingest service under attack and load
- `trace`, `bursts`: one inference as a timeline for Perfetto
- `board`: the interface of boards that can be measured
"""

from .catalog import ROWS, Entry, select
from .measure import Measurement, measure
from .worker import run_rows

__all__ = ["ROWS", "Entry", "Measurement", "measure", "run_rows", "select"]
