"""What sessions share - a device, threads, arrays - changes no result without an error."""

import gc
import itertools
import threading

import lepton.device
import lepton.models
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.driver import AllocationError, Driver, DriverError
from lepton.program import CompiledModel
from lepton.runtime import ComparingSession, RuntimeModelError, Session

from tests.host.driver.forks import in_fork
from tests.host.runtime.copies import CONFIG, copy_model, image

MEMORY = 1 << 16


@pytest.fixture
def device():
    with lepton.device.open("golden", config="tiny", memory_bytes=MEMORY) as device:
        yield device


def output(session, seed):
    return session.run(image(seed)).outputs["y"]


def test_sessions_on_one_device_share_its_memory(device):
    with Session(copy_model(), device) as first, Session(copy_model(), device) as second:
        places = [buffer for session in (first, second) for _, buffers in session.placed()
                  for buffer in buffers.values()]
        spans = sorted((b.address, b.address + b.size) for b in places)
        assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
        for seed in range(4):
            assert np.array_equal(output((first, second)[seed % 2], seed), image(seed))


def test_real_networks_on_one_device_keep_their_results():
    shipped = lepton.models.load("mnist")
    model = compile_graph(shipped.graph(), "tiny")
    name = model.outputs[0].name
    with lepton.device.open("golden", config="tiny") as device, Session(model, device) as first, \
            Session(model, device) as second, Session(copy_model(), device) as third:
        for i, session in enumerate((first, second, first)):
            result = session.run(shipped.inputs[i:i + 1]).outputs[name]
            assert np.array_equal(result, shipped.outputs[i:i + 1])
            assert np.array_equal(output(third, i), image(i))


def test_memory_is_free_when_the_last_session_is_closed_or_dropped(device):
    first = Session(copy_model(), device)
    second = Session(copy_model(), device)
    shared = first.driver
    used = MEMORY - shared.free_bytes
    first.close()
    assert MEMORY - shared.free_bytes == used // 2
    del second
    gc.collect()
    with Driver(device) as driver:
        assert driver.free_bytes == MEMORY
    for _ in range(100):  # as in a notebook, where a name is bound again and again
        session = Session(copy_model(), device)
    session.close()


def test_a_session_that_finds_no_room_leaves_the_others_alone(device):
    with Session(copy_model(), device) as first:
        others = []
        with pytest.raises(AllocationError):
            while True:
                others.append(Session(copy_model(), device))
        free = first.driver.free_bytes
        assert np.array_equal(output(first, 3), image(3)) and first.driver.free_bytes == free
        for session in others:
            assert np.array_equal(output(session, 4), image(4))
            session.close()


def test_a_device_with_a_driver_of_its_own_is_refused(device):
    with Driver(device), pytest.raises(DriverError, match=r"in use by another Driver; .*Session\(model, driver\)"):
        Session(copy_model(), device)
    with Session(copy_model(), device), pytest.raises(DriverError, match="in use by another Driver"):
        Driver(device)


def test_a_device_is_not_compared_with_itself(device):
    with pytest.raises(RuntimeModelError, match="a device cannot be compared with itself; open another"):
        ComparingSession(copy_model(), device, device)


def test_results_and_inputs_are_the_callers_own(device):
    with Session(copy_model(), device) as session:
        given = image(1)
        first = session.run(given).outputs["y"]
        assert np.array_equal(given, image(1))
        given[:] = 0
        assert np.array_equal(first, image(1))
        second = output(session, 2)
        assert np.array_equal(first, image(1)) and np.array_equal(second, image(2))
        first[:] = 99
        assert np.array_equal(output(session, 2), second)


def test_an_output_that_is_an_input_is_a_copy(device):
    model = copy_model()
    passing = CompiledModel("passing", CONFIG, "0" * 64, model.inputs, model.inputs, [])
    with Session(passing, device) as session:
        given = image(1)
        found = session.run(given).outputs["x"]
        given[:] = 0
        assert np.array_equal(found, image(1))


def test_threads_share_a_session_and_a_device(device):
    """Each thread gets the result of its own input."""
    wrong = []
    with Session(copy_model(), device) as shared, Session(copy_model(), device) as other:
        def work(seed):
            for i in range(10):
                for session in (shared, other):
                    if not np.array_equal(output(session, 100 * seed + i), image(100 * seed + i)):
                        wrong.append((seed, i))

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
    assert not wrong


def test_a_closed_session_or_driver_says_so(device):
    session = Session(copy_model(), device)
    session.close()
    session.close()
    with pytest.raises(RuntimeModelError, match="the session of model 'copies' has been closed; make a new one"):
        session.run(image())
    with Driver(device) as driver:
        session = Session(copy_model(), driver)
    with pytest.raises(RuntimeModelError, match="the driver of the session of model 'copies' has been closed"):
        session.run(image())
    session.close()


def test_a_fork_is_refused_and_leaves_the_session_alone(device):
    with Session(copy_model(), device) as session:
        assert "cannot be used in its fork" in in_fork(lambda: session.run(image()))
        assert "cannot be used in its fork" in in_fork(lambda: Session(copy_model(), device))
        assert in_fork(session.close) is None
        assert np.array_equal(output(session, 5), image(5))


def test_progress_cannot_use_its_own_session():
    shipped = lepton.models.load("mnist")
    model = compile_graph(shipped.graph(), "tiny")
    said = []
    with lepton.device.open("rtl", config="tiny") as device, Session(model, device) as session:
        def progress(step, cycles):
            for use in (session.close, lambda: session.run(shipped.inputs[:1]), session.states.reset):
                with pytest.raises(RuntimeModelError) as caught:
                    use()
                said.append(str(caught.value))

        result = session.run(shipped.inputs[:1], progress=progress)
    assert np.array_equal(result.outputs[model.outputs[0].name], shipped.outputs[:1])
    assert "cannot be closed from the progress of its own run; do so when the run has returned" in said[0]
    assert "cannot be run from the progress of its own run" in said[1]
    assert "cannot be changed from the progress of its own run" in said[2]
