"""Sessions on the golden device with a program written by hand: two chip steps that copy through the scratchpad."""

import dataclasses

import lepton.device
import numpy as np
import pytest
from lepton.arch import COUNTERS, PRESETS, ErrorCode, Region
from lepton.arch.registers import SNAPSHOT_COUNTERS
from lepton.driver import AllocationError, ChipError, Completion, Driver, DriverError
from lepton.runtime import CAUSES, FINISH, InputError, RuntimeModelError, Session, program_hash
from lepton.runtime.costs import LAYOUT, HostCost
from lepton.runtime.report import Report, job_rows
from lepton.runtime.session import UNWRITTEN

from tests.host.runtime.copies import CONFIG, SHAPE, copy_model, image


@pytest.fixture
def driver():
    device = lepton.device.open("golden", config="tiny", memory_bytes=1 << 16)
    with Driver(device) as driver:
        yield driver
    device.close()


def test_steps_hand_tensors_on(driver):
    with Session(copy_model(), driver) as session:
        for seed in range(3):
            result = session.run(image(seed))
            assert np.array_equal(result.outputs["y"], image(seed))
            assert result.outputs["y"].dtype == np.int8
        assert np.array_equal(session.run({"x": image(9)}).outputs["y"], image(9))


def test_results_memory_shows_what_was_written_and_what_was_not(driver):
    with Session(copy_model(), driver) as session:
        session.run(image())
        memory = session.results_memory()
        assert set(memory) == {(0, Region.OUTPUT), (0, Region.SCRATCH), (1, Region.OUTPUT)}
        assert memory[0, Region.SCRATCH][1:].tolist() == [UNWRITTEN] * 63
        assert np.array_equal(memory[0, Region.OUTPUT], memory[1, Region.OUTPUT])


def test_a_session_of_its_own_driver_frees_the_device():
    device = lepton.device.open("golden", config="tiny", memory_bytes=1 << 16)
    for _ in range(3):
        with Session(copy_model(), device) as session:
            session.run(image())
    with Driver(device) as driver:
        assert driver.free_bytes == device.memory_bytes


@pytest.mark.parametrize("limit", (0, -1, 1 << 32, 2.5, "many"))
def test_a_bad_limit_is_refused_before_the_chip_sees_the_job(driver, limit):
    with Session(copy_model(), driver) as session:
        with pytest.raises(DriverError, match=rf"cycle_limit must be in 1\.\.4294967295 cycles, not {limit!r}"):
            session.run(image(), cycle_limit=limit)
        assert np.array_equal(session.run(image(1), cycle_limit=np.int64(100_000)).outputs["y"], image(1))


def test_only_compiled_models_are_loaded(driver):
    for other in (None, image(), "net.lepton"):
        with pytest.raises(RuntimeModelError, match=r"needs a compiled model \(.*\), not \w+"):
            Session(other, driver)


@pytest.mark.parametrize(("inputs", "text"), [
    (np.zeros(SHAPE, np.float32), r"input 'x' must have type int8, not float32; quantize it: "
                                  r"round\(x / 0.5\) \+ -3, clamped to -128..127"),
    (np.zeros(SHAPE, np.uint8), "input 'x' must have type int8, not uint8"),
    (np.zeros(SHAPE[1:], np.int8), r"input 'x' must have shape \(1, 3, 5, 6\), not \(3, 5, 6\)"),
    ({"z": np.zeros(SHAPE, np.int8)}, "the inputs of model 'copies' must be x, not z"),
    ({}, "the inputs of model 'copies' must be x, not none"),
])
def test_bad_inputs_are_refused_before_the_chip_sees_them(driver, inputs, text):
    with Session(copy_model(), driver) as session:
        with pytest.raises(InputError, match=text):
            session.run(inputs)
        assert set(session.results_memory()[0, Region.OUTPUT]) == {UNWRITTEN}
        assert np.array_equal(session.run(image()).outputs["y"], image())


def test_another_configuration_is_refused(driver):
    free = driver.free_bytes
    with pytest.raises(RuntimeModelError, match=r"model 'copies' is compiled for configuration 'base' \([0-9a-f]{16}\)"
                                                r", but the device has 'tiny' .*; compile it with --config tiny or "
                                                r"open the device with config='base'"):
        Session(copy_model(config=PRESETS["base"]), driver)
    assert driver.free_bytes == free


def test_a_model_that_does_not_fit_leaves_nothing_behind(driver):
    keep = driver.allocate(driver.free_bytes - 512)
    with pytest.raises(AllocationError, match="cannot allocate"):
        Session(copy_model(), driver)
    assert driver.free_bytes == 512
    keep.free()
    with Session(copy_model(), driver) as session:
        session.run(image())


def test_a_chip_error_reaches_the_user_and_the_session_survives(driver):
    with Session(copy_model(), driver) as good, Session(copy_model(bad=True), driver) as bad:
        with pytest.raises(ChipError, match="the chip stopped job 'copies: first' with ILLEGAL_OPCODE") as caught:
            bad.run(image())
        assert (caught.value.code, caught.value.layer) == (ErrorCode.ILLEGAL_OPCODE, 1)
        assert np.array_equal(good.run(image()).outputs["y"], image())


