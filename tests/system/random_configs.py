"""Chip configurations for random graphs."""

from lepton.arch import PRESETS, ChipConfig

CONFIGS = {name: PRESETS[name] for name in ("tiny", "small", "base")} | {
    # A bus narrower than it is used to, few banks, memories that force tiling.
    "narrow": ChipConfig("narrow", lanes=8, columns=8, scratchpad_kib=8, weight_kib=8, accumulator_rows=64, bus_bytes=8,
                         scratchpad_banks=2, outstanding=2, layer_slots=64),
    # Beats of eight words, and hardly any memory.
    "wide": ChipConfig("wide", lanes=4, columns=4, scratchpad_kib=4, weight_kib=4, accumulator_rows=32, bus_bytes=32,
                       scratchpad_banks=8, outstanding=4),
}

MEMORIES = ("default", "ideal", "random")
