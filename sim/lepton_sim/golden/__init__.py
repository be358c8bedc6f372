"""The golden model: what a program must do, in plain numpy.

- `numerics`: TFLite's fixed-point arithmetic
- `addresses`: which bytes a command touches, and the checks on them
- `state`: the chip's memories; `commands`: one function per command; `tail`: the end of TENSOR
- `interpreter`: runs the three command streams of a job
- `races`: finds commands that touch the same bytes in no fixed order
- `device`: the model behind the `Device` interface of the driver

It imports neither Amaranth nor Verilator. Tests compare it with LiteRT's reference
kernels and CMSIS-NN's vectors (`tests/sim/golden`), and the RTL with it.
"""
