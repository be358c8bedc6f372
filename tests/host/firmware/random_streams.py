"""Random streams of jobs: what the firmware's scheduler does with them must be what a model says.

Run as a program (under the address sanitizer's library) it takes the library and a range of seeds.
"""

import random
import sys
from collections import deque
from pathlib import Path

from lepton.arch import ErrorCode
from lepton.arch.controller import CLIENTS, PATIENCE, PRIORITIES, RING_ENTRIES, JobStatus, LaunchStatus, Refusal
from lepton.arch.registers import State

from tests.host.firmware.firmware_host import WINDOW, Hardware
from tests.host.firmware.job_records import record


class Model:
    """What the scheduler must do, said in another way: who starts when, and what is answered.

    One record of a client is prepared, one job is staged, one runs. The next to stage is the longest passed over
    from PATIENCE on, else the highest priority, in turn behind the client staged last.
    """

    def __init__(self):
        self.queues = [deque() for _ in range(CLIENTS)]
        self.prepared = [None] * CLIENTS
        self.passed = [0] * CLIENTS
        self.staged = self.running = None
        self.last = CLIENTS - 1
        self.started = []
        self.answers = [[] for _ in range(CLIENTS)]

    def settle(self):
        """The firmware works in rounds: see what became of jobs, then look at every client once, then stage."""
        moved = True
        while moved:
            moved = False
            if self.staged and not self.running:
                self.running = self.staged
                self.staged = None
                moved = True
                self.started.append(self.running[0])
            moved |= self._serve() | self._stage()

    def end(self, status):
        self.answers[self.running[0]].append((status, Refusal.NONE))
        self.running = None
        self._serve()
        self._stage()

    def _serve(self):
        moved = False
        for i in range(CLIENTS):
            if self.prepared[i] is None and self.queues[i]:
                self.prepared[i] = self.queues[i].popleft()
                self.passed[i] = 0
                moved = True
            job = self.prepared[i]
            busy = any(other and other[0] == i for other in (self.running, self.staged))
            if job and job[2] != Refusal.NONE and not busy:
                self.answers[i].append((JobStatus.REFUSED, job[2]))
                self.prepared[i] = None
                moved = True
        return moved

    def _stage(self):
        ready = [i for i in range(CLIENTS) if self.prepared[i] and self.prepared[i][2] == Refusal.NONE]
        if self.staged or not ready:
            return False
        impatient = [i for i in ready if self.passed[i] >= PATIENCE]
        top = max(self.prepared[i][1] for i in ready)
        among = impatient or [i for i in ready if self.prepared[i][1] == top]
        chosen = min(among, key=lambda i: (i - self.last - 1) % CLIENTS)
        self.passed = [n + (i in ready) for i, n in enumerate(self.passed)]
        self.staged = (chosen, *self.prepared[chosen][1:])
        self.last = chosen
        self.prepared[chosen] = None
        return True


BAD = ((dict(magic=1), Refusal.MAGIC), (dict(crc=5), Refusal.CRC), (dict(priority=PRIORITIES), Refusal.PRIORITY),
       (dict(program_offset=WINDOW), Refusal.REGION), (dict(load_count=5), Refusal.STREAM),
       (dict(flags=1, program_hash=3), Refusal.PROGRAM_HASH), (dict(reserved1=1 << 150), Refusal.RESERVED))


def random_stream(library, seed, steps):
    """Submissions of eight clients and ends of all kinds in random order; raises where firmware and model differ."""
    rng = random.Random(seed)
    hardware = Hardware(library)
    model = Model()
    submitted = [0] * CLIENTS
    hardware.settle()
    for _ in range(steps):
        if rng.random() < 0.6:
            for client in rng.sample(range(CLIENTS), rng.choice((1, 1, 2, 8))):
                if submitted[client] - len(model.answers[client]) == RING_ENTRIES:
                    continue
                changes, refusal = rng.choice(BAD) if rng.random() < 0.2 else ({}, Refusal.NONE)
                priority = rng.choice((0, 0, 1, 3))
                hardware.submit(client, record(submitted[client], **dict(priority=priority) | changes))
                model.queues[client].append((client, priority, refusal))
                submitted[client] += 1
        elif model.running:
            kind = rng.choice((JobStatus.DONE,) * 5 + (JobStatus.ERROR, JobStatus.TIME_LIMIT))
            if kind == JobStatus.TIME_LIMIT:
                hardware.launch |= LaunchStatus.EXPIRED
            elif kind == JobStatus.DONE:
                hardware.end()
            else:
                hardware.end(State.ERROR, rng.choice((ErrorCode.MEMORY_BOUNDS, ErrorCode.AXI_TIMEOUT)))
            model.end(kind)
        model.settle()
        hardware.settle()
        assert hardware.started == model.started, (seed, hardware.started[-5:], model.started[-5:])
        for client, answers in enumerate(model.answers):
            assert hardware.values[f"CLIENT{client}_DONE"] == len(answers), (seed, client)
            for sequence in range(max(0, len(answers) - RING_ENTRIES), len(answers)):
                found = hardware.completion(client, sequence)
                assert found["sequence"] == sequence and (found["status"], found["reason"]) == answers[sequence]


if __name__ == "__main__":
    for stream in range(int(sys.argv[2]), int(sys.argv[3])):
        random_stream(Path(sys.argv[1]), stream, 120)
    print("streams agree")
