"""The simulated board: Verilog generation, Verilator build, memory model, golden model."""
