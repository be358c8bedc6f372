"""Boards: what stands between the chip's AXI ports and the pins of an FPGA board.

    serial port ── Uart ── FrameReceiver, FrameSender ── Bridge ──┬── AXI4-Lite ──► chip
                                                                  └──► Share ──► Sdram ── SDRAM chip
    chip ── AXI4 ──► AxiReader, AxiWriter ────────────────────────────►┘

`system` wires these blocks and the chip; a module per board (`ulx3s`) adds clock, reset and pins.
"""
