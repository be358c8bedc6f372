"""Writes programs by hand and runs them through the registers, as a driver would."""

from dataclasses import dataclass, field

import numpy as np
from lepton.arch import REGISTERS, ChipConfig, Dma, DmaOpcode, Engine, Region, Tensor
from lepton.arch.registers import Interrupt, State
from lepton_sim.golden.device import GoldenDevice, open_golden

REGION_BYTES = 1 << 22
BASES = {region: REGION_BYTES * region for region in Region}
STREAM_BYTES = 1 << 18


def register(name: str) -> int:
    return REGISTERS[name].offset


def bits(*semaphores: int) -> int:
    return sum(1 << s for s in semaphores)


def dma(opcode=DmaOpcode.LOAD, row_bytes=16, **fields) -> bytes:
    return Dma.pack(**({"opcode": opcode, "row_bytes": row_bytes, "count1": 1, "count2": 1, "count3": 1} | fields))


def tensor(opcode, **fields) -> bytes:
    """A one-pixel, one-pass walk, first and last, unless said otherwise."""
    ones = dict.fromkeys(("kernel_x", "kernel_y", "blocks", "nx", "ny", "nz", "first", "last",
                          "stride_x", "stride_y", "dilation_x", "dilation_y", "in_w", "in_h"), 1)
    limits = {"out_min": -128, "out_max": 127, "add_min": -128, "add_max": 127}
    return Tensor.pack(opcode=opcode, **(ones | limits | fields))


def parameters(lanes: int, bias=0, multiplier=1 << 30, left=1, right=0) -> np.ndarray:
    """A parameter record, uint8 (10, lanes); the defaults pass values through unchanged."""
    record = np.zeros((10, lanes), np.uint8)
    record[0:4] = np.broadcast_to(np.asarray(bias, "<i4"), lanes).copy().view(np.uint8).reshape(lanes, 4).T
    record[4:8] = np.broadcast_to(np.asarray(multiplier, "<i4"), lanes).copy().view(np.uint8).reshape(lanes, 4).T
    record[8] = left
    record[9] = right
    return record


@dataclass
class Program:
    """Command streams and the contents of the regions INPUT and PROGRAM (after the streams)."""

    config: ChipConfig
    load: list[bytes] = field(default_factory=list)
    tensor: list[bytes] = field(default_factory=list)
    store: list[bytes] = field(default_factory=list)
    rows: list[bytes] = field(default_factory=list)
    constants: bytes = b""
    input: bytes = b""

    CONSTANTS = len(Engine) * STREAM_BYTES  # their offset in region PROGRAM

    def open(self, **options) -> GoldenDevice:
        return open_golden(self.config, memory_bytes=len(Region) * REGION_BYTES, **options)

    def start(self, device: GoldenDevice) -> int:
        """Run on a device; returns STATUS."""
        for engine, stream in zip(Engine, (self.load, self.tensor, self.store, self.rows), strict=True):
            device.write_memory(BASES[Region.PROGRAM] + STREAM_BYTES * engine, b"".join(stream))
            device.write_register(register(f"{engine.name}_PROGRAM"), STREAM_BYTES * engine)
            device.write_register(register(f"{engine.name}_COUNT"), len(stream))
        device.write_memory(BASES[Region.PROGRAM] + self.CONSTANTS, self.constants)
        device.write_memory(BASES[Region.INPUT], self.input)
        for region in Region:
            device.write_register(register(f"{region.name}_BASE"), BASES[region])
            device.write_register(register(f"{region.name}_SIZE"), REGION_BYTES)
        device.write_register(register("IRQ_ENABLE"), Interrupt.DONE | Interrupt.ERROR)
        device.write_register(register("DOORBELL"), 1)
        assert device.wait_interrupt(1)
        device.write_register(register("IRQ_STATUS"), device.read_register(register("IRQ_STATUS")))
        assert not device.wait_interrupt(1)
        return device.read_register(register("STATUS"))

    def run(self, size: int, **options) -> np.ndarray:
        """The first `size` bytes of region OUTPUT as int8, after a run that found neither error nor race."""
        with self.open(**{"check_races": True} | options) as device:
            assert self.start(device) == State.DONE, error_of(device)
            return device.read_memory(BASES[Region.OUTPUT], size).view(np.int8)

    def fail(self, **options) -> dict[str, int]:
        """Error registers after a run that must stop with an error."""
        with self.open(**options) as device:
            assert self.start(device) == State.ERROR
            return error_of(device)


def error_of(device: GoldenDevice) -> dict[str, int]:
    names = ("CODE", "ENGINE", "COMMAND", "LAYER", "ADDRESS", "ADDRESS_HI")
    values = {name.lower(): device.read_register(register(f"ERROR_{name}")) for name in names}
    values["address"] |= values.pop("address_hi") << 32
    return values
