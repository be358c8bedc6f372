"""The golden model as a board: `lepton.device.open("golden", ...)`.

It has the registers and the memory of a real one, but no clock: a job runs to its
end inside the write to DOORBELL, no time passes, and the cycle counters read zero.
Uninitialized memory, on chip and off, reads as zero.
"""

import numpy as np
from lepton.arch import COUNTERS, PRESETS, REGISTERS, ChipConfig, Engine, Region, Register
from lepton.arch.registers import IDENTIFICATION, SNAPSHOT_BASE, SNAPSHOT_COUNTERS, VERSION, Control, Interrupt, State
from lepton.device import DeviceError

from .interpreter import JobResult, JobSetup, StreamInterpreter
from .races import Race, RaceError

_BY_OFFSET = {register.offset: register for register in REGISTERS.values()}
_COUNTER_NAMES = frozenset(name for name, _ in COUNTERS)


class GoldenDevice:
    """A `lepton.device.Device` without hardware.

    `races` holds what the race checker found in the last job. With `check_races` a
    racy job raises `RaceError` from the write to DOORBELL, after the job has ended and its
    registers are set. `seed` makes the engines take turns in a random order.
    """

    def __init__(self, config: ChipConfig, *, memory_bytes: int = 1 << 28, check_races: bool = False,
                 seed: int | None = None):
        if memory_bytes <= 0 or memory_bytes % 4096:
            raise DeviceError(f"memory_bytes must be a positive multiple of 4096, not {memory_bytes!r}")
        self.config = config
        self.memory_bytes = memory_bytes
        self.races: list[Race] = []
        try:
            self._memory = np.zeros(memory_bytes, np.uint8)  # calloc: pages take memory when they are first written
        except MemoryError:
            raise DeviceError(f"this machine cannot hold memory_bytes={memory_bytes} of device memory") from None
        self._interpreter = StreamInterpreter(config, self._memory, check_races=check_races, seed=seed)
        self._closed = False
        self._values = {register.name: 0 for register in REGISTERS.values()}
        self._values |= {
            "ID": IDENTIFICATION,
            "VERSION": VERSION,
            "GEOMETRY": config.lanes | config.columns << 8 | config.bus_bytes << 16 | config.row_lanes << 24,
            "SCRATCHPAD": config.scratchpad_bytes,
            "WEIGHTS": config.weight_bytes,
            "ACCUMULATORS": config.accumulator_rows,
        }

    def __enter__(self) -> "GoldenDevice":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def read_register(self, offset: int) -> int:
        """See `Device`. Write-only registers and all counters read zero."""
        self._check_open()
        register = _BY_OFFSET.get(offset)
        if register is not None:
            return 0 if register.access == "wo" or register.name in _COUNTER_NAMES else int(self._values[register.name])
        if offset % 4 == 0 and 0 <= offset - SNAPSHOT_BASE < 4 * len(SNAPSHOT_COUNTERS) * self.config.layer_slots:
            return 0
        raise DeviceError(f"read of register {offset:#x} answered SLVERR: no register has that offset")

    def write_register(self, offset: int, value: int) -> None:
        """See `Device`. A write to DOORBELL returns when the job has ended; it may raise `RaceError`."""
        self._check_open()
        value = int(value)
        if not 0 <= value < 1 << 32:
            raise DeviceError(f"a register value must be in 0..{(1 << 32) - 1}, not {value}")
        register = _BY_OFFSET.get(offset)
        if register is None:
            raise DeviceError(f"write to register {offset:#x} answered SLVERR: no writable register has that offset")
        if register.access == "ro":
            raise DeviceError(f"write to register {register.name} ({offset:#x}) answered SLVERR: it is read-only")
        if register.access == "w1c":
            self._values[register.name] &= ~value
        elif register.access == "rw":
            self._values[register.name] = value
        else:
            self._act(register, value)

    def _act(self, register: Register, value: int) -> None:
        if register.name == "DOORBELL":
            self._finish(self._interpreter.run(self._job()))
        elif value & (Control.RESET | Control.MEMORY_RESET):
            # Registers that the host writes keep their values; ABORT finds no running job here.
            self._values |= {"STATUS": State.IDLE, "IRQ_STATUS": 0} | _error_registers(None)

    def _job(self) -> JobSetup:
        values = self._values
        return JobSetup(
            streams=tuple((values[f"{e.name}_PROGRAM"], values[f"{e.name}_COUNT"]) for e in Engine),
            regions=tuple((values[f"{r.name}_BASE"] | values[f"{r.name}_BASE_HI"] << 32, values[f"{r.name}_SIZE"])
                          for r in Region))

    def _finish(self, result: JobResult) -> None:
        self._values |= _error_registers(result.error)
        self._values["STATUS"] = State.DONE if result.error is None else State.ERROR
        self._values["IRQ_STATUS"] |= Interrupt.DONE if result.error is None else Interrupt.ERROR
        self.races = result.races
        if self.races:
            raise RaceError(self.races)

    def read_memory(self, address: int, size: int) -> np.ndarray:
        """See `Device`."""
        self._check_memory(address, size)
        return self._memory[address:address + size].copy()

    def write_memory(self, address: int, data) -> None:
        """See `Device`."""
        data = np.frombuffer(memoryview(data).cast("B"), np.uint8) if memoryview(data).nbytes else np.zeros(0, np.uint8)
        self._check_memory(address, len(data))
        self._memory[address:address + len(data)] = data

    def wait_interrupt(self, max_cycles: int) -> bool:
        """See `Device`. Returns at once: nothing can happen later."""
        self._check_open()
        return bool(self._values["IRQ_STATUS"] & self._values["IRQ_ENABLE"])

    def close(self) -> None:
        """See `Device`."""
        if not self._closed:
            self._closed = True
            del self._memory, self._interpreter  # the host gets the memory back

    def _check_open(self) -> None:
        if self._closed:
            raise DeviceError("the golden device is closed; open another one")

    def _check_memory(self, address: int, size: int) -> None:
        self._check_open()
        if address < 0 or size < 0 or address + size > self.memory_bytes:
            raise DeviceError(f"bytes {address:#x}..{address + size:#x} do not lie in the board's memory of "
                              f"{self.memory_bytes} bytes; open it with a larger memory_bytes")


def _error_registers(error) -> dict[str, int]:
    if error is None:
        return dict.fromkeys(("ERROR_CODE", "ERROR_ENGINE", "ERROR_COMMAND", "ERROR_LAYER", "ERROR_ADDRESS",
                              "ERROR_ADDRESS_HI"), 0)
    return {"ERROR_CODE": error.code, "ERROR_ENGINE": error.engine, "ERROR_COMMAND": error.index,
            "ERROR_LAYER": error.layer, "ERROR_ADDRESS": error.address & 0xFFFF_FFFF,
            "ERROR_ADDRESS_HI": error.address >> 32}


def open_golden(config: str | ChipConfig = "base", *, memory_bytes: int = 1 << 28, check_races: bool = False,
                seed: int | None = None) -> GoldenDevice:
    """Open the golden model of a preset (by name) or of a `ChipConfig`.

    `memory_bytes` takes real memory only where it is written. Raises `DeviceError` for an unknown preset.
    """
    if isinstance(config, str):
        if config not in PRESETS:
            raise DeviceError(f"config must be one of {', '.join(PRESETS)} or a ChipConfig, not {config!r}")
        config = PRESETS[config]
    return GoldenDevice(config, memory_bytes=memory_bytes, check_races=check_races, seed=seed)
