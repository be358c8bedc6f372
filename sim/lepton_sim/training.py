"""A short program for the chip, run once while a board is built: the C++ compiler learns which branches are taken.

Generated C++ is megabytes of branches of which a cycle takes few. Compiled with a profile, the
others lie out of the way. The program keeps the array as busy as a network does, and uses every
kind of walk, the tail with and without residual, and both directions of memory. Results do not
matter here and nothing is checked, so that a chip that hangs or breaks a rule still becomes a board.

    python -m lepton_sim.training LIBRARY CONFIG     CONFIG: a ChipConfig's fields as JSON
"""

import json
import sys
from dataclasses import asdict
from itertools import accumulate
from pathlib import Path

import numpy as np
from lepton.arch import ChipConfig, Dma, DmaOpcode, Engine, Region, Space, Tensor, TensorOpcode
from lepton.arch.commands import PARAM_WORDS
from lepton.arch.registers import REGISTERS, Interrupt
from lepton.device import Device, DeviceError

from .memory_profile import DEFAULT
from .rtl_device import RtlDevice

CYCLE_LIMIT = 60_000  # several times what the program takes
MEMORY = 1 << 20  # bytes; room for the three regions below
_SIDE = 12  # pixels along each side of the image
_BLOCKS = 2  # of K channels
_BASES = {Region.PROGRAM: 0, Region.INPUT: 1 << 16, Region.OUTPUT: 1 << 18}
_SIZES = {Region.PROGRAM: 1 << 16, Region.INPUT: 1 << 17, Region.OUTPUT: 1 << 17}
_WEIGHTS_THERE = 1 << 6
_IMAGE_THERE = 1 << 0
_LAYER_DONE = 1 << 10


def streams(config: ChipConfig) -> dict[Engine, list[bytes]]:
    """The commands of each engine.

    A 3x3 layer, the same with residual, a depthwise layer where there is a window unit, a pooling
    layer, whose results are stored.
    """
    lanes = config.lanes
    pixels = _SIDE * _SIDE
    plane = pixels * lanes
    tiles = 9 * _BLOCKS
    image = 0
    outputs = [(_BLOCKS + i) * plane for i in range(2)]
    once = dict.fromkeys(("count1", "count2", "count3"), 1)
    load = [
        Dma.pack(opcode=DmaOpcode.LOAD, region=Region.INPUT, space=Space.WEIGHTS, post=_WEIGHTS_THERE,
                 row_bytes=(PARAM_WORDS + tiles * lanes) * lanes, **once),
        Dma.pack(opcode=DmaOpcode.LOAD, region=Region.INPUT, offset=5, local=image, post=_IMAGE_THERE,
                 row_bytes=_SIDE * lanes, mem_step1=_SIDE * lanes, local_step1=_SIDE * lanes,
                 **once | {"count1": _BLOCKS * _SIDE}),
    ]
    ones = dict.fromkeys(("first", "last", "fence", "blocks", "kernel_x", "kernel_y", "nz", "stride_x", "stride_y",
                          "dilation_x", "dilation_y", "tap_rows"), 1)
    walk = ones | {"nx": _SIDE, "ny": _SIDE, "in_w": _SIDE, "in_h": _SIDE, "in_x": lanes, "in_y": _SIDE * lanes,
                   "in_addr": image, "out_x": lanes, "out_y": _SIDE * lanes, "weights": PARAM_WORDS, "out_min": -128,
                   "out_max": 127, "add_min": -128, "add_max": 127}
    around = {"ix0": -1, "iy0": -1, "in_addr": image - (_SIDE + 1) * lanes, "in_kx": lanes, "in_ky": _SIDE * lanes,
              "kernel_x": 3, "kernel_y": 3, "in_block": plane, "blocks": _BLOCKS}
    tensor = [walk | around | {"opcode": TensorOpcode.DOT, "out_addr": outputs[0],
                               "wait": _WEIGHTS_THERE | _IMAGE_THERE}]
    tensor.append(walk | around | {
        "opcode": TensorOpcode.DOT, "out_addr": outputs[1], "add": 1, "res_addr": image, "res_x": lanes,
        "res_y": _SIDE * lanes, **dict.fromkeys(("add_mult_a", "add_mult_b", "add_mult_o"), 1 << 30)})
    if config.window_columns >= _SIDE:
        tensor.append(walk | {"opcode": TensorOpcode.WINDOW, "out_addr": outputs[0], "kernel_x": 3, "kernel_y": 3,
                              "in_ky": _SIDE * lanes, "ix0": -1, "iy0": -1, "in_addr": image - _SIDE * lanes})
    tensor.append(walk | {"opcode": TensorOpcode.MAX, "out_addr": outputs[0], "snapshot": 1, "post": _LAYER_DONE})
    store = [Dma.pack(opcode=DmaOpcode.STORE, region=Region.OUTPUT, offset=3, local=outputs[0], wait=_LAYER_DONE,
                      row_bytes=_BLOCKS * plane, **once)]
    return {Engine.LOAD: load, Engine.TENSOR: [Tensor.pack(**fields) for fields in tensor], Engine.STORE: store}


def start(device: Device) -> None:
    """Put program and data into memory and ring the doorbell."""
    def write(name: str, value: int) -> None:
        device.write_register(REGISTERS[name].offset, int(value))

    parts = streams(device.config)
    images = [b"".join(commands) for commands in parts.values()]  # of records that are multiples of 64 bytes
    offsets = [0, *accumulate(map(len, images))]
    device.write_memory(_BASES[Region.PROGRAM], b"".join(images))
    device.write_memory(_BASES[Region.INPUT], np.random.default_rng(1).integers(0, 256, _SIZES[Region.INPUT], np.uint8))
    for (engine, commands), offset in zip(parts.items(), offsets, strict=False):
        write(f"{engine.name}_PROGRAM", offset)
        write(f"{engine.name}_COUNT", len(commands))
    for region, base in _BASES.items():
        write(f"{region.name}_BASE", base)
        write(f"{region.name}_SIZE", _SIZES[region])
    write("IRQ_ENABLE", Interrupt.DONE | Interrupt.ERROR)
    write("DOORBELL", 1)


def main(library: str, config: str) -> None:
    """Run the program on the board in `library`. What goes wrong costs the profile only."""
    with RtlDevice(Path(library), ChipConfig(**json.loads(config)), DEFAULT, MEMORY) as device:
        try:
            start(device)
            device.wait_interrupt(CYCLE_LIMIT)
        except DeviceError as error:
            print(f"training ended early: {error}", file=sys.stderr)


def command(config: ChipConfig, library: Path) -> list[str]:
    """The command line that trains `library`; its process must end for the profile to be written."""
    return [sys.executable, "-m", "lepton_sim.training", str(library), json.dumps(asdict(config))]


if __name__ == "__main__":
    main(*sys.argv[1:])
