"""validate.c on job records at and around every limit, against the rules written in unbounded integers."""

import ctypes
import random
from itertools import product

import pytest
from lepton.arch import Engine
from lepton.arch.commands import ENGINE_RECORDS
from lepton.arch.controller import JOB_MAGIC, PRIORITIES, RINGS_BYTES, JobFlag, JobRecord, Refusal
from lepton.arch.registers import SNAPSHOT_COUNTERS

from tests.host.firmware.job_records import record

WINDOW = 0x4_0000
TOP = (1 << 32) - 1
SLOTS = 256
SNAPSHOT_BYTES = 4 * len(SNAPSHOT_COUNTERS)
REGIONS = ("program", "input", "output", "scratch")


def rules(job: dict[str, int], sequence: int, window: int) -> Refusal:
    """What `JobRecord` demands, in the order in which a refusal names it."""
    def inside(offset: int, size: int) -> bool:
        return offset >= RINGS_BYTES and offset + size <= window

    if job["magic"] != JOB_MAGIC:
        return Refusal.MAGIC
    if job["sequence"] != sequence:
        return Refusal.SEQUENCE
    if job["flags"] not in range(4) or job["reserved0"] or job["reserved1"]:
        return Refusal.RESERVED
    if job["priority"] >= PRIORITIES:
        return Refusal.PRIORITY
    for name in REGIONS:
        offset = job[f"{name}_offset"]
        size = job[f"{name}_size"]
        if not (inside(offset, size) if size else offset == 0):
            return Refusal.REGION
    if not any(job[f"{engine.name.lower()}_count"] for engine in Engine):
        return Refusal.STREAM
    for engine in Engine:
        start = job[f"{engine.name.lower()}_program"]
        count = job[f"{engine.name.lower()}_count"]
        if start % 64 or start + count * ENGINE_RECORDS[engine].size > job["program_size"]:
            return Refusal.STREAM
    offset = job["snapshot_offset"]
    count = job["snapshot_count"]
    if job["flags"] & JobFlag.SNAPSHOTS and not (
            0 < count <= SLOTS and offset % 4 == 0 and inside(offset, count * SNAPSHOT_BYTES)):
        return Refusal.SNAPSHOTS
    return Refusal.NONE


@pytest.fixture
def check(library: ctypes.CDLL):
    """`check(sequence=0, window=WINDOW, **changes)` compares the firmware's answer with the rules and returns it."""
    def compare(sequence: int = 0, window: int = WINDOW, **changes: int) -> Refusal:
        job = JobRecord.unpack(record(sequence)) | changes
        found = Refusal(library.validate_job(JobRecord.pack(**job), sequence, window))
        assert found == rules(job, sequence, window), (found, changes, sequence, window)
        return found
    return compare


def test_a_good_record(check):
    assert check() == Refusal.NONE
    assert check(sequence=TOP) == Refusal.NONE


def test_no_record(library):
    assert library.validate_job(None, 0, WINDOW) == Refusal.MAGIC


def test_magic_sequence_priority_and_flags(check):
    for bit in range(32):
        assert check(magic=JOB_MAGIC ^ 1 << bit) == Refusal.MAGIC
        assert check(sequence=1 << bit) == Refusal.NONE
    found = {check(flags=flags, snapshot_offset=RINGS_BYTES, snapshot_count=1) for flags in range(256)}
    assert found == {Refusal.NONE, Refusal.RESERVED}
    assert [check(priority=p) for p in (0, PRIORITIES - 1, PRIORITIES, 255)] == [
        Refusal.NONE, Refusal.NONE, Refusal.PRIORITY, Refusal.PRIORITY]


@pytest.mark.parametrize("wrong", [1, TOP, 1 << 31])
def test_a_sequence_that_is_not_the_next(library, wrong):
    job = JobRecord.unpack(record(0)) | {"sequence": wrong}
    assert library.validate_job(JobRecord.pack(**job), 0, WINDOW) == Refusal.SEQUENCE


def test_every_reserved_bit(check):
    for name, bits in ((f.name, f.bits) for f in JobRecord.fields if f.name.startswith("reserved")):
        for bit in range(bits):
            assert check(**{name: 1 << bit}) == Refusal.RESERVED


