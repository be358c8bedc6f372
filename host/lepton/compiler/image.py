"""`Image`: an activation in memory, or a part of one, as layers and transfers address it."""

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Steps:
    """`count` positions along an axis, `step` apart, from `first` on."""

    first: int
    step: int
    count: int


@dataclass(frozen=True)
class Image:
    """An activation in memory: `[blocks][height][width]` pixels.

    `row_bytes` is the distance between rows, `pixel_bytes` that between pixels; blocked activations have K-byte
    pixels without gaps, folded ones (`layouts.Rows`) have a single block.
    """

    name: str  # that of the buffer which it is in
    blocks: int
    height: int
    width: int
    pixel_bytes: int
    row_bytes: int
    folded: bool = False
    first_block: int = 0  # where it begins in its buffer
    of_blocks: int = 0  # blocks of the buffer, if it is not all of it
    inset: int = 0  # bytes from there to the first pixel, where it has only some pixels of the rows of the buffer
    channels: int = 0  # packed: in memory, never on the chip, a pixel has as many bytes; 0: pixels are blocked
    start: int = 0  # bytes of the rows before its first, where it has only some rows of the buffer (`every`, `run`)
    block_step: int = 0  # bytes between blocks there; 0: rows follow one another from block to block

    @property
    def block_bytes(self) -> int:
        return self.block_step or self.height * self.row_bytes

    @property
    def size(self) -> int:
        return self.blocks * self.block_bytes

    @property
    def offset(self) -> int:
        """Bytes from the start of the buffer to the first pixel."""
        return self.first_block * self.block_bytes + self.start + self.inset

    @property
    def buffer_bytes(self) -> int:
        """Size of the buffer that it is a part of."""
        if self.channels:
            return self.height * self.width * self.channels
        return (self.of_blocks or self.blocks) * self.block_bytes

    def every(self, rows: Steps, columns: Steps) -> "Image":
        """The pixels in some rows and columns."""
        whole, part = divmod(rows.first, rows.step)
        return replace(self, height=rows.count, width=columns.count, row_bytes=self.row_bytes * rows.step,
                       pixel_bytes=self.pixel_bytes * columns.step, block_step=self.block_bytes,
                       start=self.start + whole * rows.step * self.row_bytes,
                       inset=self.inset + part * self.row_bytes + columns.first * self.pixel_bytes)

    def pixels(self, first: int, count: int) -> "Image":
        """`count` pixels from `first` on, counted through the rows, as one row."""
        return replace(self, height=1, width=count, row_bytes=self.block_bytes,
                       inset=self.inset + first * self.pixel_bytes)

    def run(self, first: int, shape: tuple[int, int]) -> "Image":
        """Pixels from `first` on, counted through the rows, as an image of `shape` (height, width)."""
        return replace(self.seen_as(shape), start=self.start + first * self.pixel_bytes, block_step=self.block_bytes)

    def seen_as(self, shape: tuple[int, int]) -> "Image":
        """The same pixels in other rows, (height, width)."""
        return replace(self, height=shape[0], width=shape[1], row_bytes=shape[1] * self.pixel_bytes)

    def part(self, first_block: int, blocks: int) -> "Image":
        """`blocks` blocks from its block `first_block` on."""
        return replace(self, first_block=self.first_block + first_block, blocks=blocks,
                       of_blocks=self.of_blocks or self.blocks)

    @property
    def lane_count(self) -> int:
        """Channels in a pixel of a block."""
        return self.pixel_bytes
