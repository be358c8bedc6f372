"""Boards with a small copy engine in place of the chip."""

import pytest
from lepton_sim.build import build_component
from lepton_sim.memory_profile import DEFAULT
from lepton_sim.rtl_device import RtlDevice

from tests.sim.copier import Copier
from tests.sim.copier_board import CONFIG, MEMORY


@pytest.fixture(scope="module")
def library():
    return build_component(Copier(16))


@pytest.fixture
def board(library):
    """Opens boards with a 16-byte copier; closes them all."""
    opened = []

    def open_(memory=DEFAULT, **options):
        opened.append(RtlDevice(library, CONFIG, memory, MEMORY, **options))
        return opened[-1]

    yield open_
    for device in opened:
        device.close()
