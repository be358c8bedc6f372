"""The feeder: brings weight tiles into the array, parameters and tables into the tail, ahead of need.

It works on one command at a time and may be a command ahead of the issue stage:
the next command's first tile enters the shadow weights while the current
command's last pass is computed.
"""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from lepton.arch import ChipConfig
from lepton.arch.commands import PARAM_WORDS, UNIFORM_PARAM_WORDS

from . import table
from .tail import SCALARS

JOB = data.StructLayout({
    "tiles": 1,  # the command takes a weight tile for each of its blocks * kernel_y * kernel_x passes
    "emits": 1,  # the command sends rows through the tail, which needs parameters
    "load_table": 1, "table_at": 16,  # and a new table
    "kernel_x": 8, "kernel_y": 8, "blocks": 16,
    "weights": 16, "params": 16, "scalars": SCALARS, "index": 32, "layer": 16,
})


class Feeder(wiring.Component):
    """Feeds shadow weights and next parameters.

    Members
    -------
    job: the next command; ready when all that the last one needs has been asked for.
    read, data: the weight memory.
    load, load_column, load_data: to the array. tile_ready: a pixel issued in this cycle will find
        the shadow weights complete when it comes to the array. tile_take: it takes them.
    param_write, param_index, param_word, scalars_write, scalars, bank: to the tail.
    table_write, table_bank, table_index, table_beat: to the tail.
    params_ready, params_take: as for tiles.
    params_free: from the tail: the parameters last taken may be overwritten.
    out_of_bounds, bad_address, bad_index, bad_layer: a tile, table or parameter record leaves the weight
        memory (word address); the feeder stops there.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        super().__init__({
            "job": In(stream.Signature(JOB)),
            "read": Out(stream.Signature(ceil_log2(config.weight_words), always_ready=True)),
            "data": In(8 * config.lanes),
            "load": Out(1),
            "load_column": Out(ceil_log2(config.columns)),
            "load_data": Out(8 * config.lanes),
            "tile_ready": Out(1),
            "tile_take": In(1),
            "param_write": Out(1),
            "param_index": Out(ceil_log2(PARAM_WORDS)),
            "param_word": Out(8 * config.lanes),
            "scalars_write": Out(1),
            "scalars": Out(SCALARS),
            "bank": Out(range(table.BANKS)),
            "table_write": Out(1),
            "table_bank": Out(range(table.BANKS)),
            "table_index": Out(range(table.BEATS)),
            "table_beat": Out(8 * table.BEAT_BYTES),
            "params_ready": Out(1),
            "params_take": In(1),
            "params_free": In(1),
            "out_of_bounds": Out(1),
            "bad_address": Out(32),
            "bad_index": Out(32),
            "bad_layer": Out(16),
        })

    def elaborate(self, platform):
        m = Module()
        columns, words = self.config.columns, self.config.weight_words
        beats_per_word = self.config.lanes // table.BEAT_BYTES

        job = Signal(JOB)
        tiles_left, table_left, params_left = Signal(), Signal(), Signal()
        first_tile = Signal()  # no tile of this job has been started
        tile = Signal(17)  # word address of the next tile; one bit more than in a command, so that running over shows
        kx, ky, block = Signal(8), Signal(8), Signal(16)

        # What is being fetched: a column of a tile, a word of a record, or a beat of a table, one a cycle.
        loading, fetching, tabling = Signal(), Signal(), Signal()
        column = Signal(range(columns))
        address = Signal(ceil_log2(words))
        param = Signal(range(PARAM_WORDS))
        beat = Signal(range(table.BEATS))
        tile_full = Signal()  # every column has been asked for, and the tile has not been taken
        params_full, params_claimed = Signal(), Signal()

        idle = ~loading & ~fetching & ~tabling
        want_params, want_table = Signal(), Signal()
        want_tile = Signal()
        params_fit, table_fits, tile_fits = Signal(), Signal(), Signal()
        record = Signal(range(PARAM_WORDS + 1))  # words of a parameter record
        # The first tile goes before the parameters, which are needed only on the last pass.
        may_prepare = idle & params_left & ~first_tile & ~params_full
        m.d.comb += [
            # Rows of the command before may still look at its table, those of earlier ones are gone: of two banks one
            # is free.
            want_table.eq(may_prepare & table_left),
            want_params.eq(may_prepare & ~table_left),
            want_tile.eq(idle & tiles_left & ~want_params & ~want_table & (~tile_full | self.tile_take)),
            table_fits.eq(job.table_at <= words - table.BEATS // beats_per_word),
            record.eq(Mux(job.scalars.uniform, UNIFORM_PARAM_WORDS, PARAM_WORDS)),
            params_fit.eq(job.params + record <= words),
            tile_fits.eq(tile <= words - columns),
            self.out_of_bounds.eq((want_params & ~params_fit) | (want_table & ~table_fits) | (want_tile & ~tile_fits)),
            self.bad_address.eq(Mux(want_table, job.table_at, job.params)),
            self.bad_index.eq(job.index),
            self.bad_layer.eq(job.layer),
        ]
        with m.If(want_tile):
            m.d.comb += self.bad_address.eq(tile)

        start_tile, start_table, start_params = Signal(), Signal(), Signal()
        read_tile, read_param, take_beat = Signal(), Signal(), Signal()
        m.d.comb += [
            start_tile.eq(want_tile & tile_fits),
            start_table.eq(want_table & table_fits),
            start_params.eq(want_params & params_fit),
            read_tile.eq(start_tile | loading),
            read_param.eq(start_params | fetching),
            take_beat.eq(start_table | tabling),
            # A word stays at the memory's output while its beats are taken.
            self.read.valid.eq(read_tile | read_param | (take_beat & (beat % beats_per_word == 0))),
            self.read.payload.eq(address),
        ]
        with m.If(start_tile):
            m.d.comb += self.read.payload.eq(tile)
        with m.Elif(start_table):
            m.d.comb += self.read.payload.eq(job.table_at)
            m.d.sync += self.bank.eq(~self.bank)
        with m.Elif(start_params):
            m.d.comb += self.read.payload.eq(job.params)
        with m.If(self.read.valid):
            m.d.sync += address.eq(self.read.payload + 1)

        with m.If(self.tile_take):
            m.d.sync += tile_full.eq(0)
        with m.If(read_tile):
            m.d.sync += [column.eq(column + 1), loading.eq(1)]  # wraps to 0 with the last column
            with m.If(column == columns - 1):
                m.d.sync += [loading.eq(0), tile_full.eq(1)]
        with m.If(take_beat):
            m.d.sync += [beat.eq(beat + 1), tabling.eq(1)]  # wraps to 0 with the last beat
            with m.If(beat == table.BEATS - 1):
                m.d.sync += [tabling.eq(0), table_left.eq(0)]
        with m.If(read_param):
            m.d.sync += [param.eq(param + 1), fetching.eq(1)]
            with m.If(param == record - 1):
                m.d.sync += [param.eq(0), fetching.eq(0), params_left.eq(0), params_full.eq(1)]
        with m.If(self.params_take):
            m.d.sync += params_claimed.eq(1)
        with m.If(self.params_free):
            m.d.sync += [params_full.eq(0), params_claimed.eq(0)]
        m.d.comb += [
            self.tile_ready.eq(tile_full),
            self.params_ready.eq(params_full & ~params_claimed),
            self.scalars_write.eq(start_params),
            self.scalars.eq(job.scalars),
        ]

        # Memory answers a cycle later.
        m.d.sync += [
            self.load.eq(read_tile), self.param_write.eq(read_param),
            self.load_column.eq(column), self.param_index.eq(param),
            self.table_write.eq(take_beat), self.table_index.eq(beat),
        ]
        m.d.comb += [
            self.load_data.eq(self.data), self.param_word.eq(self.data), self.table_bank.eq(self.bank),
            self.table_beat.eq(self.data.word_select(self.table_index % beats_per_word, 8 * table.BEAT_BYTES)),
        ]

        with m.If(start_tile):
            m.d.sync += [tile.eq(tile + columns), first_tile.eq(0), kx.eq(kx + 1)]
            with m.If(kx == job.kernel_x - 1):
                m.d.sync += [kx.eq(0), ky.eq(ky + 1)]
                with m.If(ky == job.kernel_y - 1):
                    m.d.sync += [ky.eq(0), block.eq(block + 1)]
                    with m.If(block == job.blocks - 1):
                        m.d.sync += tiles_left.eq(0)

        m.d.comb += self.job.ready.eq(~tiles_left & ~params_left & ~fetching)
        with m.If(self.job.valid & self.job.ready):
            new = self.job.p
            m.d.sync += [
                job.eq(new), tiles_left.eq(new.tiles), table_left.eq(new.emits & new.load_table),
                params_left.eq(new.emits), first_tile.eq(new.tiles),
                tile.eq(new.weights), kx.eq(0), ky.eq(0), block.eq(0),
            ]
        return m
