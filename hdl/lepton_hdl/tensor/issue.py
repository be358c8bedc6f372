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
from lepton.arch import ChipConfig, ErrorCode, Tensor, TensorOpcode
from lepton.arch.commands import WINDOW_COLUMNS, WINDOW_ROWS

from ..bounds import word_outside
from ..control.counters import Activity
from ..interfaces import command_layout
from ..layouts import layout
from . import legality, residual_add
from .position import Position
from .raster import Raster
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
        "residual": 1,  # and takes a residual on its way
        "final": 1,  # last of its command
        "row": ceil_log2(config.accumulator_rows),
        "counts": 1,  # it has dot products; otherwise it only fills the window
        "window": 1,  # it enters the window unit, in column `column` of its line buffers
        "column": ceil_log2(max(config.window_columns, 2)),
        "tap_rows_used": WINDOW_ROWS, "tap_rows_inside": WINDOW_ROWS,  # bit a: the row a above the window's last
        "tap_columns_used": WINDOW_COLUMNS, "tap_columns_inside": WINDOW_COLUMNS,
        "out": ceil_log2(config.scratchpad_words),
    })


class PixelFaults:
    """`padding`: the pixel is outside the image. What is wrong with it: its accumulator row, the address of its input
    or of its result, or any of these and a window that it misses (`bad`).
    """

    def __init__(self):
        self.padding = Signal(name="padding")
        self.row_bad = Signal(name="row_bad")
        self.in_bad = Signal(name="in_bad")
        self.out_bad = Signal(name="out_bad")
        self.bad = Signal(name="bad")


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

        c = Signal(layout(Tensor))
        active = Signal()
        window = Signal()
        uses_tiles = Signal()
        m.d.comb += [
            window.eq(self._is_window(c)),
            uses_tiles.eq((c.opcode == TensorOpcode.DOT) | window),
        ]
        at = Position(m, c, window)
        raster = Raster(m, c, window, at)
        counts = raster.counts
        emits = Signal()
        final = Signal()
        m.d.comb += [
            emits.eq(at.last_pass & c.last),
            final.eq(at.last_pass & at.last_pixel),
        ]

        faults = PixelFaults()
        padding = faults.padding
        self._check_pixel(m, c, at, raster, window, emits, faults)

        # What it waits for.
        recent = Signal()  # a pixel was issued in the last cycle
        recent_row = Signal.like(at.row)  # and this was its accumulator row
        recent_residuals = Signal(residual_add.STAGES)  # bit s: a pixel with a residual was issued s + 1 cycles ago
        has_residual = Signal()
        overtakes = Signal()
        waiting_fence = Signal()
        waiting_residual = Signal()
        need_tile = at.first_word & uses_tiles
        need_params = at.first_pixel & emits & counts
        wait_weights = Signal()
        wait_sync = Signal()
        ready = Signal()
        issue = Signal()
        m.d.comb += [
            wait_weights.eq((need_tile & ~self.tile_ready) | (need_params & ~self.params_ready)),
            has_residual.eq(emits & counts & c.add),
            # The tail is longer for rows with a residual, and results leave the engine in order.
            overtakes.eq((emits | final) & counts & ~has_residual & recent_residuals.any()),
            # An accumulator row may be used again after two cycles, not in the very next one.
            wait_sync.eq(waiting_fence | (recent & (at.row == recent_row)) | raster.skip | overtakes
                         | (has_residual & ~self.residual_available)),
            ready.eq(active & ~wait_weights & ~wait_sync & ~self.halt & ~self.failed),
            issue.eq(ready & ~faults.bad),
            self.tile_take.eq(issue & need_tile),
            self.params_take.eq(issue & need_params),
            self.residual_claim.eq(issue & has_residual),
            self.pixel.p.residual.eq(has_residual),
        ]
        m.d.sync += [recent.eq(issue & counts), recent_row.eq(at.row),
                     recent_residuals.eq(Cat(issue & has_residual, recent_residuals))]
        self._count(m, active, issue, wait_sync, wait_weights)

        m.d.comb += [
            self.pixel.valid.eq(issue),
            self.pixel.p.swap.eq(need_tile),
            self.pixel.p.fresh.eq(need_params),
        ]
        self._describe_pixel(m, c, at, raster, window, uses_tiles, padding, emits, final)
        self._residual(m, c, active, waiting_fence, waiting_residual)

        with m.If(issue):
            m.d.sync += at.first_word.eq(0)
        # The input of a window walk advances on its own, until the pass ends below.
        with m.If(active & (raster.skip | (issue & window))):
            at.next_word(m, raster.last_column | raster.skip)
            raster.step(m)
        with m.If(issue & counts):
            at.next_pixel(m, raster)
            with m.If(final):
                m.d.sync += active.eq(0)

        # The results of the checks go only into registers that a command's start writes, so the simulator evaluates
        # them only then.
        code, fault = legality.check(m, self.command.p.record, config)
        m.d.comb += [
            self.failed.eq(self.code != ErrorCode.NONE),
            self.command.ready.eq((~active | (issue & final & counts)) & self.room & ~self.halt & ~self.failed),
        ]
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [
                c.eq(self.command.p.record),
                active.eq(1),
                self.code.eq(code),
                self.bad_address.eq(fault),
            ]
            self._begin(m, at, raster, waiting_fence, waiting_residual)
        with m.Elif(ready & faults.bad):
            self._report(m, at, raster, faults)
        return m

    def _is_window(self, record):
        return (record.opcode == TensorOpcode.WINDOW) & (self.config.window_columns != 0)

    def _begin(self, m, at, raster, waiting_fence, waiting_residual):
        """The registers of a command that is taken, at its first pixel."""
        new = self.command.p.record
        m.d.sync += [
            waiting_fence.eq(new.fence),
            waiting_residual.eq(new.add & new.last),
            self.index.eq(self.command.p.index),
            self.layer.eq(new.layer),
        ]
        at.begin(m, new, self._is_window(new))
        raster.restart(m, new.iy0, new.in_h)

    def _check_pixel(self, m, c, at, raster, window, emits, faults):
        """What is wrong with the current pixel."""
        config = self.config
        m.d.comb += [
            faults.padding.eq(Mux(
                window, raster.outside, at.ix[-1] | at.iy[-1] | ~at.past_x[-1] | ~at.past_y[-1])),
            faults.row_bad.eq(at.row >= config.accumulator_rows),
            faults.in_bad.eq(~faults.padding & word_outside(at.address, config.scratchpad_bytes, config.lanes)),
            faults.out_bad.eq(emits & word_outside(at.out, config.scratchpad_bytes, config.lanes)),
            faults.bad.eq(faults.row_bad | faults.in_bad | faults.out_bad | raster.missed),
        ]

    def _report(self, m, at, raster, faults):
        """The command ends here, with the first fault of the current pixel."""
        with m.If(faults.row_bad):
            m.d.sync += [self.code.eq(ErrorCode.ACCUMULATOR_BOUNDS), self.bad_address.eq(at.row)]
        with m.Elif(raster.missed):
            m.d.sync += [self.code.eq(ErrorCode.ILLEGAL_FIELD), self.bad_address.eq(at.ix)]
        with m.Else():
            m.d.sync += [self.code.eq(ErrorCode.LOCAL_BOUNDS),
                         self.bad_address.eq(Mux(faults.in_bad, at.address, at.out))]

    def _describe_pixel(self, m, c, at, raster, window, uses_tiles, padding, emits, final):
        """What goes with the input word to the stages behind."""
        counts = raster.counts
        p = self.pixel.p
        m.d.comb += [
            p.address.eq(at.address),
            p.padding.eq(padding),
            p.pad.eq(c.pad),
            p.bypass.eq(~uses_tiles),
            p.maximum.eq(c.opcode == TensorOpcode.MAX),
            p.start.eq(c.first & at.first_pass),
            p.emit.eq(emits & counts),
            p.final.eq(final & counts),
            p.row.eq(at.row),
            p.out.eq(at.out >> exact_log2(self.config.lanes)),
            p.counts.eq(counts),
            p.window.eq(window),
            p.column.eq(raster.column),
            p.tap_rows_used.eq(raster.rows_used),
            p.tap_rows_inside.eq(raster.rows_inside),
            p.tap_columns_used.eq(raster.columns_used),
            p.tap_columns_inside.eq(raster.columns_inside),
        ]

    def _count(self, m, active, issue, wait_sync, wait_weights):
        """What this cycle counts as."""
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

    def _residual(self, m, c, active, waiting_fence, waiting_residual):
        """Starts the residual reader once per command, after the fence."""
        walk = self.residual.p
        with m.If(self.drained):
            m.d.sync += waiting_fence.eq(0)
        m.d.comb += [
            self.residual.valid.eq(active & waiting_residual & ~waiting_fence & ~self.failed),
            walk.address.eq(c.res_addr),
            walk.step_x.eq(c.res_x),
            walk.step_y.eq(c.res_y),
            walk.step_z.eq(c.res_z),
            walk.nx.eq(c.nx),
            walk.ny.eq(c.ny),
            walk.nz.eq(c.nz),
        ]
        with m.If(self.residual.valid & self.residual.ready):
            m.d.sync += waiting_residual.eq(0)
