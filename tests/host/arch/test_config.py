"""Configurations: what is derived, and which combinations are refused with what reason."""

import pytest
from lepton.arch import PRESETS, ConfigError
from lepton.arch.config import ChipConfig


def test_derived_sizes_of_the_default():
    base = PRESETS["base"]
    assert base.macs_per_cycle == 256
    assert base.scratchpad_bytes == 256 * 1024 and base.scratchpad_words == 16384
    assert base.weight_bytes == 128 * 1024 and base.weight_words == 8192


@pytest.mark.parametrize(("change", "text"), [
    ({"lanes": 3}, "lanes must be a power of two in 4..64, not 3"),
    ({"lanes": 2}, "lanes must be a power of two in 4..64, not 2"),
    ({"lanes": 0}, "lanes must be a power of two in 4..64, not 0"),
    ({"bus_bytes": 128}, "bus_bytes must be a power of two in 4..64, not 128"),
    ({"scratchpad_banks": 1}, "scratchpad_banks must be a power of two in 2..16, not 1"),
    ({"accumulator_rows": 1000}, "accumulator_rows must be a power of two in 16..65536, not 1000"),
    ({"scratchpad_kib": 8192}, "scratchpad_kib must be a power of two in 1..4096, not 8192"),
    ({"weight_kib": -4}, "weight_kib must be a power of two in 1..4096, not -4"),
    ({"outstanding": 128}, "outstanding must be a power of two in 1..64, not 128"),
    ({"layer_slots": 512}, "layer_slots must be a power of two in 1..256, not 512"),
    ({"columns": 8}, "columns must equal lanes (16), not 8: a row of outputs is a word of the next input"),
    ({"semaphores": 8}, "semaphores must be 16, the width of the wait and post masks, not 8"),
    ({"weight_kib": 2048}, "weight_kib must be at most 1024 for 16 lanes, not 2048: "
                           "commands address weight words with 16 bits"),
])
def test_impossible_combinations_are_refused(change, text):
    with pytest.raises(ConfigError) as caught:
        PRESETS["base"].with_(**change)
    assert str(caught.value) == text


def test_the_hash_covers_what_a_program_depends_on():
    base = PRESETS["base"]
    assert base.with_(name="other", clock_mhz=50).hash == base.hash
    changes = {"lanes": 8, "columns": 8}, {"scratchpad_kib": 128}, {"weight_kib": 64}, {"accumulator_rows": 512}, \
        {"bus_bytes": 32}, {"scratchpad_banks": 8}, {"outstanding": 8}, {"layer_slots": 128}
    hashes = {base.with_(**change).hash for change in changes} | {base.hash}
    assert len(hashes) == len(changes) + 1


def test_a_clock_says_where_it_comes_from():
    base = PRESETS["base"]
    assert base.clock == "an assumed 100 MHz"
    placed = base.with_(clock_mhz=62, clock_origin="placed and routed on ULX3S")
    assert placed.clock == "62 MHz, placed and routed on ULX3S" and placed.hash == base.hash
    with pytest.raises(ConfigError, match=r"clock_origin must be one line of printable text, not 'a\\nb'"):
        base.with_(clock_origin="a\nb")


def test_presets_are_named_as_they_are_listed():
    assert all(name == config.name and isinstance(config, ChipConfig) for name, config in PRESETS.items())
    assert len({config.hash for config in PRESETS.values()}) == len(PRESETS)


def test_a_configuration_cannot_be_changed_in_place():
    with pytest.raises(AttributeError):
        PRESETS["base"].lanes = 8
