"""From a chip to what other tools take: readable Verilog, area and clock of its blocks, a bitstream for a board.

`verilog` writes the Verilog, `area` counts what Yosys makes of it, `bitstream` builds for a board. They need
the extra `chip` of the package: pip install 'lepton-chip[chip]'.
"""
