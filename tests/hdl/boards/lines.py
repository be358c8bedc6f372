"""Bytes on a serial line: frames that are whole, damaged or too long."""

import random

from lepton.arch.serial import ESCAPE, FLAG, MAX_FRAME
from lepton.serial.frames import encode


def payload() -> bytes:
    """Bytes of which many need an escape; sometimes of the longest length, or too long."""
    size = random.choice([1, 2, 5, 9, 40, MAX_FRAME - 4, MAX_FRAME - 3] if random.random() < 0.1 else [1, 2, 5, 9, 40])
    return bytes(random.choice([FLAG, ESCAPE, FLAG ^ 0x20, random.randrange(256)]) for _ in range(size))


def line() -> bytes:
    """A frame, whole, empty or damaged, or garbage."""
    frame = bytearray(encode(payload()))
    at = random.randrange(len(frame))
    match random.randrange(8):
        case 0:
            frame[at] ^= 1 << random.randrange(8)
        case 1:
            del frame[at]
        case 2:
            frame.insert(at, frame[at])
        case 3:
            frame[at:at] = bytes([ESCAPE, FLAG])  # abort
        case 4:
            frame = bytearray(random.randbytes(random.randrange(30)))
        case 5:
            frame[-1:] = b""  # the flag of the next frame ends it
        case 6:
            frame = bytearray(encode(b""))  # its CRC is right, and there is nothing in it
    return bytes(frame)
