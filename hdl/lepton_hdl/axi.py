"""AXI4 and AXI4-Lite interfaces (Arm IHI 0022), as seen from the manager.

Only the signals that Lepton uses: one transaction ID per direction, INCR bursts
of full-width beats, no locks, caches, QoS or regions.
"""

from amaranth.lib import enum, wiring
from amaranth.lib.wiring import In, Out


class Burst(enum.Enum, shape=2):
    """ARBURST and AWBURST (IHI 0022, A3.4.1). The chip uses INCR."""

    FIXED = 0
    INCR = 1
    WRAP = 2


class Resp(enum.Enum, shape=2):
    """RRESP and BRESP (IHI 0022, A3.4.4)."""

    OKAY = 0
    EXOKAY = 1
    SLVERR = 2
    DECERR = 3


class Axi4Signature(wiring.Signature):
    """AXI4 manager: 64-bit addresses, `data_bytes` wide, ID width 1 (always 0)."""

    def __init__(self, data_bytes: int):
        self.data_bytes = data_bytes
        address = {"id": 1, "addr": 64, "len": 8, "size": 3, "burst": 2}
        members = {}
        for channel in ("aw", "ar"):
            members |= {f"{channel}{name}": Out(width) for name, width in address.items()}
            members |= {f"{channel}valid": Out(1), f"{channel}ready": In(1)}
        members |= {
            "wdata": Out(8 * data_bytes), "wstrb": Out(data_bytes), "wlast": Out(1),
            "wvalid": Out(1), "wready": In(1),
            "bid": In(1), "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "rid": In(1), "rdata": In(8 * data_bytes), "rresp": In(2), "rlast": In(1),
            "rvalid": In(1), "rready": Out(1),
        }
        super().__init__(members)


class Axi4LiteSignature(wiring.Signature):
    """AXI4-Lite manager with 32-bit data."""

    def __init__(self, address_bits: int):
        self.address_bits = address_bits
        members = {}
        for channel in ("aw", "ar"):
            members |= {f"{channel}addr": Out(address_bits), f"{channel}prot": Out(3),
                        f"{channel}valid": Out(1), f"{channel}ready": In(1)}
        members |= {
            "wdata": Out(32), "wstrb": Out(4), "wvalid": Out(1), "wready": In(1),
            "bresp": In(2), "bvalid": In(1), "bready": Out(1),
            "rdata": In(32), "rresp": In(2), "rvalid": In(1), "rready": Out(1),
        }
        super().__init__(members)
