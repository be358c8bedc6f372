"""Why a job must stop, on its way from the block that noticed to the job controller."""

from amaranth.lib import data, stream
from lepton.arch import Engine, ErrorCode

# The registers ERROR_CODE, ERROR_ENGINE, ERROR_COMMAND, ERROR_LAYER and ERROR_ADDRESS, in this order.
FAULT = data.StructLayout({"code": 8, "engine": 2, "index": 32, "layer": 16, "address": 64})
assert max(ErrorCode) < 256 and max(Engine) < 4


def fault_stream() -> stream.Signature:
    """One transfer per fault, in the cycle in which it is noticed; the job controller keeps the first."""
    return stream.Signature(FAULT, always_ready=True)
