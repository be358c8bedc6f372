"""The whole control block: jobs that end well, with counters, snapshots and interrupts."""

import itertools
import random
from collections.abc import Sequence

import cocotb
import pytest
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiResp
from lepton.arch import PRESETS, REGISTERS, ErrorCode
from lepton.arch import Engine as EngineName
from lepton.arch.registers import SNAPSHOT_COUNTERS, Interrupt, State, snapshot_offset
from lepton_hdl.control import Activity, ControlBlock
from lepton_hdl.interfaces import REGION_TABLE

from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.control.bench import CAUSES, NO_ERROR, ActivityDriver, Bench, Counted
from tests.hdl.control.expose import Exposed
from tests.hdl.control.programs import Fields, expected_end, random_streams

LOAD, TENSOR, STORE, ROWS = EngineName


@cocotb.test(timeout_time=3, timeout_unit="ms")
@cocotb.parametrize(stall=[0.0, 0.4])
async def random_programs_run_to_their_end(dut, stall):
    bench = await Bench.open(dut, latency=random.choice([1, 20]), stall=stall)
    for _ in range(6):
        streams = random_streams([random.randrange(40) for _ in EngineName])
        assert expected_end(streams) is None
        for engine in bench.engines:
            engine.duration = range(1, random.choice([2, 10, 40]))
        assert await bench.run(streams) is State.DONE
        bench.check_history(streams)
        assert await bench.error() == NO_ERROR


@cocotb.test(timeout_time=3, timeout_unit="ms")
async def random_programs_with_lost_posts_end_in_the_expected_deadlock(dut):
    bench = await Bench.open(dut)
    deadlocks = 0
    for i in range(12):
        streams = random_streams([random.randrange(25) for _ in EngineName], lost=0.2 if i % 3 else 0.0)
        end = expected_end(streams)
        state = await bench.run(streams)
        if end is None:
            assert state is State.DONE
            bench.check_history(streams)
        else:
            deadlocks += 1
            assert state is State.ERROR
            assert await bench.error() == (ErrorCode.DEADLOCK, *end)
    assert 3 <= deadlocks < 12


@cocotb.test(timeout_time=100, timeout_unit="us")
async def a_job_without_commands_is_done_at_once(dut):
    bench = await Bench.open(dut)
    assert await bench.read("STATUS") == State.IDLE
    assert await bench.run({}) is State.DONE
    assert await bench.read("CYCLES") == await bench.read("IDLE") <= 3
    assert not bench.memory.segments


@cocotb.test(timeout_time=500, timeout_unit="us")
async def semaphores_start_every_job_at_zero(dut):
    bench = await Bench.open(dut)
    assert await bench.run({LOAD: [{"post": 0xFFFF}] * 3}) is State.DONE
    assert await bench.run({TENSOR: [{"wait": 1, "layer": 5}]}) is State.ERROR
    assert await bench.error() == (ErrorCode.DEADLOCK, TENSOR, 0, 5, 1)


def check_counters(counters: dict[str, int], window: Sequence[Counted]) -> None:
    """The counters of a job during which the clock edges saw this."""
    def cycles(activity: Activity) -> int:
        return sum(cycle.activity is activity for cycle in window)

    assert counters["CYCLES"] == len(window) == sum(counters[name] for name in CAUSES)
    assert counters["COMPUTE"] == cycles(Activity.COMPUTE)
    assert counters["WAIT_SYNC"] == cycles(Activity.SYNC)
    assert counters["WAIT_WEIGHTS"] >= cycles(Activity.WEIGHTS)  # and waits for semaphores of weights
    assert counters["READ_BEATS"] == sum(cycle.reads for cycle in window)
    assert counters["WRITE_BEATS"] == sum(cycle.writes for cycle in window)


@cocotb.test(timeout_time=500, timeout_unit="us")
async def counters_add_up_and_say_when_it_ended(dut):
    bench = await Bench.open(dut)
    await bench.run({})
    begun = bench.now
    activity = ActivityDriver(dut)
    for _ in range(3):
        assert await bench.run(random_streams((20, 20, 20, 20))) is State.DONE
        counters = await bench.counters()
        # `driven[i]` was seen by the edge that ended cycle `begun` + i + 1.
        window = activity.driven[bench.resets[0] - begun - 1:bench.ended - begun - 1]
        check_counters(counters, window)
        assert await bench.counters() == counters, "counters run on after the job"
        for name in ("CYCLES", "COMPUTE", "WAIT_SYNC", "READ_BEATS", "WRITE_BEATS"):
            with pytest.raises(AssertionError):  # a planted error
                check_counters(counters | {name: counters[name] + 1}, window)


