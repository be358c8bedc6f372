"""Measures what running jobs through the controller costs, compared with driving the chip directly."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from ..arch import ChipConfig, Region
from ..arch.commands import ENGINE_RECORDS
from ..compiler import compile_graph
from ..driver import BoardController, Driver, Job
from ..models import topologies
from ..runtime import Session
from .board import READ, Board, open_board
from .measure import PAGE, memory_bytes

NETWORK = "tiny_ic"  # ResNet-8
JOBS = 8  # back to back
IDLE_CYCLES = 20_000  # more than the controller needs to log a job and go to sleep
SPARE_MEMORY = 1 << 20  # bytes for the clients' windows and rings

# Upper limits: a network must not be noticeably slower with the controller (design D7).
GOALS = {"loss": 0.01, "submission_cycles": 2000, "boot_cycles": 300_000, "simulation_loss": 0.1}


@dataclass(frozen=True)
class ControllerMeasurement:
    """The costs of the controller.

    `cycles`: from the start of a job to the start of the next one, both queued. `direct_cycles`: from doorbell to
    completion without a controller. `loss`: (cycles - direct_cycles) / direct_cycles. `submission_cycles`: from the
    cycle in which the host begins to write a client's doorbell, while the controller sleeps, to the cycle in which the
    first command of an engine reads memory. `simulation_loss`: the share of the simulation's speed that is lost while
    the network runs.
    """

    config: str
    memory: str
    network: str
    cycles: float
    direct_cycles: int
    loss: float
    submission_cycles: int
    boot_cycles: int
    simulated_hz: float
    direct_simulated_hz: float
    simulation_loss: float
    exact: bool

    @property
    def reached(self) -> dict[str, bool]:
        """By goal: whether it is reached."""
        return {name: getattr(self, name) <= goal for name, goal in GOALS.items()}

    def record(self) -> dict:
        """The row of bench.json."""
        return {"name": "controller"} | asdict(self)


def measure_controller(config: str | ChipConfig = "base", memory: str = "default",
                       progress: Callable[[str], None] = lambda text: None) -> ControllerMeasurement:
    """Run ResNet-8 on two boards, with and without the controller, and compare. Raises what running raises."""
    graph = topologies.build(NETWORK)
    model = compile_graph(graph, config)
    inputs = topologies.random_inputs(graph)
    size = memory_bytes(model) + -(-SPARE_MEMORY // PAGE) * PAGE
    progress("the chip without a controller")
    with open_board(config, memory=memory, memory_bytes=size) as board, Driver(board) as driver, \
            Session(model, driver) as session:
        result = session.run(inputs)
        job = _job(session)
        direct = driver.run(job).cycles
        direct_hz = _speed(board, driver, job)
        expected = job_output(job)
    progress("the chip with a controller")
    chip = model.config.with_(controller=True)
    with open_board(chip, memory=memory, memory_bytes=size) as board:
        before = board.cycles
        with BoardController(board) as controller, Driver(board, controller.client()) as driver, \
                Session(model, driver) as session:
            boot = board.cycles - before
            exact = all((session.run(inputs).outputs[name] == value).all() for name, value in result.outputs.items())
            job = _job(session)
            driver.run(job)
            board.run(IDLE_CYCLES)  # until the last job is logged and the processor sleeps
            submission = submission_cycles(board, driver, job)
            done = [driver.wait(handle) for handle in [driver.submit(job) for _ in range(JOBS)]]
            cycles = (done[-1].start - done[0].start) / (JOBS - 1)
            exact = exact and job_output(job) == expected
            speed = _speed(board, driver, job)
    return ControllerMeasurement(model.config.name, memory, NETWORK, cycles, direct, cycles / direct - 1, submission,
                                 boot, speed, direct_hz, 1 - speed / direct_hz, exact)


def submission_cycles(board: Board, driver: Driver, job: Job) -> int:
    """Cycles from the doorbell's write to the first burst that belongs neither to a ring nor to a command stream.

    The program of `job` must have been verified, and its first command must be a LOAD without a wait. The result is a
    few cycles too long: the burst follows the command, and the doorbell reaches the controller after its write began.
    """
    program = job.regions[Region.PROGRAM].address
    streams = [(program + stream.offset, program + stream.offset + stream.count * ENGINE_RECORDS[engine].size)
               for engine, stream in job.streams.items()]
    buffers = [(buffer.address, buffer.address + buffer.size) for buffer in job.regions.values()]
    board.record(True)
    start = board.cycles
    driver.wait(driver.submit(job))
    bursts = sorted((int(event["first"]), int(event["address"])) for event in board.events if event["kind"] == READ)
    board.record(False)

    def within(address: int, ranges: list[tuple[int, int]]) -> bool:
        return any(first <= address < last for first, last in ranges)

    return next(cycle for cycle, address in bursts if within(address, buffers) and not within(address, streams)) - start


def job_output(job: Job) -> bytes:
    """The bytes of a job's region OUTPUT."""
    return job.regions[Region.OUTPUT].read().tobytes()


def _job(session: Session) -> Job:
    """The session's only job, without its layers, so that their counters are not copied."""
    job, = session.jobs
    return replace(job, layers=())


def _speed(board: Board, driver: Driver, job: Job) -> float:
    """Simulated cycles per second of processor time; the best of three, since other processes slow it down."""
    best = 0.0
    for _ in range(3):
        cycles = board.cycles
        start = time.process_time()
        for handle in [driver.submit(job) for _ in range(JOBS)]:
            driver.wait(handle)
        best = max(best, (board.cycles - cycles) / (time.process_time() - start))
    return best
