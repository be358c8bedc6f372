"""The shared library of the block benches: drivers, monitors, models and checkers.

A test of a block is put together from four kinds of parts, as in cocotb's matrix multiplier example:

- A driver puts stimuli on the ports: `StreamDriver`, `ReadyDriver`, `Pins`, `bus.BusDriver`; or answers what the block
  asks for: `axi_memory`, `word_memory`, `bus.BusResponder`.
- A monitor only watches ports and reports what it sees. It also checks the rules of the interface: `StreamMonitor`,
  the monitors in `axi`.
- A model computes in Python what must come out. Each block has its own, without access to the ports.
- A checker compares what the monitors report with what the model expects: `InOrder`, `Outputs`.

`stalls` has the patterns in which drivers pause. `tests/bench/test_*.py` show that every monitor and every checker
notices a planted error; `disturbed` plants one between a sound block and its bench.
"""
