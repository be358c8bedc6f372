"""The random block tests once more, with the seed of this commit: models that are there already, other values.

Repeat a failure with `LEPTON_SEED` and the name of the failing file (it is in the message).
"""

from collections.abc import Callable

import pytest
from amaranth.lib import wiring
from lepton.arch import PRESETS
from lepton_hdl.control import ControlBlock
from lepton_hdl.control.fetch import ProgramFetcher
from lepton_hdl.datapath import Datapath
from lepton_hdl.dma import ReadPort, WritePort
from lepton_hdl.memory.bist import March
from lepton_hdl.memory.scratchpad import Scratchpad
from lepton_hdl.memory.weights import WeightMemory
from lepton_hdl.tensor.feeder import Feeder
from lepton_hdl.tensor.issue import Issue
from lepton_hdl.tensor.residual import ResidualReader

from tests.cocotb_harness import run_cocotb
from tests.hdl.control.expose import Exposed
from tests.hdl.dma.bench import CONFIGS, READ_CLIENTS, LoadBench, StoreBench
from tests.hdl.memory import march_bench
from tests.hdl.memory.configs import WEIGHTS, banked
from tests.hdl.tensor.commands import SMALL
from tests.seeds import new_seed

TINY = CONFIGS["tiny"]
CONTROL = dict(bus_bytes=16, layer_slots=8)
# test module: (model's name, block, parameters), each exactly as the module's own pytest function builds it
BLOCKS: dict[str, tuple[str, Callable[[], wiring.Component], dict]] = {
    "control.test_control": ("control", lambda: Exposed(ControlBlock(PRESETS["tiny"].with_(**CONTROL))), CONTROL),
    "control.test_fetch": ("fetch", lambda: Exposed(ProgramFetcher(PRESETS["tiny"].with_(bus_bytes=16))),
                           {"bus_bytes": 16}),
    "dma.test_dma_load": ("load_tiny", lambda: LoadBench(TINY), {"config": "tiny"}),
    "dma.test_dma_store": ("store_tiny", lambda: StoreBench(TINY), {"config": "tiny"}),
    "dma.test_dma_read_port": ("read_port", lambda: ReadPort(PRESETS["base"].with_(bus_bytes=16), READ_CLIENTS),
                               {"bus_bytes": 16}),
    "dma.test_dma_write_port": ("write_port", lambda: WritePort(PRESETS["base"].with_(bus_bytes=16)),
                                {"bus_bytes": 16}),
    "memory.test_bist": ("march", lambda: March(march_bench.CONFIG, march_bench.DEPTH), {}),
    "memory.test_scratchpad": ("scratchpad4", lambda: Scratchpad(banked(4)), {"banks": 4}),
    "memory.test_weights": ("weights", lambda: WeightMemory(WEIGHTS), {}),
    "tensor.test_engine": ("datapath4", lambda: Datapath(SMALL[4]), {"lanes": 4}),
    "tensor.test_feeder": ("feeder4", lambda: Feeder(SMALL[4]), {"lanes": 4}),
    "tensor.test_issue": ("issue4", lambda: Issue(SMALL[4]), {"lanes": 4}),
    "tensor.test_issue_window": ("issue4", lambda: Issue(SMALL[4]), {"lanes": 4}),
    "tensor.test_residual_reader": ("residual_reader", lambda: ResidualReader(SMALL[4]), {}),
}


@pytest.mark.parametrize("module", BLOCKS)
def test_with_the_seed_of_this_commit(module):
    name, block, parameters = BLOCKS[module]
    run_cocotb(block(), name, f"tests.hdl.{module}", parameters=parameters, seed=new_seed())
