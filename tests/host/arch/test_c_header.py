"""firmware/include/lepton_arch.h is what the description makes."""

from lepton.arch import c_header
from lepton.arch.controller import CONTROLLER_REGISTERS, STORED_BASE, STORED_WORDS


def test_the_header_is_up_to_date():
    assert c_header.path().read_text(encoding="utf-8") == c_header.text(), (
        f"{c_header.path().name} differs from host/lepton/arch; run: {c_header.COMMAND}")


def test_registers_do_not_overlap_and_the_stored_ones_lie_in_their_memory():
    offsets = [register.offset for register in CONTROLLER_REGISTERS.values()]
    assert len(set(offsets)) == len(offsets) and all(offset % 4 == 0 for offset in offsets)
    for register in CONTROLLER_REGISTERS.values():
        assert register.stored == (STORED_BASE <= register.offset < STORED_BASE + 4 * STORED_WORDS), register
