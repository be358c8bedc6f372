"""Where a TENSOR command is in its walk: passes outside, output pixels inside.

Part of the issue stage (`issue.py`). Addresses are sums that advance by one
addition a pixel, so no multiplier is needed: each loop keeps the address at
which its current round began.
"""

from amaranth.hdl import Signal, signed

# Wide enough for any column or row that a command can name: ix0 (16 bits) + nx * stride_x (24) + kernel_x * dilation_x.
COORDINATE = signed(26)


class Position:
    """The counters and addresses of the loops (block, ky, kx) over passes and (z, y, x) over pixels.

    Attributes (signals)
    --------------------
    ix, iy: image column and row of the current input pixel.
    address, out: byte addresses of the current input pixel and of the output pixel.
    row: the accumulator row.
    first_pass: the first pass. first_word, first_pixel: the next input word, and the next output pixel, is the first
    of its pass. last_pass, last_pixel: the last pass, and the last pixel of any pass.
    """

    def __init__(self, m, command, window):
        """`window`: the command is a WINDOW walk, which has the kernel's columns in one pass."""
        self._command = command
        self._window = window
        self._x = Signal(16, name="x")
        self._y = Signal(16, name="y")
        self._z = Signal(16, name="z")
        self._kx = Signal(8, name="kx")
        self._ky = Signal(8, name="ky")
        self._block = Signal(16, name="block")
        self.ix = Signal(COORDINATE, name="ix")
        self.iy = Signal(COORDINATE, name="iy")
        self._ix_pass = Signal(COORDINATE, name="ix_pass")  # at the start of the current pass
        self._iy_pass = Signal(COORDINATE, name="iy_pass")
        # Input addresses: of the current pixel, and where the current row, z, pass, kernel row and block began.
        self.address = Signal(32, name="address")
        self._row_address = Signal(32, name="row_address")
        self._plane_address = Signal(32, name="plane_address")
        self._pass_address = Signal(32, name="pass_address")
        self._kernel_row_address = Signal(32, name="kernel_row_address")
        self._block_address = Signal(32, name="block_address")
        # Output addresses: likewise.
        self.out = Signal(32, name="out")
        self._row_out = Signal(32, name="row_out")
        self._plane_out = Signal(32, name="plane_out")
        self.row = Signal(17, name="row")  # one bit more than any `acc`, to see an overrun
        self.first_pass = Signal(name="first_pass")
        self.first_word = Signal(name="first_word")
        self.first_pixel = Signal(name="first_pixel")
        self.last_pass = Signal(name="last_pass")
        self.last_pixel = Signal(name="last_pixel")

        self._last_x = self._x == command.nx - 1
        self._last_y = self._y == command.ny - 1
        self._last_z = self._z == command.nz - 1
        self._last_kx = (self._kx == command.kernel_x - 1) | window
        self._last_ky = self._ky == command.kernel_y - 1
        last_block = self._block == command.blocks - 1
        self._next_row = Signal(32, name="next_row")
        self._next_plane = Signal(32, name="next_plane")
        self._next_pass = Signal(32, name="next_pass")
        self._next_out_row = Signal(32, name="next_out_row")
        self._next_out_plane = Signal(32, name="next_out_plane")
        m.d.comb += [
            self.last_pass.eq(self._last_kx & self._last_ky & last_block),
            self.last_pixel.eq(self._last_x & self._last_y & self._last_z),
            self._next_row.eq(self._row_address + command.in_y),
            self._next_plane.eq(self._plane_address + command.in_z),
            self._next_out_row.eq(self._row_out + command.out_y),
            self._next_out_plane.eq(self._plane_out + command.out_z),
        ]

    def begin(self, m, new) -> None:
        """A command is accepted: go to its first pixel."""
        counters = (self._x, self._y, self._z, self._kx, self._ky, self._block)
        inputs = (self.address, self._row_address, self._plane_address, self._pass_address,
                  self._kernel_row_address, self._block_address)
        outputs = (self.out, self._row_out, self._plane_out)
        m.d.sync += [counter.eq(0) for counter in counters]
        m.d.sync += [address.eq(new.in_addr) for address in inputs]
        m.d.sync += [address.eq(new.out_addr) for address in outputs]
        m.d.sync += [column.eq(new.ix0) for column in (self.ix, self._ix_pass)]
        m.d.sync += [row.eq(new.iy0) for row in (self.iy, self._iy_pass)]
        m.d.sync += [
            self.row.eq(new.acc),
            self.first_pass.eq(1),
            self.first_word.eq(1),
            self.first_pixel.eq(1),
        ]

    def next_word(self, m, end_of_row) -> None:
        """The input of a WINDOW walk: to the next word of the image, or to the next row after `end_of_row`."""
        with m.If(end_of_row):
            m.d.sync += [self.address.eq(self._next_row), self._row_address.eq(self._next_row)]
        with m.Else():
            m.d.sync += self.address.eq(self.address + self._command.in_x)

    def next_pixel(self, m, raster) -> None:
        """To the next output pixel; after the last one, to the next pass. `raster` is told when a pass begins."""
        c = self._command
        m.d.sync += [self.row.eq(self.row + 1), self.first_pixel.eq(self.last_pixel)]
        with m.If(~self._last_x):
            m.d.sync += [
                self._x.eq(self._x + 1),
                self.ix.eq(self.ix + c.stride_x),
                self.out.eq(self.out + c.out_x),
            ]
            with m.If(~self._window):
                m.d.sync += self.address.eq(self.address + c.in_x)
        with m.Else():
            m.d.sync += [self._x.eq(0), self.ix.eq(self._ix_pass)]
            with m.If(~self._last_y):
                m.d.sync += [
                    self._y.eq(self._y + 1),
                    self.iy.eq(self.iy + c.stride_y),
                    self.out.eq(self._next_out_row),
                    self._row_out.eq(self._next_out_row),
                ]
                with m.If(~self._window):
                    m.d.sync += [self.address.eq(self._next_row), self._row_address.eq(self._next_row)]
            with m.Else():
                m.d.sync += [self._y.eq(0), self.iy.eq(self._iy_pass)]
                with m.If(~self._last_z):
                    self._next_z(m)
                with m.Else():
                    self._next_pass_begins(m, raster)

    def _next_z(self, m) -> None:
        m.d.sync += [
            self._z.eq(self._z + 1),
            self.address.eq(self._next_plane),
            self._row_address.eq(self._next_plane),
            self._plane_address.eq(self._next_plane),
            self.out.eq(self._next_out_plane),
            self._row_out.eq(self._next_out_plane),
            self._plane_out.eq(self._next_out_plane),
        ]

    def _next_pass_begins(self, m, raster) -> None:
        c = self._command
        m.d.sync += [
            self._z.eq(0),
            self.first_pass.eq(0),
            self.first_word.eq(1),
            self.row.eq(c.acc),
        ]
        m.d.sync += [out.eq(c.out_addr) for out in (self.out, self._row_out, self._plane_out)]
        m.d.sync += [address.eq(self._next_pass) for address in (
            self.address, self._row_address, self._plane_address, self._pass_address)]
        with m.If(~self._last_kx):
            ix = self._ix_pass + c.dilation_x
            m.d.comb += self._next_pass.eq(self._pass_address + c.in_kx)
            m.d.sync += [self._kx.eq(self._kx + 1), self.ix.eq(ix), self._ix_pass.eq(ix)]
        with m.Else():
            m.d.sync += [self._kx.eq(0), self.ix.eq(c.ix0), self._ix_pass.eq(c.ix0)]
            with m.If(~self._last_ky):
                iy = self._iy_pass + c.dilation_y
                m.d.comb += self._next_pass.eq(self._kernel_row_address + c.in_ky)
                m.d.sync += [
                    self._ky.eq(self._ky + 1),
                    self.iy.eq(iy),
                    self._iy_pass.eq(iy),
                    self._kernel_row_address.eq(self._next_pass),
                ]
                raster.restart(m, iy)
            with m.Else():
                m.d.comb += self._next_pass.eq(self._block_address + c.in_block)
                m.d.sync += [
                    self._ky.eq(0),
                    self._block.eq(self._block + 1),
                    self.iy.eq(c.iy0),
                    self._iy_pass.eq(c.iy0),
                    self._kernel_row_address.eq(self._next_pass),
                    self._block_address.eq(self._next_pass),
                ]
