"""The issue stage: walks a TENSOR command and starts one input word a cycle.

Passes outside (input-channel block, kernel row, kernel column), output pixels
inside (z, y, x): the weights of a pass stay in the array while all pixels go by.
Whatever a pixel will need later is secured here, because nothing behind this
stage can wait: the weight tile, the parameters, the residual.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2
from lepton.arch import ChipConfig, ErrorCode, Rounding, Tensor, TensorOpcode
from lepton.arch.commands import WINDOW_COLUMNS, WINDOW_ROWS

from ..control.counters import Activity
from ..interfaces import command_layout
from ..layouts import layout
from .raster import Raster, window_checks
from .residual import WALK


def pixel_layout(config: ChipConfig) -> data.StructLayout:
    """An input word on its way to the array, and what becomes of its dot products."""
    return data.StructLayout({
        "address": ceil_log2(config.scratchpad_bytes),
        "padding": 1,  # outside the image: every lane is `pad`
        "pad": signed(8),
        "swap": 1,  # takes the next weight tile
        "bypass": 1,  # the lanes themselves, not their dot products
        "maximum": 1,
        "start": 1,  # the accumulator row starts anew
        "emit": 1,  # the row leaves through the tail
        "fresh": 1,  # and is the first of its command to do so
        "final": 1,  # last of its command
        "row": ceil_log2(config.accumulator_rows),
        "counts": 1,  # it has dot products; otherwise it only fills the window
        "window": 1,  # it enters the window unit, in column `column` of its line buffers
        "column": ceil_log2(max(config.window_columns, 2)),
        "tap_rows_used": WINDOW_ROWS, "tap_rows_inside": WINDOW_ROWS,  # bit a: the row a above the window's last
        "tap_columns_used": WINDOW_COLUMNS, "tap_columns_inside": WINDOW_COLUMNS,
        "out": ceil_log2(config.scratchpad_words),
    })


class Issue(wiring.Component):
    """Members
    -------
    command: ready when the last pixel of the previous one is issued.
    pixel: at most one a cycle.
    tile_ready/tile_take, params_ready/params_take, residual_available/residual_claim: what a
        pixel secures. residual: the walk of the residual reader.
    drained: no result is on its way to the scratchpad. room: a command may be started.
    halt: issue nothing more.
    activity: for the counters.
    failed, code, bad_address, index, layer: the command cannot go on; held until reset.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "command": In(stream.Signature(command_layout(Tensor))),
            "pixel": Out(stream.Signature(pixel_layout(config), always_ready=True)),
            "tile_ready": In(1), "tile_take": Out(1),
            "params_ready": In(1), "params_take": Out(1),
            "residual": Out(stream.Signature(WALK)),
            "residual_available": In(1), "residual_claim": Out(1),
            "drained": In(1),
            "room": In(1),
            "halt": In(1),
            "activity": Out(Activity),
            "failed": Out(1), "code": Out(8), "bad_address": Out(32), "index": Out(32), "layer": Out(16),
        })

    def elaborate(self, platform):
        m = Module()
        config = self.config
        lane_bits = exact_log2(config.lanes)

        c = Signal(layout(Tensor))
        active = Signal()
        waiting_fence, waiting_residual = Signal(), Signal()

        # Position in the walk. `*_pass` hold where the current pass began, `row_*` the current
        # row of pixels, `plane_*` the current z, `kernel_row_*` and `block_*` the passes.
        x, y, z = Signal(16), Signal(16), Signal(16)
        kx, ky, block = Signal(8), Signal(8), Signal(16)
        address, row_address, plane_address = Signal(32), Signal(32), Signal(32)
        pass_address, kernel_row_address, block_address = Signal(32), Signal(32), Signal(32)
        ix, ix_pass, iy, iy_pass = (Signal(signed(26), name=n) for n in ("ix", "ix_pass", "iy", "iy_pass"))
        out, row_out, plane_out = Signal(32), Signal(32), Signal(32)
        row = Signal(17)  # one bit more than any `acc`, so that running over shows
        first_pass = Signal()
        first_word = Signal()  # the next word is the first of its pass
        first_pixel = Signal()  # the next output pixel is the first of its pass
        recent, recent_row = Signal(), Signal.like(row)  # the row of the last cycle, if a pixel was issued in it

        window, uses_tiles = Signal(), Signal()
        m.d.comb += [
            window.eq((c.opcode == TensorOpcode.WINDOW) & (config.window_columns != 0)),
            uses_tiles.eq((c.opcode == TensorOpcode.DOT) | window),
        ]
        last_x, last_y, last_z = x == c.nx - 1, y == c.ny - 1, z == c.nz - 1
        # Kernel columns are passes, but for the window unit, which has them side by side.
        last_kx, last_ky, last_block = (kx == c.kernel_x - 1) | window, ky == c.kernel_y - 1, block == c.blocks - 1
        last_pass, last_pixel, final, emits = Signal(), Signal(), Signal(), Signal()
        raster = Raster(m, c, window, ix, iy)
        counts = raster.counts
        m.d.comb += [
            last_pass.eq(last_kx & last_ky & last_block),
            last_pixel.eq(last_x & last_y & last_z),
            final.eq(last_pass & last_pixel),
            emits.eq(last_pass & c.last),
        ]

        padding, row_bad, in_bad, out_bad = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            padding.eq(Mux(window, raster.outside, (ix < 0) | (iy < 0) | (ix >= c.in_w) | (iy >= c.in_h))),
            row_bad.eq(row >= config.accumulator_rows),
            in_bad.eq(~padding & (address > config.scratchpad_bytes - config.lanes)),
            out_bad.eq(emits & (out > config.scratchpad_bytes - config.lanes)),
        ]

        need_tile, need_params = first_word & uses_tiles, first_pixel & emits & counts
        wait_weights, wait_sync, ready, issue, bad = Signal(), Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            wait_weights.eq((need_tile & ~self.tile_ready) | (need_params & ~self.params_ready)),
            # An accumulator row may be used again after two cycles, not in the very next one.
            wait_sync.eq(waiting_fence | (recent & (row == recent_row)) | raster.skip
                         | (emits & counts & c.add & ~self.residual_available)),
            bad.eq(row_bad | in_bad | out_bad | raster.missed),
            ready.eq(active & ~wait_weights & ~wait_sync & ~self.halt & ~self.failed),
            issue.eq(ready & ~bad),
            self.tile_take.eq(issue & need_tile),
            self.params_take.eq(issue & need_params),
            self.residual_claim.eq(issue & emits & counts & c.add),
        ]
        with m.If(issue):
            m.d.comb += self.activity.eq(Activity.COMPUTE)
        with m.Elif(active & wait_sync):
            m.d.comb += self.activity.eq(Activity.SYNC)
        with m.Elif(active & wait_weights):
            m.d.comb += self.activity.eq(Activity.WEIGHTS)
        with m.Elif(active):
            m.d.comb += self.activity.eq(Activity.SYNC)
        with m.Else():
            m.d.comb += self.activity.eq(Activity.IDLE)

        p = self.pixel.p
        m.d.comb += [
            self.pixel.valid.eq(issue),
            p.address.eq(address), p.padding.eq(padding), p.pad.eq(c.pad), p.swap.eq(need_tile),
            p.bypass.eq(~uses_tiles), p.maximum.eq(c.opcode == TensorOpcode.MAX),
            p.start.eq(c.first & first_pass), p.emit.eq(emits & counts), p.fresh.eq(need_params),
            p.final.eq(final & counts), p.row.eq(row), p.out.eq(out >> lane_bits),
            p.counts.eq(counts), p.window.eq(window), p.column.eq(raster.column),
            p.tap_rows_used.eq(raster.rows_used), p.tap_rows_inside.eq(raster.rows_inside),
            p.tap_columns_used.eq(raster.columns_used), p.tap_columns_inside.eq(raster.columns_inside),
        ]

        with m.If(self.drained):
            m.d.sync += waiting_fence.eq(0)
        m.d.comb += [
            self.residual.valid.eq(active & waiting_residual & ~waiting_fence & ~self.failed),
            self.residual.p.address.eq(c.res_addr),
            self.residual.p.step_x.eq(c.res_x), self.residual.p.step_y.eq(c.res_y), self.residual.p.step_z.eq(c.res_z),
            self.residual.p.nx.eq(c.nx), self.residual.p.ny.eq(c.ny), self.residual.p.nz.eq(c.nz),
        ]
        with m.If(self.residual.valid & self.residual.ready):
            m.d.sync += waiting_residual.eq(0)

        next_row, next_plane, next_pass = Signal(32), Signal(32), Signal(32)
        next_out_row, next_out_plane = Signal(32), Signal(32)
        m.d.comb += [
            next_row.eq(row_address + c.in_y), next_plane.eq(plane_address + c.in_z),
            next_out_row.eq(row_out + c.out_y), next_out_plane.eq(plane_out + c.out_z),
        ]
        m.d.sync += [recent.eq(issue & counts), recent_row.eq(row)]
        with m.If(issue):
            m.d.sync += first_word.eq(0)
        # The input of a window walk goes its own way, until the pass ends below.
        with m.If(active & (raster.skip | (issue & window))):
            with m.If(raster.last_column | raster.skip):
                m.d.sync += [address.eq(next_row), row_address.eq(next_row)]
            with m.Else():
                m.d.sync += address.eq(address + c.in_x)
            raster.step(m)
        with m.If(issue & counts):
            m.d.sync += [row.eq(row + 1), first_pixel.eq(last_pixel)]
            with m.If(~last_x):
                m.d.sync += [x.eq(x + 1), ix.eq(ix + c.stride_x), out.eq(out + c.out_x)]
                with m.If(~window):
                    m.d.sync += address.eq(address + c.in_x)
            with m.Else():
                m.d.sync += [x.eq(0), ix.eq(ix_pass)]
                with m.If(~last_y):
                    m.d.sync += [y.eq(y + 1), iy.eq(iy + c.stride_y), out.eq(next_out_row), row_out.eq(next_out_row)]
                    with m.If(~window):
                        m.d.sync += [address.eq(next_row), row_address.eq(next_row)]
                with m.Elif(~last_z):
                    m.d.sync += [y.eq(0), z.eq(z + 1), iy.eq(iy_pass), address.eq(next_plane),
                                 row_address.eq(next_plane), plane_address.eq(next_plane),
                                 out.eq(next_out_plane), row_out.eq(next_out_plane), plane_out.eq(next_out_plane)]
                with m.Else():
                    m.d.sync += [y.eq(0), z.eq(0), iy.eq(iy_pass), first_pass.eq(0), first_word.eq(1), row.eq(c.acc),
                                 out.eq(c.out_addr), row_out.eq(c.out_addr), plane_out.eq(c.out_addr),
                                 address.eq(next_pass), row_address.eq(next_pass), plane_address.eq(next_pass),
                                 pass_address.eq(next_pass)]
                    with m.If(~last_kx):
                        m.d.comb += next_pass.eq(pass_address + c.in_kx)
                        m.d.sync += [kx.eq(kx + 1), ix.eq(ix_pass + c.dilation_x), ix_pass.eq(ix_pass + c.dilation_x)]
                    with m.Else():
                        m.d.sync += [kx.eq(0), ix.eq(c.ix0), ix_pass.eq(c.ix0)]
                        with m.If(~last_ky):
                            m.d.comb += next_pass.eq(kernel_row_address + c.in_ky)
                            m.d.sync += [ky.eq(ky + 1), iy.eq(iy_pass + c.dilation_y),
                                         iy_pass.eq(iy_pass + c.dilation_y), kernel_row_address.eq(next_pass)]
                            raster.restart(m, iy_pass + c.dilation_y)
                        with m.Else():
                            m.d.comb += next_pass.eq(block_address + c.in_block)
                            m.d.sync += [ky.eq(0), block.eq(block + 1), iy.eq(c.iy0), iy_pass.eq(c.iy0),
                                         kernel_row_address.eq(next_pass), block_address.eq(next_pass)]
            with m.If(final):
                m.d.sync += active.eq(0)

        # The checks go nowhere but into registers that a command's start writes: the simulator makes them then only.
        code, fault = self._check(m, self.command.p.record)
        m.d.comb += self.failed.eq(self.code != ErrorCode.NONE)
        m.d.comb += self.command.ready.eq((~active | (issue & final & counts)) & self.room & ~self.halt & ~self.failed)
        with m.If(self.command.valid & self.command.ready):
            new = self.command.p.record
            m.d.sync += [
                c.eq(new), active.eq(1), self.code.eq(code), self.bad_address.eq(fault), waiting_fence.eq(new.fence),
                waiting_residual.eq(new.add & new.last),
                x.eq(0), y.eq(0), z.eq(0), kx.eq(0), ky.eq(0), block.eq(0), first_pass.eq(1),
                first_word.eq(1), first_pixel.eq(1), row.eq(new.acc),
                ix.eq(new.ix0), ix_pass.eq(new.ix0), iy.eq(new.iy0), iy_pass.eq(new.iy0),
                self.index.eq(self.command.p.index), self.layer.eq(new.layer),
            ]
            m.d.sync += [a.eq(new.in_addr) for a in (
                address, row_address, plane_address, pass_address, kernel_row_address, block_address)]
            m.d.sync += [o.eq(new.out_addr) for o in (out, row_out, plane_out)]
            raster.restart(m, new.iy0)
        with m.Elif(ready & bad):
            with m.If(row_bad):
                m.d.sync += [self.code.eq(ErrorCode.ACCUMULATOR_BOUNDS), self.bad_address.eq(row)]
            with m.Elif(raster.missed):
                m.d.sync += [self.code.eq(ErrorCode.ILLEGAL_FIELD), self.bad_address.eq(raster.right)]
            with m.Else():
                m.d.sync += [self.code.eq(ErrorCode.LOCAL_BOUNDS), self.bad_address.eq(Mux(in_bad, address, out))]
        return m

    def _check(self, m, command):
        """Checks that need no walk, as (code, offending value); code NONE where the command is sound."""
        code, value = Signal(8), Signal(32)
        counts = ("kernel_x", "kernel_y", "blocks", "nx", "ny", "nz")
        checks = []  # the first that applies is reported, in the order of the record
        for f in Tensor.fields:
            field = command[f.name].as_unsigned() if f.signed else command[f.name]
            if f.name.startswith("reserved"):
                checks.append((field != 0, field))
            elif f.name in counts:
                checks.append((field == 0, 0))
        checks += [(command[name] > 31, command[name]) for name in ("add_shift_a", "add_shift_b", "add_shift_o")]
        checks.append((command.rounding > max(Rounding), command.rounding))
        checks.append((command.uniform & command.add, 1))
        checks += window_checks(command, self.config)
        illegal = Signal()
        m.d.comb += illegal.eq(Cat(wrong for wrong, _ in checks).any())
        for wrong, offending in reversed(checks):  # the last assignment wins
            with m.If(wrong):
                m.d.comb += value.eq(offending)
        with m.If((command.opcode == TensorOpcode.WINDOW) & (self.config.window_columns == 0)):
            m.d.comb += [code.eq(ErrorCode.ILLEGAL_OPCODE), value.eq(command.opcode)]
        with m.Elif(illegal):
            m.d.comb += code.eq(ErrorCode.ILLEGAL_FIELD)
        for name in ("out_addr", "out_x", "out_y", "out_z", "res_addr", "res_x", "res_y", "res_z"):
            used = command.last & command.add if name.startswith("res") else command.last
            with m.Elif(used & ((command[name].as_unsigned() % self.config.lanes) != 0)):
                m.d.comb += [code.eq(ErrorCode.LOCAL_ALIGNMENT), value.eq(command[name])]
        return code, value