@cocotb.test(timeout_time=500, timeout_unit="us")
@cocotb.parametrize(semaphore=[0, 5, 6, 9, 10, 15])
async def a_wait_is_counted_by_the_class_of_its_semaphore(dut, semaphore):
    bench = await Bench.open(dut, duration=range(150, 151))
    expected = "WAIT_READ" if semaphore < 6 else "WAIT_WEIGHTS" if semaphore < 10 else "WAIT_WRITE"
    bit = 1 << semaphore
    # A wait for a higher semaphore as well does not change the class.
    await bench.run({LOAD: [{"post": bit | 1 << 15}], TENSOR: [{"wait": bit | 1 << 15}]})
    counters = await bench.counters()
    fetch = 192 // parameters()["bus_bytes"] + 10  # TENSOR's command comes that much after LOAD's
    assert 150 - fetch <= counters[expected] <= 151
    assert counters[expected] + counters["IDLE"] == counters["CYCLES"]


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def snapshots_hold_one_instant_each(dut):
    """A command without a snapshot leaves that of its layer as it is, before and after the one that takes it."""
    bench = await Bench.open(dut, duration=range(1, 4))

    ActivityDriver(dut)
    slots = parameters()["layer_slots"]
    layers = random.sample(range(slots), slots - 1)
    stream: list[Fields] = []
    for layer in layers:
        others = [{"layer": layer}]
        stream += [*others * random.randrange(3), {"layer": layer, "snapshot": 1}, *others * random.randrange(3)]
    assert await bench.run({TENSOR: stream}) is State.DONE
    taken = [time for time, command in zip(bench.dones, stream, strict=True) if command.get("snapshot")]
    previous = dict.fromkeys((name for name, _ in SNAPSHOT_COUNTERS), 0)
    for layer, time in zip(layers, taken, strict=True):
        values = {}
        for name in previous:
            values[name], response = await bench.host.read(snapshot_offset(layer, name))
            assert response == AxiResp.OKAY and values[name] >= previous[name]
        assert values["CYCLES"] == time - bench.resets[0] == sum(values[name] for name in CAUSES)
        previous = values
    counters = await bench.counters()
    assert all(previous[name] <= counters[name] for name in previous) and previous["READ_BEATS"] > 0


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def snapshots_of_rows_wait_for_those_of_tensor(dut):
    """That of a ROWS command comes in the first cycle in which TENSOR takes none; a command without one takes none."""
    bench = await Bench.open(dut, duration=range(1, 3))
    bench.engines[ROWS].duration = range(20, 40)
    ActivityDriver(dut)
    slots = parameters()["layer_slots"]
    waited = 0
    for _ in range(30):
        *layers, of_tensor = random.sample(range(slots), slots)
        rows = [{"layer": layer, "snapshot": number == 0} for layer in layers
                for number in range(random.randrange(1, 3))]
        tensor = [{"layer": of_tensor, "snapshot": random.random() < 0.9} for _ in range(20)]
        assert await bench.run({TENSOR: tensor, ROWS: rows}) is State.DONE
        taken = {time for time, command in zip(bench.dones, tensor, strict=True) if command["snapshot"]}
        for command, time in zip(rows, bench.row_dones, strict=True):
            if command["snapshot"]:
                first = next(cycle for cycle in itertools.count(time) if cycle not in taken)
                waited += first != time
                value, response = await bench.host.read(snapshot_offset(command["layer"], "CYCLES"))
                assert response == AxiResp.OKAY and value == first - bench.resets[0]
    assert waited


@cocotb.test(timeout_time=500, timeout_unit="us")
async def a_running_job_refuses_another_doorbell(dut):
    bench = await Bench.open(dut, duration=range(200, 201))
    await bench.ring({LOAD: [{}]})
    for name in ("DOORBELL", "TIMEOUT", "LOAD_COUNT", "PROGRAM_BASE", "STORE_PROGRAM"):
        assert await bench.host.write(REGISTERS[name].offset, 5) == AxiResp.SLVERR, name
    assert await bench.read("STATUS") == State.RUNNING
    assert await bench.finish() is State.DONE
    assert len(bench.engines[LOAD].finished) == 1 and len(bench.resets) == 1


@cocotb.test(timeout_time=500, timeout_unit="us")
async def the_interrupt_line_follows_its_enable(dut):
    bench = await Bench.open(dut)
    await bench.write("IRQ_ENABLE", Interrupt.ERROR)
    await bench.ring({LOAD: [{}]})
    while await bench.read("STATUS") == State.RUNNING:
        pass
    assert await bench.read("IRQ_STATUS") == Interrupt.DONE and not dut.irq.value
    await bench.write("IRQ_STATUS", Interrupt.ERROR)  # clears nothing that is set
    await bench.write("IRQ_ENABLE", Interrupt.DONE)
    await RisingEdge(dut.clk)
    assert dut.irq.value
    assert await bench.finish() is State.DONE


@cocotb.test(timeout_time=100, timeout_unit="us")
async def regions_and_timeout_reach_their_outputs(dut):
    bench = await Bench.open(dut)
    table = []
    for name in ("PROGRAM", "INPUT", "OUTPUT", "SCRATCH"):
        base = random.getrandbits(64)
        size = random.getrandbits(32)
        await bench.write(f"{name}_BASE", base & 0xFFFF_FFFF)
        await bench.write(f"{name}_BASE_HI", base >> 32)
        await bench.write(f"{name}_SIZE", size)
        table.append({"base": base, "size": size})
    await bench.write("TIMEOUT", 12345)
    assert int(dut.regions.value) == REGION_TABLE.const(table).as_value().value
    assert int(dut.timeout.value) == 12345


@pytest.mark.parametrize("bus_bytes", [8, 16])
def test_control(bus_bytes):
    config = PRESETS["tiny"].with_(bus_bytes=bus_bytes, layer_slots=8)
    run_cocotb(Exposed(ControlBlock(config)), "control", __name__,
               parameters={"bus_bytes": bus_bytes, "layer_slots": 8})
