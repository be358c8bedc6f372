"""A compiled model on a device: load once, run many times."""

import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from ..arch import COUNTERS, Region
from ..device import Device
from ..driver import Buffer, Completion, Driver, Job
from ..graph import GraphError
from ..program import ChipStep, CompiledModel, HostStep
from .batches import checked_array, joined, single_inputs
from .costs import HostCost, Stopwatch, cost_of, prepare
from .errors import InputError, RuntimeModelError
from .input_memory import InputMemory
from .report import Report, Row, job_rows
from .run_lock import RunLock
from .states import States

# What results and intermediate tensors hold before a program writes them. Not 0 or 255, which programs write often: a
# byte that one device does not write then differs from the other's.
UNWRITTEN = 0xA5


@dataclass(frozen=True, eq=False)
class Result:
    """Outputs of one inference by name, and where its cycles went."""

    outputs: dict[str, np.ndarray]
    report: Report


@dataclass(frozen=True, eq=False)
class _LoadedStep:
    """A chip step in device memory: the buffers of its regions and its job. A region of size 0 has no buffer."""

    step: ChipStep
    buffers: dict[Region, Buffer]
    job: Job
    inputs: InputMemory | None  # of a model with state


def program_hash(model: CompiledModel) -> str:
    """SHA-256 of the compiled model's file: its programs, layouts and configuration."""
    return model.digest()


