"""Which TENSOR commands are refused before they start."""

from amaranth.hdl import Cat, Signal
from lepton.arch import ChipConfig, ErrorCode, Rounding, Tensor, TensorOpcode

from .raster import window_checks

_COUNTS = ("kernel_x", "kernel_y", "blocks", "nx", "ny", "nz")  # at least 1
_SHIFTS = ("add_shift_a", "add_shift_b", "add_shift_o")  # at most 31, the shifters' range


def check(m, command, config: ChipConfig) -> tuple[Signal, Signal]:
    """(error code, offending value): checks that need no walk. The code is NONE where the command is legal.

    The first field that is wrong is reported, in the order of the record.
    """
    code = Signal(8)
    value = Signal(32)
    checks = _field_checks(command, config)
    illegal = Signal()
    m.d.comb += illegal.eq(Cat(wrong for wrong, _ in checks).any())
    for wrong, offending in reversed(checks):  # the last assignment wins
        with m.If(wrong):
            m.d.comb += value.eq(offending)
    with m.If((command.opcode == TensorOpcode.WINDOW) & (config.window_columns == 0)):
        m.d.comb += [code.eq(ErrorCode.ILLEGAL_OPCODE), value.eq(command.opcode)]
    with m.Elif(illegal):
        m.d.comb += code.eq(ErrorCode.ILLEGAL_FIELD)
    for name in ("out_addr", "out_x", "out_y", "out_z", "res_addr", "res_x", "res_y", "res_z"):
        used = command.last & command.add if name.startswith("res") else command.last
        with m.Elif(used & ((command[name].as_unsigned() % config.lanes) != 0)):
            m.d.comb += [code.eq(ErrorCode.LOCAL_ALIGNMENT), value.eq(command[name])]
    return code, value


def _field_checks(command, config: ChipConfig) -> list:
    """(condition, offending value) for each rule."""
    checks = []
    for field in Tensor.fields:
        value = command[field.name].as_unsigned() if field.signed else command[field.name]
        if field.name.startswith("reserved"):
            checks.append((value != 0, value))
        elif field.name in _COUNTS:
            checks.append((value == 0, 0))
    checks += [(command[name] > 31, command[name]) for name in _SHIFTS]
    checks.append((command.rounding > max(Rounding), command.rounding))
    checks.append((command.uniform & command.add, 1))
    checks.append((command.add & command.multiply & (command.add_shift_a != 0), command.add_shift_a))
    return checks + window_checks(command, config)
