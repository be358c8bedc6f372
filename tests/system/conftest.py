"""Boards that the tests of a worker share.

A board is opened once per configuration and memory profile and then used by many tests, as a
board on a desk would be: a test that leaves it unusable makes later ones fail.
"""

from pathlib import Path

import lepton.device
import pytest
from lepton.driver import BoardController
from lepton_sim.rtl_device import RtlDevice

from tests.system.controller_jobs import BOARD_BYTES, CONFIG

HERE = Path(__file__).parent

# Cycles of all boards that one test may use: three times what the longest needs. A job that hangs fails its test
# instead of stalling it, however fast the machine is.
CYCLES_OF_A_TEST = 60_000_000


@pytest.fixture(autouse=True)
def cycle_budget(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Fails a test once its boards have run for `CYCLES_OF_A_TEST` cycles, even in the middle of a wait.

    A test file may have a `CYCLES_OF_A_TEST` of its own.
    """
    budget = getattr(request.module, "CYCLES_OF_A_TEST", CYCLES_OF_A_TEST)
    left = budget
    run = RtlDevice._run

    def limited(device: RtlDevice, cycles: int, **options) -> int:
        nonlocal left
        done = run(device, min(cycles, left), **options)
        left -= done
        if left <= 0:
            pytest.fail(f"the boards of this test have run for {budget} cycles: something hangs")
        return done

    monkeypatch.setattr(RtlDevice, "_run", limited)


@pytest.fixture(scope="session")
def boards():
    """`boards(config, memory="default")`: an RTL board; `boards.golden(config)`: the golden model with race checks."""
    shared = Boards()
    yield shared
    shared.close()


class Boards:
    MEMORY_BYTES = 1 << 24  # enough for every network here

    def __init__(self):
        self._open = {}

    def __call__(self, config, memory="default"):
        return self._get("rtl", config, memory=memory)

    def golden(self, config):
        return self._get("golden", config, check_races=True)

    def _get(self, name, config, **options):
        key = (name, config, *options.values())
        if key not in self._open:
            self._open[key] = lepton.device.open(name, config=config, memory_bytes=self.MEMORY_BYTES, **options)
        return self._open[key]

    def close(self):
        for device in self._open.values():
            device.close()


@pytest.fixture(scope="module")
def board():
    """A board whose chip has the controller, for all tests of a module."""
    with lepton.device.open("rtl", config=CONFIG, memory_bytes=BOARD_BYTES) as device:
        yield device


@pytest.fixture
def controller(board):
    """The controller at work, without faults of memory; only the first test boots it, the others take it over."""
    board.clear_faults()
    with BoardController(board) as controller:
        yield controller
