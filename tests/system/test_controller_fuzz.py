"""Records of any content from one client, while another client works: nothing hangs, and no data leaks."""

import random
import zlib

import lepton.device
import numpy as np
import pytest
from lepton.arch.controller import (
    COMPLETION_BYTES,
    COMPLETION_RING,
    JOB_BYTES,
    RING_ENTRIES,
    BootState,
    CompletionRecord,
    JobFlag,
    JobRecord,
    JobStatus,
    Refusal,
)
from lepton.driver import BoardController, Driver

from tests.seeds import seeds
from tests.system.controller_jobs import BOARD_BYTES, CONFIG, WINDOW, check, copy_job

LIMIT = 3_000  # cycles that a job of the fuzzed client may take
ROUNDS = 40
FIXED = 1  # with this seed, every kind of end is known to come
EDGES = (0, 1, 3, 4, 63, 64, 128, 0xFFF, 0x1000, WINDOW - 64, WINDOW - 1, WINDOW, WINDOW + 1, 0x7FFF_FFFF,
         0x8000_0000, 0xFFFF_FF00, 0xFFFF_FFFF)


def mutate(rng, good, sequence):
    """A record that is almost right, or that has nothing to do with one."""
    if rng.random() < 0.1:
        return rng.randbytes(JOB_BYTES)
    values = JobRecord.unpack(good) | {"sequence": sequence}
    for field in rng.sample(JobRecord.fields, rng.choice((0, 1, 1, 2, 4))):
        if field.name in ("magic", "sequence", "crc") and rng.random() < 0.7:
            continue
        values[field.name] = (rng.choice(EDGES) if rng.random() < 0.7 else rng.getrandbits(field.bits)) % (
            1 << field.bits)
    values["flags"] &= rng.choice((0xFF, JobFlag.VERIFY | JobFlag.SNAPSHOTS))
    record = bytearray(JobRecord.pack(**values))
    if rng.random() < 0.9:
        record[-4:] = zlib.crc32(record[:-4]).to_bytes(4, "little")
    return bytes(record)


def mutate_program(rng, board, job):
    """The commands themselves are any bytes, too."""
    program = job.regions[next(iter(job.regions))]
    commands = bytearray(program.read().tobytes())
    for _ in range(rng.choice((0, 0, 1, 3))):
        commands[rng.randrange(len(commands))] = rng.choice((0, 0xFF, rng.randrange(256)))
    board.write_memory(program.address, bytes(commands))


@pytest.mark.parametrize("seed", seeds(FIXED))
def test_fuzz(seed):
    rng = random.Random(seed)
    rounds = ROUNDS if seed == FIXED else ROUNDS // 2
    with lepton.device.open("rtl", config=CONFIG, memory_bytes=BOARD_BYTES) as board, \
            BoardController(board) as controller:
        bad = controller.client(WINDOW, limit=LIMIT)
        other = controller.client(WINDOW)
        with Driver(board, bad) as fuzzed, Driver(board, other) as victim:
            template = copy_job(fuzzed)
            good = bad._record(template, 0)
            outside = np.ones(board.memory_bytes, bool)
            for client in (bad, other):
                outside[client.base:client.base + client.size] = False
            outside[controller.base:controller.base + 4096] = False  # the log
            before = board.read_memory(0, board.memory_bytes)
            statuses = []
            sequence = 0
            for _ in range(rounds):
                burst = rng.choice((1, 1, 3, RING_ENTRIES))
                mutate_program(rng, board, template)
                for _ in range(burst):
                    slot = sequence % RING_ENTRIES
                    board.write_memory(bad.base + slot * JOB_BYTES, mutate(rng, good, sequence))
                    sequence += 1
                bad._write("TAIL", sequence)
                job = copy_job(victim, rng.randrange(1, 600))
                victim.wait(victim.submit(job), cycle_limit=400_000)  # not stalled by what the other one does
                check(job)
                for buffer in job.regions.values():
                    buffer.free()
                for _ in range(100):
                    if bad._read("DONE") == sequence:
                        break
                    board.run(2_000)
                assert bad._read("DONE") == sequence, "a record was never answered"
                assert controller.state == BootState.READY
                for n in range(sequence - burst, sequence):
                    answer = CompletionRecord.unpack(bytes(board.read_memory(
                        bad.base + COMPLETION_RING + n % RING_ENTRIES * COMPLETION_BYTES, COMPLETION_BYTES)))
                    assert answer["sequence"] == n
                    statuses.append((JobStatus(answer["status"]), Refusal(answer["reason"])))
            assert np.array_equal(board.read_memory(0, board.memory_bytes)[outside], before[outside])
        kinds = {status for status, _ in statuses}
        if seed == FIXED:
            assert kinds >= {JobStatus.DONE, JobStatus.REFUSED, JobStatus.ERROR}, kinds
            assert len({reason for _, reason in statuses}) >= 6, "the fuzz reaches too few checks"
