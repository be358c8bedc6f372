"""The rows of `lepton bench`: networks and layers, goals in cycles, and published figures of others."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ..graph import Graph
from ..models import topologies

# Networks that are not part of the repository, for development: in the folder shared/ next to the checkout.
DATA = Path(__file__).resolve().parents[4] / "shared" / "data"


@dataclass(frozen=True)
class Entry:
    """One row. `goal_cycles` is for `base` with the default memory; `others` are figures of other accelerators."""

    name: str  # of `lepton.models.topologies.build`; any name for a file
    goal_cycles: int | None = None
    others: str = ""
    quick: bool = False
    file: str = ""  # in `DATA`: a network as its framework wrote it, with float inputs and operators on the host

    @property
    def missing(self) -> str | None:
        """The reason why the row cannot be measured on this machine; None if it can."""
        if not self.file or (DATA / self.file).is_file():
            return None
        return f"{self.file} is missing: there is no folder shared/data next to the repository"

    def graph(self) -> Graph:
        """The network. Raises the errors of the front end if it is a file."""
        if not self.file:
            return topologies.build(self.name)
        from ..frontends import load  # needs a framework's package, topologies do not
        return load(DATA / self.file)


def _layer(name: str, goal: int, gemmini: int, nvdla: int | None) -> Entry:
    """A single layer, with cycles of Gemmini and NVDLA.

    Gemmini 16x16 (16 bytes a cycle, 32 cycles of latency) and NVDLA nv_small_256 (8 bytes a cycle) have 256 int8 MACs
    as well. Both were built and measured under Verilator, with outputs checked; the layer goes from DRAM to DRAM.
    """
    figures = {"Gemmini": gemmini, "NVDLA": nvdla}
    others = [f"{who} {cycles:,}".replace(",", " ") for who, cycles in figures.items() if cycles is not None]
    return Entry(name, goal, ", ".join(others), quick=True)


# Batch 1, doorbell to completion. Goals and figures of others: design.md, "What the chip must reach".
ROWS: tuple[Entry, ...] = (
    _layer("gemm_64x64x64", 1_700, 2_087, 5_814),
    _layer("gemm_128x128x128", 9_300, 10_296, 22_742),
    _layer("gemm_256x256x256", 67_500, 68_919, 90_390),
    _layer("gemm_512x512x512", 530_000, 536_971, None),
    _layer("gemm_64x512x64", 10_500, 12_825, 16_678),
    _layer("gemm_1x256x256", 4_700, 8_363, 8_443),
    _layer("conv_3x3_16x16x32_32", 10_200, 12_794, 11_559),
    _layer("conv_3x3_16x16x64_64", 38_500, 41_721, 41_255),
    _layer("conv_3x3_32x32x64_64", 149_500, 157_534, 161_502),
    _layer("conv_3x3_14x14x128_128", 115_000, 121_014, 119_432),
    _layer("conv_1x1_14x14x128_128", 14_200, 16_064, 33_939),
    _layer("conv_1x1_28x28x64_64", 14_800, 25_702, 65_823),
    Entry("tiny_ic", 56_000, "GAP9 228 k", quick=True),
    Entry("tiny_kws", 18_000, "GAP9 176 k", quick=True),
    Entry("tiny_vww", 58_000, "closed FPGA 65 k, GAP9 416 k", quick=True),
    Entry("tiny_ad", 18_000, "GAP9 65 k", quick=True),
    Entry("mobilenet_v1", 2_780_000, "NE16 silicon 21 %"),
    Entry("mobilenet_v2", 1_810_000, "Gemmini about 5 %"),
    Entry("mobilenet_v3_large", 1_350_000),
    Entry("efficientnet_lite0", 2_000_000),
    Entry("resnet18", 7_540_000, "VTA 86 %, body only"),
    Entry("resnet50", 16_800_000, "Gemmini 54 %, batch 4"),
    Entry("tiny_ic_file", 56_000, file="ic/resnet8_int8.tflite"),
    Entry("tiny_kws_file", 18_000, file="kws/kws_ref_model.tflite"),
    Entry("mobilenet_v2_file", 1_810_000, file="imagenet/mobilenet_v2_1.0_224_ptq.tflite"),
)


def select(names: Iterable[str] = (), quick: bool = False) -> list[Entry]:
    """The named rows, or the quick ones, or all.

    A name that is not in the table is measured without a goal if it is a topology. Raises ValueError for other names.
    """
    known = {row.name: row for row in ROWS}
    unique = list(dict.fromkeys(names))
    for name in unique:
        if name not in known:
            topologies.check(name)
    if unique:
        return [known.get(name) or Entry(name) for name in unique]
    return [row for row in ROWS if row.quick or not quick]