class Session:
    """Holds a model's programs and buffers in device memory.

        with lepton.device.open("golden") as device, Session(model, device) as session:
            result = session.run(image)

    `target` is a `Device`, or an open `Driver`. Sessions on one device share its memory and take turns, whether they
    were given the device or one driver. Raises `RuntimeModelError` for a model compiled for another chip,
    `DriverError` for a device that an open `Driver` or `BoardController` of the caller uses, and `AllocationError` when
    the device's memory does not suffice; no buffer stays behind then.

    Threads may share a session: its runs take place one after the other. Results and inputs are the caller's own: no
    later run changes them, and no change to them changes a later run. A fork of the process cannot use the session
    (`DriverError`); it opens its own device.

    A model with state (`model.states`) takes one input of a stream after the other: each run reads what the last one
    left. The session has the values (`states`), so several sessions of one model are streams of their own. A run that
    ends with an error leaves the states as they were.
    """

    def __init__(self, model: CompiledModel, target: Device | Driver):
        if not isinstance(model, CompiledModel):
            raise RuntimeModelError("a session needs a compiled model (lepton.compile, CompiledModel.load), not "
                                    f"{type(model).__name__}")
        self.model = model
        self._lock = RunLock(model.name)
        self._closed = False
        own_driver = not isinstance(target, Driver)
        self.driver = target if isinstance(target, Driver) else Driver.shared(target)
        self._buffers: list[Buffer] = []  # all of them, also those of a step that could not be loaded
        self._loaded: dict[int, _LoadedStep] = {}  # by index in `model.steps`
        self.states = States(model, self._lock)
        # Runs also where a session is dropped without being closed.
        self._release = weakref.finalize(self, _release, self.driver, self._buffers, own_driver)
        self._release.atexit = False
        try:
            self._check_config()
            for index, step in enumerate(model.steps):
                if isinstance(step, ChipStep):
                    self._loaded[index] = self._load(index, step)
                else:
                    prepare(step)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Free the device's memory, when no run is under way any more. The device stays open.

        Raises `RuntimeModelError` when it is called from the `progress` of a run of this session.
        """
        if self.driver.inherited:
            self._closed = True
            return
        with self._lock.held("closed"):
            self._closed = True
            self._release()
            self._loaded.clear()

    def run(self, inputs: np.ndarray | Mapping[str, np.ndarray], *, cycle_limit: int | None = None,
            progress: Callable[[str, int], None] | None = None) -> Result:
        """Run the model on its inputs: a dict by name, or the array of a model's only input.

        Outputs have the shapes and types of `model.outputs`. `progress` is
        called now and then with the step's name and its cycles so far. Raises `InputError` before
        anything reaches the chip, `ChipError` and `JobTimeout` like the driver;
        the session can be used again after any of them. `RuntimeModelError` where a host step does not take a computed
        value, where the session, or its driver, has been closed, and for a call from the session's own `progress`.
        """
        values = self.checked(inputs)
        self.driver.check_process()
        with self._lock.run():
            self._check_open()
            values |= self.states.read()
            result = self._run(values, cycle_limit, progress)
            self.states.advance(values)
            return result

    def each(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> Iterator[Result]:
        """`run` on one input after the other: arrays as for `run` whose first axis holds any number of inputs.

        For a model with state they are the next ones of its stream; `states.reset()` starts another. Raises
        `InputError`, while iterating, for arrays that do not fit the model or hold different numbers of inputs.
        """
        for values in single_inputs(inputs, self.model.inputs):
            yield self.run(values)

    def predict(self, inputs: np.ndarray | Mapping[str, np.ndarray], *,
                progress: Callable[[int, int], None] | None = None) -> np.ndarray | dict[str, np.ndarray]:
        """The outputs of many inputs, as `each` runs them: the array of the model's only output, else arrays by name.

        Inputs and outputs are arrays as for `run` with any number of inferences along the first axis; `run` and `each`
        also give the reports. `progress` is called with the number of inferences done and of all. Raises what `run`
        raises, and `InputError` for arrays without a single input.
        """
        feeds = single_inputs(inputs, self.model.inputs)
        results = []
        for values in feeds:
            results.append(self.run(values).outputs)
            if progress is not None:
                progress(len(results), len(feeds))
        if not results:
            raise InputError("there are no inputs")
        outputs = joined(results)
        return outputs[self.model.outputs[0].name] if len(outputs) == 1 else outputs

    def _run(self, values: dict[str, np.ndarray], cycle_limit: int | None,
             progress: Callable[[str, int], None] | None) -> Result:
        started = time.perf_counter()
        rows: list[Row] = []
        host_costs: list[HostCost] = []
        counters = {name: 0 for name, _ in COUNTERS}
        for index, step in enumerate(self.model.steps):
            watch = Stopwatch()
            if isinstance(step, HostStep):
                with watch:
                    _run_on_host(step, values)
            else:
                completion = self._run_on_chip(self._loaded[index], values, watch, cycle_limit, progress)
                layers = [layer for layer in self.model.layers if layer.step == index]
                rows += job_rows(completion, layers, self.model.config)
                for name, value in completion.counters.items():
                    counters[name] += value
            host_costs.append(cost_of(index, step, watch.seconds))
        # Copies: an output may be an input, a constant of the model, or a view of one.
        outputs = {t.name: np.array(values[t.name]) for t in self.model.outputs}
        return Result(outputs, Report(self.model.config, tuple(rows), counters, time.perf_counter() - started,
                                      tuple(host_costs)))

    def _run_on_chip(self, loaded: _LoadedStep, values: dict[str, np.ndarray], watch: Stopwatch,
                     cycle_limit: int | None, progress: Callable[[str, int], None] | None) -> Completion:
        """Run the job of one step: it reads its inputs from `values` and adds its outputs. `watch` takes the time of
        the changes of layout."""
        step = loaded.step
        with watch:
            packed = [binding.to_device(values[binding.name]) for binding in step.inputs]
        memory = loaded.inputs or loaded.buffers[Region.INPUT]
        for binding, data in zip(step.inputs, packed, strict=True):
            memory.write(data, binding.offset)
        report = None if progress is None else partial(progress, step.name)
        try:
            completion = self.driver.run(loaded.job, cycle_limit=cycle_limit, progress=report)
        except BaseException:
            if loaded.inputs is not None:
                loaded.inputs.forget()
            raise
        results = [loaded.buffers[Region.OUTPUT].read(binding.offset, binding.size) for binding in step.outputs]
        with watch:
            for binding, result in zip(step.outputs, results, strict=True):
                values[binding.name] = binding.from_device(result)
        return completion

    @property
    def jobs(self) -> list[Job]:
        """The jobs of the chip, in order."""
        return [loaded.job for loaded in self._loaded.values()]

    def placed(self) -> list[tuple[ChipStep, dict[Region, Buffer]]]:
        """Every job with the device buffers of its regions, in order."""
        return [(loaded.step, loaded.buffers) for loaded in self._loaded.values()]

    def results_memory(self) -> dict[tuple[int, Region], np.ndarray]:
        """Every byte that the programs may have written: (step, OUTPUT or SCRATCH) -> uint8 array."""
        return {(index, region): loaded.buffers[region].read()
                for index, loaded in self._loaded.items()
                for region in (Region.OUTPUT, Region.SCRATCH) if region in loaded.buffers}

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeModelError(f"the session of model {self.model.name!r} has been closed; make a new one")
        if self.driver.closed:
            raise RuntimeModelError(f"the driver of the session of model {self.model.name!r} has been closed; make a "
                                    "new driver and session")

    def _check_config(self) -> None:
        model = self.model
        config = self.driver.config
        if model.config_hash != config.hash:
            raise RuntimeModelError(
                f"model {model.name!r} is compiled for configuration {model.config.name!r} ({model.config_hash}), "
                f"but the device has {config.name!r} ({config.hash}); compile it with --config {config.name} "
                f"or open the device with config={model.config.name!r}")

    def _load(self, index: int, step: ChipStep) -> _LoadedStep:
        buffers: dict[Region, Buffer] = {}
        for region in Region:
            if size := step.region_size(region):
                buffers[region] = self.driver.allocate(size, f"{self.model.name} step {index} {region.name.lower()}")
                self._buffers.append(buffers[region])
        buffers[Region.PROGRAM].write(step.program)
        if Region.INPUT in buffers:
            buffers[Region.INPUT].fill(0)  # gaps between tensors: the same on every device
        for region in (Region.OUTPUT, Region.SCRATCH):
            if region in buffers:
                buffers[region].fill(UNWRITTEN)
        layers = tuple(layer.index for layer in self.model.layers if layer.step == index)
        job = Job(buffers, step.streams, layers, name=f"{self.model.name}: {step.name}")
        inputs = InputMemory(buffers[Region.INPUT]) if self.model.states and Region.INPUT in buffers else None
        return _LoadedStep(step, buffers, job, inputs)

    def checked(self, inputs: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """The arrays by name. Raises `InputError` for what `run` refuses."""
        expected = {t.name: t for t in self.model.inputs}
        if not isinstance(inputs, Mapping):
            if len(expected) != 1:
                raise InputError(f"model {self.model.name!r} has {len(expected)} inputs ({', '.join(expected)}); "
                                 "give a dict of arrays by name")
            inputs = {next(iter(expected)): inputs}
        if inputs.keys() != expected.keys():
            raise InputError(f"the inputs of model {self.model.name!r} must be {', '.join(sorted(expected))}, "
                             f"not {', '.join(map(str, sorted(inputs))) or 'none'}")
        return {name: checked_array(inputs[name], info) for name, info in expected.items()}


def _run_on_host(step: HostStep, values: dict[str, np.ndarray]) -> None:
    try:
        step.run(values)
    except GraphError as error:  # a value that the operator does not take, as an index outside a table
        raise RuntimeModelError(f"host step {step.name!r} ({type(step.op).__name__}): {error}") from None


def _release(driver: Driver, buffers: list[Buffer], own_driver: bool) -> None:
    """Give back what a session has of a driver."""
    if driver.inherited:
        return
    for buffer in buffers:
        if not buffer.freed:
            buffer.free()
    buffers.clear()
    if own_driver:
        driver.leave()
