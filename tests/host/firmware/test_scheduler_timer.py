"""The timer of an abort's grace belongs to the job that was aborted."""

from lepton.arch import ErrorCode
from lepton.arch.registers import State

from tests.host.firmware.job_records import record
from tests.host.firmware.scheduler_values import errors
from tests.host.firmware.unit_controller import TIMER


def test_a_timer_that_rings_as_the_job_ends_is_forgotten(chip):
    """A copy that waits for the next job would take it for the end of that job's grace."""
    chip.submit(0, record(0, time_limit=50))
    chip.settle()
    chip.expire()
    chip.settle()
    chip.values["EVENTS"] = int(TIMER)
    chip.end(State.ERROR, **errors(ErrorCode.ABORTED))
    chip.settle()
    assert chip.values["EVENTS"] == 0 and chip.writes.count(("TIMER", 0)) == 1
