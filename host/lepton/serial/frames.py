"""Frames on a byte stream (`lepton.arch.serial`)."""

import zlib

from ..arch.serial import CRC_BYTES, ESCAPE, FLAG, FLIP, MAX_FRAME

_FLAG = bytes([FLAG])
_ESCAPE = bytes([ESCAPE])


def encode(payload: bytes) -> bytes:
    """The bytes on the line of one frame."""
    frame = payload + zlib.crc32(payload).to_bytes(CRC_BYTES, "little")
    for special in (_ESCAPE, _FLAG):  # the escapes first, since escaping a flag makes one
        frame = frame.replace(special, bytes([ESCAPE, special[0] ^ FLIP]))
    return _FLAG + frame + _FLAG


class Decoder:
    """Finds frames in what the line brings, in pieces of any size. Damaged frames are left out and counted."""

    def __init__(self) -> None:
        self.damaged = 0
        self._rest = bytearray()

    def feed(self, received: bytes) -> list[bytes]:
        """The payloads of the frames that `received` completes."""
        *frames, rest = (bytes(self._rest) + received).split(_FLAG)
        self._rest = bytearray(rest[-2 * MAX_FRAME:])  # garbage without a flag does not pile up
        return [payload for frame in frames if (payload := self._decode(frame)) is not None]

    def _decode(self, frame: bytes) -> bytes | None:
        if not frame:  # between two flags
            return None
        first, *escaped = frame.split(_ESCAPE)
        if all(escaped):
            frame = first + b"".join(bytes([part[0] ^ FLIP]) + part[1:] for part in escaped)
            payload = frame[:-CRC_BYTES]
            if len(frame) > CRC_BYTES and zlib.crc32(payload).to_bytes(CRC_BYTES, "little") == frame[-CRC_BYTES:]:
                return payload
        self.damaged += 1
        return None
