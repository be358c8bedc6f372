"""Snapshots of a job's layers, where memory fails while they are copied."""

from lepton.arch.controller import RINGS_BYTES, CopyMode, CopyStatus, EventKind, JobFlag, JobStatus

from tests.host.firmware.job_records import record
from tests.host.firmware.scheduler_values import SLOT, arguments


def test_the_first_snapshot_that_cannot_be_written_is_the_last_one_tried(chip):
    """A client whose memory fails delays the others by one copy, and the log holds one event."""
    chip.submit(1, record(0, flags=JobFlag.SNAPSHOTS, snapshot_offset=RINGS_BYTES, snapshot_count=4))
    chip.settle()
    chip.copy_faults = [(1, CopyStatus.BOUNDS)]
    copied = len(chip.copies)
    chip.end()
    chip.settle()
    assert [arguments(e)[:2] for e in chip.events(EventKind.MEMORY_FAULT)] == [(RINGS_BYTES, SLOT)]
    written = [(offset, length) for mode, window, offset, length in chip.copies[copied:]
               if (mode, window) == (CopyMode.WRITE, 1) and length == SLOT]
    assert written == [(RINGS_BYTES, SLOT)]
    assert chip.completion(1, 0)["status"] == JobStatus.DONE
