"""Layouts: how an NHWC tensor is stored in device memory, and the conversion both ways.

`Blocked` is what the chip computes on (design D5): `[ceil(C/K)][H][W][K]`, a scratchpad word
being K channels of one pixel. `Rows` is for the first convolution of a network with few
channels: pixels stay side by side as they come, so that a kernel row is one run of bytes.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np

# Bytes up to which the array is moved by the positions of its elements: below, the calls of a move by whole words take
# longer than the bytes (8 us instead of 2 us for 64 bytes).
_SMALL = 1 << 12
_INT8 = np.dtype(np.int8)


class LayoutError(ValueError):
    """An array or a buffer does not have the shape, type or size that the layout expects."""


Data = bytes | bytearray | memoryview | np.ndarray  # of a device buffer


def _checked(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype != _INT8:
        raise LayoutError(f"the array must be int8, not {array.dtype}; quantize it first")
    if array.shape != shape:
        raise LayoutError(f"the array must have shape {shape}, not {array.shape}")
    return array


def _buffer(data: Data, size: int) -> np.ndarray:
    values = np.frombuffer(data, _INT8)
    if values.size != size:
        raise LayoutError(f"the device buffer must have {size} bytes, not {values.size}")
    return values


class _PlacedLayout(ABC):
    """What both layouts do with the positions of their bytes."""

    shape: tuple[int, ...]
    fill: int

    @property
    @abstractmethod
    def size(self) -> int:
        """Bytes in device memory."""

    @abstractmethod
    def _placed(self, values: np.ndarray, fill: int) -> np.ndarray:
        """Values of `shape` and any type in the order of device memory, with `fill` between them."""

    @cached_property
    def _positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Of each byte of the device the element of the array, one behind the last for the fill; of each element its
        byte."""
        count = int(np.prod(self.shape, dtype=np.int64))
        elements = np.frombuffer(self._placed(np.arange(count, dtype=np.intp), count).tobytes(), np.intp)
        places = np.empty(count, np.intp)
        filled = np.flatnonzero(elements < count)
        places[elements[filled]] = filled
        return elements, places

    def to_device(self, array: np.ndarray) -> np.ndarray:
        """Device bytes of an int8 array of `shape`: int8 (size,). Raises `LayoutError`."""
        values = _checked(array, self.shape)
        if self.size > _SMALL:
            return np.frombuffer(self._placed(values, self.fill).tobytes(), _INT8)
        elements, places = self._positions
        if elements.size == places.size:
            return values.reshape(-1).take(elements)
        filled = np.empty(places.size + 1, _INT8)
        filled[:-1] = values.reshape(-1)
        filled[-1] = self.fill
        return filled.take(elements)

    def from_device(self, data: Data) -> np.ndarray:
        """The int8 array of `shape` that `size` device bytes hold. Raises `LayoutError`."""
        values = _buffer(data, self.size)
        if self.size > _SMALL:
            return self._taken(values)
        return values.take(self._positions[1]).reshape(self.shape)

    @abstractmethod
    def _taken(self, values: np.ndarray) -> np.ndarray:
        """The array of `shape` in the bytes of the device."""


@dataclass(frozen=True)
class Blocked(_PlacedLayout):
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

    def _placed(self, values: np.ndarray, fill: int) -> np.ndarray:
        padded = np.full((self.height, self.width, self.blocks * self.lanes), fill, values.dtype)
        padded[:, :, :self.channels] = values.reshape(self.height, self.width, self.channels)
        return padded.view(self._word(values.dtype)).transpose(2, 0, 1)

    def _taken(self, values: np.ndarray) -> np.ndarray:
        words = values.view(self._word(values.dtype)).reshape(self.blocks, self.height, self.width)
        padded = np.ascontiguousarray(words.transpose(1, 2, 0)).view(np.int8)
        return np.ascontiguousarray(padded[:, :, :self.channels]).reshape(self.shape)

    def _word(self, dtype: np.dtype) -> np.dtype:
        """A scratchpad word as one element: numpy moves it several times faster than its lanes."""
        return np.dtype((np.void, self.lanes * dtype.itemsize))


@dataclass(frozen=True)
class Rows(_PlacedLayout):
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

    def _placed(self, values: np.ndarray, fill: int) -> np.ndarray:
        rows = np.full((self.height, self.pitch), fill, values.dtype)
        rows[:, self._inside()] = values.reshape(self.height, self.width * self.channels)
        return rows

    def _taken(self, values: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(values.reshape(self.height, self.pitch)[:, self._inside()]).reshape(self.shape)


Layout = Blocked | Rows
