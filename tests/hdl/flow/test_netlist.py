"""What synthesis makes of the chip computes what the chip does: `make netlist`, five minutes of a processor."""

import os

import pytest
from lepton_hdl.flow.memories import COLLISIONS
from lepton_hdl.flow.netlist import netlist
from lepton_sim.plain import Initial, build_plain, opened

from tests.hdl.flow.chips import CONFIG, mnist


@pytest.mark.skipif(not os.environ.get("LEPTON_NETLIST"), reason="takes five minutes of a processor: make netlist")
def test_mnist_is_exact_on_gates():
    """A whole network on the netlist of `tiny`, with random bits in all registers and memories at first, and with words
    inverted that are read in the cycle in which they are written.
    """
    library = build_plain(f"`define {COLLISIONS}\n{netlist(CONFIG)}")
    with opened(library, CONFIG, Initial.RANDOM) as device:
        assert mnist(device, 1)
