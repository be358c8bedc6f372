"""The scheduler: the counters of snapshots, and the CRC of a job's program."""

import random
import zlib

import pytest
from lepton.arch import ErrorCode
from lepton.arch.controller import (
    COMPLETION_RING,
    RESULT_COUNTERS,
    RINGS_BYTES,
    CopyMode,
    JobFlag,
    LaunchStatus,
    Refusal,
)
from lepton.arch.registers import State

from tests.host.firmware.job_records import record
from tests.host.firmware.scheduler_values import SLOT, errors, results


def test_every_counter_of_every_snapshot(chip):
    """By value: 256 slots of 8 words from the chip to the client's window, nothing else."""
    for slots, offset in ((1, RINGS_BYTES), (2, RINGS_BYTES + 4), (256, 0x5000)):
        rng = random.Random(slots)
        values = [rng.getrandbits(32) for _ in range(8 * 256)]
        chip.values |= {f"snapshot.{i}": value for i, value in enumerate(values)}
        sequence = chip.values["CLIENT1_HEAD"]
        chip.submit(1, record(sequence, flags=JobFlag.SNAPSHOTS, snapshot_offset=offset, snapshot_count=slots))
        chip.submit(2, record(chip.values["CLIENT2_HEAD"]))
        chip.settle()
        assert chip.started[-1]["LAUNCH_WINDOW"] == 1
        assert not chip.launch & LaunchStatus.STAGED, "the next job would overwrite the counters"
        before = bytes(chip.memory[1])
        end = results(slots)
        chip.end(**end)
        chip.settle()
        expected = b"".join(value.to_bytes(4, "little") for value in values[:8 * slots])
        assert chip.memory[1][offset:offset + SLOT * slots] == expected
        after = bytearray(chip.memory[1])
        for at, size in ((offset, SLOT * slots), (COMPLETION_RING + sequence * 128, 128)):
            after[at:at + size] = before[at:at + size]
        assert bytes(after) == before
        found = chip.completion(1, sequence)
        assert {name: found[name.lower()] for name in RESULT_COUNTERS} == {n: end[n] for n in RESULT_COUNTERS}
        assert chip.started[-1]["LAUNCH_WINDOW"] == 2
        chip.end()
        chip.settle()


def test_no_snapshots_of_a_job_that_failed_or_did_not_want_any(chip):
    chip.values |= {f"snapshot.{i}": 0xDEAD_BEEF for i in range(8)}
    chip.submit(1, record(0, snapshot_offset=RINGS_BYTES, snapshot_count=1))
    chip.submit(1, record(1, flags=JobFlag.SNAPSHOTS, snapshot_offset=RINGS_BYTES, snapshot_count=1))
    chip.settle()
    chip.end()
    chip.settle()
    chip.end(State.ERROR, **errors(ErrorCode.MEMORY_BOUNDS))
    chip.settle()
    assert not any(chip.memory[1][RINGS_BYTES:])


@pytest.mark.parametrize("size", [64, 2047, 2048, 2049, 2052, 4096, 4100, 5003])
def test_programs_are_verified_to_their_last_word(chip, size):
    """In pieces; the bytes after the last whole word belong to no command."""
    program = random.Random(size).randbytes(size)
    at = RINGS_BYTES + 64
    chip.memory[3][at:at + size] = program
    whole = size & ~3
    fields = dict(flags=JobFlag.VERIFY, program_offset=at, program_size=size, load_count=1)
    for sequence, changed in enumerate((None, 0, whole - 1, min(2048, whole - 1))):
        chip.memory[3][at:at + size] = program
        if changed is not None:
            chip.memory[3][at + changed] ^= 0x10
        chip.copies.clear()
        chip.submit(3, record(sequence, program_hash=zlib.crc32(program[:whole]), **fields))
        chip.settle()
        checked = [(offset, length) for mode, _, offset, length in chip.copies if mode == CopyMode.CHECK]
        assert [offset for offset, _ in checked] == [at + 2048 * i for i in range(len(checked))]
        assert sum(length for _, length in checked) == whole and all(length <= 2048 for _, length in checked)
        if changed is None:
            assert len(chip.started) == 1
            chip.end()
            chip.settle()
        else:
            assert chip.completion(3, sequence)["reason"] == Refusal.PROGRAM_HASH and len(chip.started) == 1


def test_one_client_s_long_program_does_not_hold_up_another(chip):
    """A step hashes one piece at most."""
    chip.submit(0, record(0, flags=JobFlag.VERIFY, program_size=0x4000, load_count=1))
    chip.submit(1, record(0))
    chip.step()
    assert sum(mode == CopyMode.CHECK for mode, *_ in chip.copies) == 1
    assert [job["LAUNCH_WINDOW"] for job in chip.started] == [1]