def test_a_closed_session_says_so(driver):
    with Session(copy_model(), driver) as session:
        pass
    with pytest.raises(RuntimeModelError, match="the session of model 'copies' has been closed; make a new one"):
        session.run(image())


def test_the_program_hash_follows_the_program():
    assert program_hash(copy_model()) == program_hash(copy_model())
    assert program_hash(copy_model()) != program_hash(copy_model(bad=True))


def test_without_timing_there_are_rows_but_no_cycles(driver):
    with Session(copy_model(), driver) as session:
        report = session.run(image()).report
    assert [row.name for row in report.rows] == ["copy 0", FINISH, "copy 1", FINISH]
    assert not report.timed and report.utilization is None and report.images_per_second is None
    assert report.macs == 200 and report.seconds > 0 and report.latency_ms is None
    assert "copy 1  Copy      3x5x6    100" in str(report)
    assert "unknown: this device does not count cycles" in str(report)


def test_many_inputs_at_once(driver):
    images = np.concatenate([image(seed) for seed in range(5)])
    calls = []
    with Session(copy_model(), driver) as session:
        for given in (images, {"x": images}, list(images)):
            made = session.predict(given, progress=lambda done, total: calls.append((done, total)))
            assert np.array_equal(made, images)
        assert calls == 3 * [(i, 5) for i in range(1, 6)]
        assert np.array_equal(session.predict(image(7)), image(7))
        results = list(session.each(images))
        assert [np.array_equal(r.outputs["y"], images[i:i + 1]) for i, r in enumerate(results)] == [True] * 5
        with pytest.raises(InputError, match=r"input 'x' must have shape \(1, 3, 5, 6\), not \(5, 3, 5, 5\)"):
            session.predict(images[..., :5])
        with pytest.raises(InputError, match="must have type int8, not float64"):
            session.predict(images.astype(float))
        with pytest.raises(InputError, match=r"must have shape \(1, 3, 5, 6\), not \(0, 3, 5, 6\)"):
            session.predict(images[:0])


def test_a_model_is_printed_as_a_table():
    text = str(copy_model())
    assert "network  copies: 2 layers, 200 MACs" in text and "input    x 1x3x5x6 int8" in text
    assert "copy 1  Copy      3x5x6    100" in text


def test_rows_are_differences_and_their_causes_add_up():
    rng = np.random.default_rng(3)
    ends = np.cumsum(rng.integers(0, 1 << 31, (3, len(CAUSES) + 1)), axis=0)  # wraps around after two layers
    counters = [dict(zip((*CAUSES, "READ_BEATS"), map(int, row), strict=True)) for row in ends]
    for values in counters:
        values["CYCLES"] = sum(values[c] for c in CAUSES)
    wrapped = [{name: value % (1 << 32) for name, value in values.items()} for values in counters]
    layers = copy_model().layers
    final = {name: 0 for name, _ in COUNTERS} | wrapped[2]
    assert wrapped[0].keys() == {name for name, _ in SNAPSHOT_COUNTERS}
    completion = Completion("job", final["CYCLES"], final, {0: wrapped[0], 1: wrapped[1]})
    rows = job_rows(completion, layers, CONFIG)
    assert [row.name for row in rows] == ["copy 0", "copy 1", FINISH]
    for row in rows:
        assert sum(row.causes.values()) % (1 << 32) == row.cycles
    assert rows[1].causes["COMPUTE"] == counters[1]["COMPUTE"] - counters[0]["COMPUTE"]
    assert rows[0].utilization == 100 / (16 * rows[0].cycles)
    assert rows[2].utilization is None


def test_totals():
    counters = {name: 0 for name, _ in COUNTERS} | {"CYCLES": 50_000, "COMPUTE": 50_000}
    rows = job_rows(Completion("job", 50_000, counters, {0: counters}), copy_model().layers[:1], CONFIG)
    report = Report(CONFIG, tuple(rows), counters, 1.0)
    assert report.chip_ms == report.latency_ms == 0.5 and report.images_per_second == 2000
    both = dataclasses.replace(report, host=(HostCost(0, "jobs", LAYOUT, 0, 10, 0.5e-3),
                                             HostCost(1, "softmax", "Softmax", 0, 20, 1e-3)))
    assert both.chip_ms == 0.5 and both.latency_ms == 2.0 and both.images_per_second == 500
    assert both.facts() == [
        ("latency", "2.000 ms an image, 500 images a second, host included"),
        ("chip", "0.500 ms: 50 000 cycles at an assumed 100 MHz"),
        ("host", "1.5 ms on this machine's CPU, 1 operator and layout changes; 75 % of the latency")]
    assert both.facts(both.host[:1])[2] == ("host", "0.5 ms on this machine's CPU, layout changes; 50 % of the latency")
    assert "copy 0  Copy      3x5x6    100  50 000" in str(both) and str(both).endswith("75 % of the latency")
    assert report.utilization == 100 / (16 * 50_000)
    assert report.causes == {c: 50_000 if c == "COMPUTE" else 0 for c in CAUSES}
    assert [row.cycles for row in report.rows] == [50_000, 0]
