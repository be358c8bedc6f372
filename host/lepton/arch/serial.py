"""The protocol of a board's serial port, described once for the board and for the host.

A frame, as in RFC 1662 (HDLC-like framing), stands between two FLAG bytes. In it FLAG and ESCAPE are sent as ESCAPE and
the byte XOR FLIP. The last four bytes are the CRC-32 (ISO-HDLC, that of zlib) of those before, least significant first.

    request    sequence u8, operation u8, address u32, length u32, data
    response   sequence u8, status u8, data

All integers are little-endian. The board answers requests in order. It ignores frames with a wrong CRC: the host sends
them again. A register access may have an effect: the same request right behind it is answered as before, and is not
carried out again. Any other operation in between ends that. Accesses to memory may be repeated.
"""

from enum import IntEnum

FLAG = 0x7E
ESCAPE = 0x7D
FLIP = 0x20

VERSION = 1
MAGIC = b"LEPT"  # begins IDENTIFY's answer; then u32 each: VERSION, the clock in Hz, bytes of memory

HEADER_BYTES = 10  # of a request
CRC_BYTES = 4
MAX_DATA = 1024  # bytes of memory in a frame
MAX_FRAME = HEADER_BYTES + MAX_DATA + CRC_BYTES


class RequestKind(IntEnum):
    """What a request asks for. `length` counts the bytes of data that it carries or wants."""

    IDENTIFY = 0  # length 0
    READ_REGISTER = 1  # length 4
    WRITE_REGISTER = 2  # length 4
    READ_MEMORY = 3  # length 1 to MAX_DATA
    WRITE_MEMORY = 4  # length 1 to MAX_DATA
    WAIT = 5  # answered when the interrupt is high, or after `address` cycles: data u8, whether it is. length 0


class Status(IntEnum):
    """How a request ended. 2 and 3 are AXI's RESP."""

    OK = 0
    SLVERR = 2
    DECERR = 3
    NO_ANSWER = 4  # the chip did not answer on its register port in time
    BAD_REQUEST = 5  # an unknown operation, a wrong length, or an address beyond memory
