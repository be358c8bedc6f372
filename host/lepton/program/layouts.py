"""Layouts: how an NHWC tensor is stored in device memory, and the conversion both ways.

`Blocked` is what the chip computes on (design D5): `[ceil(C/K)][H][W][K]`, a scratchpad word
being K channels of one pixel. `Rows` is for the first convolution of a network with few
channels: pixels stay side by side as they come, so that a kernel row is one run of bytes.
"""

from dataclasses import dataclass

import numpy as np


class LayoutError(ValueError):
    """An array or a buffer does not have the shape, type or size that the layout expects."""


Data = bytes | bytearray | memoryview | np.ndarray  # of a device buffer


def _checked(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype != np.int8:
        raise LayoutError(f"the array must be int8, not {array.dtype}; quantize it first")
    if array.shape != shape:
        raise LayoutError(f"the array must have shape {shape}, not {array.shape}")
    return array


def _buffer(data: Data, size: int) -> np.ndarray:
    values = np.frombuffer(bytes(data), np.int8)
    if values.size != size:
        raise LayoutError(f"the device buffer must have {size} bytes, not {values.size}")
    return values


@dataclass(frozen=True)
class Blocked:
    """`[ceil(channels/lanes)][height][width][lanes]`; `shape` is that of the array on the host."""

    shape: tuple[int, ...]
    height: int
    width: int
    channels: int
    lanes: int
    fill: int = 0  # lanes beyond the last channel

    @property
    def blocks(self) -> int:
        return -(-self.channels // self.lanes)

    @property
    def size(self) -> int:
        """Bytes in device memory."""
        return self.blocks * self.height * self.width * self.lanes

    @property
    def _word(self) -> np.dtype:
        """A scratchpad word as one element: numpy moves it several times faster than its lanes."""
        return np.dtype((np.void, self.lanes))

    def to_device(self, array: np.ndarray) -> bytes:
        """Device bytes of an int8 array of `shape`. Raises `LayoutError`."""
        pixels = _checked(array, self.shape).reshape(self.height, self.width, self.channels)
        padded = np.full((self.height, self.width, self.blocks * self.lanes), self.fill, np.int8)
        padded[:, :, :self.channels] = pixels
        return padded.view(self._word).transpose(2, 0, 1).tobytes()

    def from_device(self, data: Data) -> np.ndarray:
        """The int8 array of `shape` that `size` device bytes hold. Raises `LayoutError`."""
        words = _buffer(data, self.size).view(self._word).reshape(self.blocks, self.height, self.width)
        padded = np.ascontiguousarray(words.transpose(1, 2, 0)).view(np.int8)
        return np.ascontiguousarray(padded[:, :, :self.channels]).reshape(self.shape)


@dataclass(frozen=True)
class Rows:
    """`[height][pitch]`: a row is `left` pixels of `fill`, `width` pixels of `channels` bytes, `fill` up to `pitch`."""

    shape: tuple[int, ...]
    height: int
    width: int
    channels: int
    left: int
    pitch: int  # bytes between rows
    fill: int

    @property
    def size(self) -> int:
        """Bytes in device memory."""
        return self.height * self.pitch

    def _inside(self) -> slice:
        return slice(self.left * self.channels, (self.left + self.width) * self.channels)

    def to_device(self, array: np.ndarray) -> bytes:
        """Device bytes of an int8 array of `shape`. Raises `LayoutError`."""
        rows = np.full((self.height, self.pitch), self.fill, np.int8)
        rows[:, self._inside()] = _checked(array, self.shape).reshape(self.height, self.width * self.channels)
        return rows.tobytes()

    def from_device(self, data: Data) -> np.ndarray:
        """The int8 array of `shape` that `size` device bytes hold. Raises `LayoutError`."""
        rows = _buffer(data, self.size).reshape(self.height, self.pitch)
        return np.ascontiguousarray(rows[:, self._inside()]).reshape(self.shape)


Layout = Blocked | Rows
