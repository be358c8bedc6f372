"""One user of a device at a time: whoever else wants it is told, and never gets memory that is in use."""

import gc

import lepton.device
import numpy as np
import pytest
from lepton.driver import Driver, DriverError

from tests.host.driver.forks import in_fork


@pytest.fixture
def device():
    with lepton.device.open("golden", config="tiny", memory_bytes=1 << 16) as device:
        yield device


def test_a_second_driver_is_refused_until_the_first_is_closed(device):
    with Driver(device), pytest.raises(DriverError, match="the device is in use by another Driver; close it first, or "
                                                          r"share it: .* as in Session\(model, driver\)"):
        Driver(device)
    Driver(device).close()


def test_a_driver_that_was_dropped_holds_nothing(device):
    driver = Driver(device)
    driver.allocate(64)
    del driver
    gc.collect()  # buffers and driver refer to each other
    Driver(device).close()


def test_a_driver_that_could_not_be_made_holds_nothing(device):
    class Stranger:
        config = device.config
        memory_bytes = device.memory_bytes

        def read_register(self, offset):
            return 0

    stranger = Stranger()
    for _ in range(2):
        with pytest.raises(DriverError, match="register ID reads 0x0"):
            Driver(stranger)


def test_devices_do_not_hinder_each_other(device):
    with lepton.device.open("golden", config="tiny", memory_bytes=1 << 16) as other, Driver(device) as one, \
            Driver(other) as two:
        first = one.allocate(64)
        second = two.allocate(64)
        assert first.address == second.address
        first.fill(1)
        second.fill(2)
        assert first.read().tolist() == [1] * 64


def test_the_last_of_those_who_share_a_driver_closes_it(device):
    first = Driver.shared(device)
    second = Driver.shared(device)
    assert first is second
    with pytest.raises(DriverError, match="the device is in use by another Driver"):
        Driver(device)
    first.leave()
    assert not second.closed
    second.leave()
    assert second.closed
    with Driver(device), pytest.raises(DriverError, match="the device is in use by another Driver"):
        Driver.shared(device)


def test_a_fork_cannot_use_the_device(device):
    with Driver(device) as driver:
        buffer = driver.allocate(64)
        buffer.fill(7)
        for use in (lambda: driver.allocate(64), lambda: buffer.fill(8), buffer.read, buffer.free,
                    lambda: Driver(device), lambda: Driver.shared(device)):
            assert "and cannot be used in its fork" in in_fork(use)
        assert in_fork(driver.close) is None
        assert np.all(buffer.read() == 7)


def test_a_fork_opens_its_own_device(device):
    def work():
        with lepton.device.open("golden", config="tiny", memory_bytes=1 << 16) as own, Driver(own) as driver:
            return driver.allocate(64).address

    with Driver(device):
        assert in_fork(work) == 0
