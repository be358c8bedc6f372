"""Where a TENSOR command is in its walk: passes outside, output pixels inside.

Part of the issue stage (`issue.py`). Addresses are sums that advance by one
addition a pixel, so no multiplier is needed: each loop keeps the address at
which its current round began.
"""

from amaranth.hdl import Mux, Signal, signed

# Wide enough for any column or row that a command can name: ix0 (16 bits) + nx * stride_x (24) + kernel_x * dilation_x,
# and for its distance from the image's end (16).
COORDINATE = signed(26)


class _Loop:
    """A counter that runs down from a command's count to 1. `last`, a register, says that it is at 1."""

    def __init__(self, name, bits):
        self.left = Signal(bits, name=name)
        self.last = Signal(name=f"last_{name}")

    def restart(self, m, count, single=0) -> None:
        """The first of `count` rounds; of one round where `single`."""
        m.d.sync += [self.left.eq(count), self.last.eq((count == 1) | single)]

    def step(self, m) -> None:
        m.d.sync += [self.left.eq(self.left - 1), self.last.eq(self.left == 2)]


class Position:
    """The counters and addresses of the loops (block, ky, kx) over passes and (z, y, x) over pixels.

    Attributes (signals)
    --------------------
    ix, iy: image column and row of the current input pixel; of a WINDOW walk those in which the window ends.
    past_x, past_y: the same, counted from the image's end on: negative inside. They are sums of their own, since a
    comparison with the image's size in each cycle would be a long path.
    first_row: of a WINDOW walk, the row in which the input of this pass begins.
    address, out: byte addresses of the current input pixel and of the output pixel.
    row: the accumulator row.
    first_pass: the first pass. first_word, first_pixel: the next input word, and the next output pixel, is the first
    of its pass. last_pass, last_pixel: the last pass, and the last pixel of any pass.
    """

    def __init__(self, m, command, window):
        """`window`: the command is a WINDOW walk, which has the kernel's columns in one pass."""
        self._command = command
        self._window = window
        self._x = _Loop("x", 16)
        self._y = _Loop("y", 16)
        self._z = _Loop("z", 16)
        self._kx = _Loop("kx", 8)
        self._ky = _Loop("ky", 8)
        self._block = _Loop("block", 16)
        self.ix = Signal(COORDINATE, name="ix")
        self.iy = Signal(COORDINATE, name="iy")
        self.past_x = Signal(COORDINATE, name="past_x")
        self.past_y = Signal(COORDINATE, name="past_y")
        self.first_row = Signal(COORDINATE, name="first_row")
        # At the start of the current pass.
        self._ix_pass = Signal(COORDINATE, name="ix_pass")
        self._iy_pass = Signal(COORDINATE, name="iy_pass")
        self._past_x_pass = Signal(COORDINATE, name="past_x_pass")
        self._past_y_pass = Signal(COORDINATE, name="past_y_pass")
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

        self._next_row = Signal(32, name="next_row")
        self._next_plane = Signal(32, name="next_plane")
        self._next_pass = Signal(32, name="next_pass")
        self._next_out_row = Signal(32, name="next_out_row")
        self._next_out_plane = Signal(32, name="next_out_plane")
        m.d.comb += [
            self.last_pass.eq(self._kx.last & self._ky.last & self._block.last),
            self.last_pixel.eq(self._x.last & self._y.last & self._z.last),
            self._next_row.eq(self._row_address + command.in_y),
            self._next_plane.eq(self._plane_address + command.in_z),
            self._next_out_row.eq(self._row_out + command.out_y),
            self._next_out_plane.eq(self._plane_out + command.out_z),
        ]

    def begin(self, m, new, window) -> None:
        """The command `new` is accepted, a WINDOW walk where `window`: go to its first pixel."""
        inputs = (self.address, self._row_address, self._plane_address, self._pass_address,
                  self._kernel_row_address, self._block_address)
        outputs = (self.out, self._row_out, self._plane_out)
        for loop, count in ((self._x, new.nx), (self._y, new.ny), (self._z, new.nz), (self._ky, new.kernel_y),
                            (self._block, new.blocks)):
            loop.restart(m, count)
        self._kx.restart(m, new.kernel_x, window)
        m.d.sync += [address.eq(new.in_addr) for address in inputs]
        m.d.sync += [address.eq(new.out_addr) for address in outputs]
        ix = new.ix0 + Mux(window, new.kernel_x - 1, 0)
        iy = new.iy0 + Mux(window, new.tap_rows - 1, 0)
        m.d.sync += [column.eq(ix) for column in (self.ix, self._ix_pass)]
        m.d.sync += [row.eq(iy) for row in (self.iy, self._iy_pass)]
        m.d.sync += [past.eq(ix - new.in_w) for past in (self.past_x, self._past_x_pass)]
        m.d.sync += [past.eq(iy - new.in_h) for past in (self.past_y, self._past_y_pass)]
        m.d.sync += self.first_row.eq(new.iy0)
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
        with m.If(~self._x.last):
            self._x.step(m)
            m.d.sync += [
                self.ix.eq(self.ix + c.stride_x),
                self.past_x.eq(self.past_x + c.stride_x),
                self.out.eq(self.out + c.out_x),
            ]
            with m.If(~self._window):
                m.d.sync += self.address.eq(self.address + c.in_x)
        with m.Else():
            self._x.restart(m, c.nx)
            m.d.sync += [self.ix.eq(self._ix_pass), self.past_x.eq(self._past_x_pass)]
            with m.If(~self._y.last):
                self._y.step(m)
                m.d.sync += [
                    self.iy.eq(self.iy + c.stride_y),
                    self.past_y.eq(self.past_y + c.stride_y),
                    self.out.eq(self._next_out_row),
                    self._row_out.eq(self._next_out_row),
                ]
                with m.If(~self._window):
                    m.d.sync += [self.address.eq(self._next_row), self._row_address.eq(self._next_row)]
            with m.Else():
                self._y.restart(m, c.ny)
                m.d.sync += [self.iy.eq(self._iy_pass), self.past_y.eq(self._past_y_pass)]
                with m.If(~self._z.last):
                    self._next_z(m)
                with m.Else():
                    self._next_pass_begins(m, raster)

    def _next_z(self, m) -> None:
        self._z.step(m)
        m.d.sync += [
            self.address.eq(self._next_plane),
            self._row_address.eq(self._next_plane),
            self._plane_address.eq(self._next_plane),
            self.out.eq(self._next_out_plane),
            self._row_out.eq(self._next_out_plane),
            self._plane_out.eq(self._next_out_plane),
        ]

    def _next_pass_begins(self, m, raster) -> None:
        c = self._command
        self._z.restart(m, c.nz)
        m.d.sync += [
            self.first_pass.eq(0),
            self.first_word.eq(1),
            self.row.eq(c.acc),
        ]
        m.d.sync += [out.eq(c.out_addr) for out in (self.out, self._row_out, self._plane_out)]
        m.d.sync += [address.eq(self._next_pass) for address in (
            self.address, self._row_address, self._plane_address, self._pass_address)]
        with m.If(~self._kx.last):
            self._kx.step(m)
            m.d.comb += self._next_pass.eq(self._pass_address + c.in_kx)
            ix = self._ix_pass + c.dilation_x
            past = self._past_x_pass + c.dilation_x
            m.d.sync += [self.ix.eq(ix), self._ix_pass.eq(ix), self.past_x.eq(past), self._past_x_pass.eq(past)]
        with m.Else():
            with m.If(~self._window):  # a window's columns are the same in all passes
                past = c.ix0 - c.in_w
                m.d.sync += [self.ix.eq(c.ix0), self._ix_pass.eq(c.ix0), self.past_x.eq(past),
                             self._past_x_pass.eq(past)]
            self._kx.restart(m, c.kernel_x, self._window)
            with m.If(~self._ky.last):
                self._ky.step(m)
                m.d.comb += self._next_pass.eq(self._kernel_row_address + c.in_ky)
                iy = self._iy_pass + c.dilation_y
                past = self._past_y_pass + c.dilation_y
                first_row = self.first_row + c.dilation_y
                m.d.sync += [
                    self.iy.eq(iy), self._iy_pass.eq(iy),
                    self.past_y.eq(past), self._past_y_pass.eq(past),
                    self.first_row.eq(first_row),
                    self._kernel_row_address.eq(self._next_pass),
                ]
                raster.restart(m, first_row, c.in_h)
            with m.Else():  # a window has one block, so what follows is no window
                past = c.iy0 - c.in_h
                self._ky.restart(m, c.kernel_y)
                self._block.step(m)
                m.d.comb += self._next_pass.eq(self._block_address + c.in_block)
                m.d.sync += [
                    self.iy.eq(c.iy0), self._iy_pass.eq(c.iy0),
                    self.past_y.eq(past), self._past_y_pass.eq(past),
                    self._kernel_row_address.eq(self._next_pass),
                    self._block_address.eq(self._next_pass),
                ]