@pytest.mark.parametrize("name", REGIONS)
def test_regions(check, name):
    """Offsets and sizes at the ends of the window and of 32 bits; what one region uses another may use."""
    offsets = [0, 4, RINGS_BYTES - 1, RINGS_BYTES, RINGS_BYTES + 1, WINDOW - 4, WINDOW - 1, WINDOW, WINDOW + 1,
               TOP - 4, TOP]
    found = set()
    for offset in offsets:
        left = (WINDOW - offset) % (1 << 32)
        for size in {0, 1, 256, left - 1, left, left + 1, WINDOW, TOP - offset, TOP - offset + 1, TOP}:
            if 0 <= size <= TOP:
                found.add(check(**{f"{name}_offset": offset, f"{name}_size": size}))
    assert found >= {Refusal.NONE if name != "program" else Refusal.STREAM, Refusal.REGION}


@pytest.mark.parametrize("window", [0, 1, RINGS_BYTES - 1, RINGS_BYTES, RINGS_BYTES + 255, RINGS_BYTES + 256, TOP])
def test_windows_of_every_size(check, window):
    for offset, size in product((RINGS_BYTES, 0xFFFF_F000, TOP), (1, 255, 256, 257, 0xFFF, TOP)):
        check(window=window, input_offset=offset, input_size=size)
    assert (check(window=window) == Refusal.NONE) == (window >= RINGS_BYTES + 256)


@pytest.mark.parametrize("engine", Engine)
def test_streams(check, engine):
    """Counts up to what fits and one more, also where 32 bits would wrap; starts that are not aligned or outside."""
    name = engine.name.lower()
    size = ENGINE_RECORDS[engine].size
    empty = dict(load_count=0, tensor_count=0, store_count=0)
    assert check(**empty) == Refusal.STREAM
    for program_size in (64, 256, 256 + 63, 0x1000, 0x3_F000):
        for start in (0, 1, 32, 63, 64, 128, 256, program_size - program_size % 64, program_size + 64, 0xFFFF_FFC0):
            fits = max(0, program_size - start) // size
            for count in {0, 1, max(0, fits - 1), fits, fits + 1, (1 << 32) // size, (1 << 32) // size + 1, TOP}:
                check(**empty | {"program_size": program_size, f"{name}_program": start, f"{name}_count": count})
                others = {f"{e.name.lower()}_count": int(program_size >= 256) for e in Engine}
                check(**others | {"program_size": program_size, f"{name}_program": start, f"{name}_count": count})
    assert check(**empty | {f"{name}_count": 256 // size}) == Refusal.NONE
    assert check(**empty | {f"{name}_count": 256 // size + 1}) == Refusal.STREAM


def test_snapshots(check):
    flags = {"flags": JobFlag.SNAPSHOTS}
    last = WINDOW - SNAPSHOT_BYTES
    for count in (0, 1, 2, SLOTS - 1, SLOTS, SLOTS + 1, 1 << 27, (1 << 27) + 1, TOP):
        for offset in (0, RINGS_BYTES - 4, RINGS_BYTES, RINGS_BYTES + 1, RINGS_BYTES + 2, last, last + 4,
                       WINDOW - SLOTS * SNAPSHOT_BYTES, WINDOW - SLOTS * SNAPSHOT_BYTES + 4, WINDOW, TOP - 3):
            check(**flags, snapshot_count=count, snapshot_offset=offset)
            assert check(snapshot_count=count, snapshot_offset=offset) == Refusal.NONE, "not looked at without the flag"
    assert check(**flags, snapshot_count=SLOTS, snapshot_offset=RINGS_BYTES) == Refusal.NONE


def test_random_records(check):
    """Several wrong fields at once: the first in the order of the rules is named."""
    rng = random.Random(5)
    edges = (0, 1, 3, 4, 63, 64, 0xFFF, RINGS_BYTES, WINDOW - 64, WINDOW, WINDOW + 1, 1 << 31, TOP)
    found = set()
    for _ in range(4000):
        changes = {}
        for field in rng.sample(JobRecord.fields, rng.choice((1, 2, 3, 6))):
            value = rng.choice(edges) if rng.random() < 0.8 else rng.getrandbits(field.bits)
            changes[field.name] = value % (1 << min(field.bits, 32))
        sequence = changes.pop("sequence", 0)
        if rng.random() < 0.7:
            changes.pop("magic", None)
        found.add(check(sequence=sequence, **changes))
    assert found >= set(Refusal) - {Refusal.CRC, Refusal.SEQUENCE, Refusal.PROGRAM_HASH, Refusal.MEMORY}
