"""A compiled model on a device: load once, run many times."""

import threading
import time
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ..arch import COUNTERS, Region
from ..device import Device
from ..driver import Buffer, Driver, Job
from ..graph import GraphError
from ..program import ChipStep, CompiledModel, TensorInfo
from .costs import cost_of
from .errors import InputError, RuntimeModelError
from .report import Report, job_rows

UNWRITTEN = 0xA5  # what results and intermediate tensors hold before a program writes them


@dataclass(frozen=True, eq=False)
class Result:
    """Outputs of one inference by name, and where its cycles went."""

    outputs: dict[str, np.ndarray]
    report: Report


class _Watch:
    """Adds up the time that its `with` blocks take."""

    def __init__(self):
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._started = time.perf_counter()

    def __exit__(self, *exc) -> None:
        self.seconds += time.perf_counter() - self._started


def program_hash(model: CompiledModel) -> str:
    """SHA-256 of the compiled model's file: its programs, layouts and configuration."""
    return model.digest()


class Session:
    """Holds a model's programs and buffers in device memory.

        with lepton.device.open("golden") as device, Session(model, device) as session:
            result = session.run(image)

    `target` is a `Device`, or an open `Driver`. Sessions on one device share its memory and take turns, whether they
    were given the device or one driver. Raises `RuntimeModelError` for a model compiled for another chip,
    `DriverError` for a device that an open `Driver` or `Controller` of the caller uses, and `AllocationError` when
    the device's memory does not suffice; no buffer stays behind then.

    Threads may share a session: its runs take place one after the other. Results and inputs are the caller's own: no
    later run changes them, and no change to them changes a later run. A fork of the process cannot use the session
    (`DriverError`); it opens its own device.
    """

    def __init__(self, model: CompiledModel, target: Device | Driver):
        self.model = model
        self._lock = threading.RLock()
        self._running = False
        self._closed = False
        own_driver = not isinstance(target, Driver)
        self.driver = Driver.shared(target) if own_driver else target
        self._buffers: list[dict[Region, Buffer]] = []  # per step; empty for host steps
        self._jobs: list[Job | None] = []
        # also where a session is dropped without being closed
        self._release = weakref.finalize(self, _release, self.driver, self._buffers, own_driver)
        self._release.atexit = False
        try:
            self._check_config()
            for index, step in enumerate(model.steps):
                self._load(index, step)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exc) -> None:
        self.close()

    def close(self) -> None:
        """Free the device's memory, when no run is under way any more. The device stays open.

        Raises `RuntimeModelError` when it is called from the `progress` of a run of this session.
        """
        if self.driver.inherited:
            self._closed = True
            return
        with self._lock:
            self._check_idle("closed")
            self._closed = True
            self._release()
            self._jobs.clear()

    def run(self, inputs: np.ndarray | Mapping[str, np.ndarray], *, cycle_limit: int | None = None,
            progress: Callable[[str, int], None] | None = None) -> Result:
        """Run the model on its inputs: a dict by name, or the array of a model's only input.

        Outputs have the shapes and types of `model.outputs`. `progress` is
        called now and then with the step's name and its cycles so far. Raises `InputError` before
        anything reaches the chip, `ChipError` and `JobTimeout` like the driver;
        the session can be used again after any of them. `RuntimeModelError` where a host step does not take a computed
        value, where the session, or its driver, has been closed, and for a call from the session's own `progress`.
        """
        values = self._checked(inputs)
        self.driver.check_process()
        with self._lock:
            self._check_open()
            self._check_idle("run")
            self._running = True
            try:
                return self._run(values, cycle_limit, progress)
            finally:
                self._running = False

    def _run(self, values: dict[str, np.ndarray], cycle_limit: int | None,
             progress: Callable[[str, int], None] | None) -> Result:
        started = time.perf_counter()
        rows, host_costs, counters = [], [], {name: 0 for name, _ in COUNTERS}
        for index, (step, job) in enumerate(zip(self.model.steps, self._jobs, strict=True)):
            watch = _Watch()
            if job is None:
                with watch:
                    try:
                        step.run(values)
                    except GraphError as error:  # a value that the operator does not take, as an index outside a table
                        what = f"host step {step.name!r} ({type(step.op).__name__})"
                        raise RuntimeModelError(f"{what}: {error}") from None
                host_costs.append(cost_of(index, step, watch.seconds))
                continue
            buffers = self._buffers[index]
            with watch:
                packed = [binding.to_device(values[binding.name]) for binding in step.inputs]
            for binding, data in zip(step.inputs, packed, strict=True):
                buffers[Region.INPUT].write(data, binding.offset)
            report = None if progress is None else (lambda cycles, name=step.name: progress(name, cycles))
            completion = self.driver.run(job, cycle_limit=cycle_limit, progress=report)
            packed = [buffers[Region.OUTPUT].read(binding.offset, binding.size) for binding in step.outputs]
            with watch:
                for binding, data in zip(step.outputs, packed, strict=True):
                    values[binding.name] = binding.from_device(data)
            host_costs.append(cost_of(index, step, watch.seconds))
            rows += job_rows(completion, [la for la in self.model.layers if la.step == index], self.model.config)
            for name, value in completion.counters.items():
                counters[name] += value
        # an output may be an input, a constant of the model, or a view of one
        outputs = {t.name: np.array(values[t.name]) for t in self.model.outputs}
        return Result(outputs, Report(self.model.config, tuple(rows), counters, time.perf_counter() - started,
                                      tuple(host_costs)))

    def placed(self) -> list[tuple[ChipStep, dict[Region, Buffer]]]:
        """Every job with the device buffers of its regions, in order."""
        return [(step, buffers) for step, buffers in zip(self.model.steps, self._buffers, strict=True)
                if isinstance(step, ChipStep)]

    def results_memory(self) -> dict[tuple[int, Region], np.ndarray]:
        """Every byte that the programs may have written: (step, OUTPUT or SCRATCH) -> uint8 array."""
        return {(index, region): buffers[region].read()
                for index, buffers in enumerate(self._buffers)
                for region in (Region.OUTPUT, Region.SCRATCH) if region in buffers}

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeModelError(f"the session of model {self.model.name!r} has been closed; make a new one")
        if self.driver.closed:
            raise RuntimeModelError(f"the driver of the session of model {self.model.name!r} has been closed; make a "
                                    "new driver and session")

    def _check_idle(self, what: str) -> None:
        """Another thread's run holds the lock, so a run that is seen is the caller's own."""
        if self._running:
            raise RuntimeModelError(f"the session of model {self.model.name!r} cannot be {what} from the progress of "
                                    "its own run; do so when the run has returned")

    def _check_config(self) -> None:
        model, config = self.model, self.driver.config
        if model.config_hash != config.hash:
            raise RuntimeModelError(
                f"model {model.name!r} is compiled for configuration {model.config.name!r} ({model.config_hash}), "
                f"but the device has {config.name!r} ({config.hash}); compile it with --config {config.name} "
                f"or open the device with config={model.config.name!r}")

    def _load(self, index: int, step) -> None:
        buffers: dict[Region, Buffer] = {}
        self._buffers.append(buffers)
        if not isinstance(step, ChipStep):
            self._jobs.append(None)
            return
        for region in Region:
            if size := step.region_size(region):
                buffers[region] = self.driver.allocate(size, f"{self.model.name} step {index} {region.name.lower()}")
        buffers[Region.PROGRAM].write(step.program)
        if Region.INPUT in buffers:
            buffers[Region.INPUT].fill(0)  # gaps between tensors: the same on every device
        for region in (Region.OUTPUT, Region.SCRATCH):
            if region in buffers:
                buffers[region].fill(UNWRITTEN)
        self._jobs.append(Job(
            buffers, step.streams,
            tuple(layer.index for layer in self.model.layers if layer.step == index),
            name=f"{self.model.name}: {step.name}"))

    def _checked(self, inputs) -> dict[str, np.ndarray]:
        expected = {t.name: t for t in self.model.inputs}
        if not isinstance(inputs, Mapping):
            if len(expected) != 1:
                raise InputError(f"model {self.model.name!r} has {len(expected)} inputs ({', '.join(expected)}); "
                                 "give a dict of arrays by name")
            inputs = {next(iter(expected)): inputs}
        if inputs.keys() != expected.keys():
            raise InputError(f"the inputs of model {self.model.name!r} must be {', '.join(sorted(expected))}, "
                             f"not {', '.join(map(str, sorted(inputs))) or 'none'}")
        return {name: _check_array(inputs[name], info) for name, info in expected.items()}


def _release(driver: Driver, buffers: list[dict[Region, Buffer]], own_driver: bool) -> None:
    """Give back what a session has of a driver."""
    if driver.inherited:
        return
    for regions in buffers:
        for buffer in regions.values():
            if not buffer.freed:
                buffer.free()
    buffers.clear()
    if own_driver:
        driver.leave()


def _check_array(array, info: TensorInfo) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype != np.dtype(info.dtype):
        how = ""
        if info.scale is not None and info.dtype == "int8":
            how = f"; quantize it: round(x / {info.scale:.9g}) + {info.zero_point}, clamped to -128..127"
        raise InputError(f"input {info.name!r} must have type {info.dtype}, not {array.dtype}{how}")
    if array.shape != tuple(info.shape):
        raise InputError(f"input {info.name!r} must have shape {tuple(info.shape)}, not {array.shape}")
    return array
