"""The library of the firmware's C units, built once a session, and the scheduler in it."""

import ctypes
import shutil

import pytest

from tests.host.firmware import units
from tests.host.firmware.unit_controller import Controller


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    if shutil.which("gcc") is None:
        pytest.skip("the host build of the firmware needs gcc")
    return units.build(tmp_path_factory.mktemp("units"))


@pytest.fixture
def chip(library: ctypes.CDLL) -> Controller:
    """The scheduler with registers, rings and memory of its own."""
    return Controller(library)
