"""A network that copies its input in two jobs, made without the compiler."""

import numpy as np
from lepton.arch import PRESETS, Dma, DmaOpcode, Engine, Region, Stream
from lepton.program import Binding, Blocked, ChipStep, CompiledModel, LayerInfo, TensorInfo

CONFIG = PRESETS["tiny"]
SHAPE = (1, 3, 5, 6)  # 6 channels: two blocks of 4 lanes, the second one ragged


def copy_step(name, source, target, *, size, scratch=0, bad=False):
    """INPUT -> scratchpad -> OUTPUT (and the first byte to SCRATCH)."""
    layout = Blocked(SHAPE, SHAPE[1], SHAPE[2], SHAPE[3], CONFIG.lanes)
    one = {"row_bytes": size, "count1": 1, "count2": 1, "count3": 1}
    load = Dma.pack(opcode=DmaOpcode.LOAD, region=Region.INPUT, post=1, **one)
    stores = [Dma.pack(opcode=0x7E if bad else DmaOpcode.STORE, region=Region.OUTPUT, wait=1, layer=1, **one)]
    if scratch:
        stores.append(Dma.pack(opcode=DmaOpcode.STORE, region=Region.SCRATCH, **{**one, "row_bytes": 1}))
    return ChipStep(name, load + b"".join(stores), {Engine.LOAD: Stream(0, 1), Engine.STORE: Stream(64, len(stores))},
                    (Binding(source, 0, layout),), (Binding(target, 0, layout),), size, size, scratch)


def copy_model(*, config=CONFIG, bad=False):
    layout = Blocked(SHAPE, SHAPE[1], SHAPE[2], SHAPE[3], CONFIG.lanes)
    info = {"shape": SHAPE, "dtype": "int8", "scale": 0.5, "zero_point": -3}
    steps = [copy_step("first", "x", "middle", size=layout.size, scratch=64, bad=bad),
             copy_step("second", "middle", "y", size=layout.size)]
    layers = [LayerInfo(i, f"copy {i}", "Copy", SHAPE, SHAPE, 100, 0, step=i) for i in range(2)]
    return CompiledModel("copies", config, "0" * 64, [TensorInfo("x", **info)], [TensorInfo("y", **info)],
                         steps, layers)


def image(seed=0):
    return np.random.default_rng(seed).integers(-128, 128, SHAPE, np.int8)
