"""The golden model (design D9): what a program must do, in plain numpy.

- `numerics`: TFLite's fixed-point arithmetic
- `addresses`: which bytes a command touches, and the checks on them
- `commands`: one function per command
- `interpreter`: runs the three command streams of a job
- `races`: finds commands that touch the same bytes in no fixed order
- `device`: the model behind the `Device` interface of the driver

It imports neither Amaranth nor Verilator. It is held against LiteRT's reference
kernels and CMSIS-NN's vectors in `tests/sim/golden`, and the RTL against it.
"""
