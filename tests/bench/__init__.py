"""The shared library of the block benches: drivers, monitors, models and checkers.

A test of a block is put together from four kinds of parts, as in cocotb's matrix multiplier example:

- A driver puts stimuli on the ports: `StreamDriver`, `ReadyDriver`, `Pins`.
- A monitor only watches ports and reports what it sees. It also checks the rules of the interface: `StreamMonitor`.
- A model computes in Python what must come out. Each block has its own, without access to the ports.
- A checker compares what the monitors report with what the model expects: `InOrder`, `Lockstep`.

`stalls` has the patterns in which drivers pause. `tests/bench/test_*.py` show that every monitor and every checker
notices a planted error.
"""
