"""The feeder: brings weight tiles into the array, parameters and tables into the tail, before they are needed.

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
from .parameters import SCALARS, ParameterSignature

JOB = data.StructLayout({
    "tiles": 1,  # the command takes a weight tile for each of its blocks * kernel_y * kernel_x passes
    "emits": 1,  # the command sends rows through the tail, which needs parameters
    "load_table": 1, "table_at": 16,  # and a new table
    "kernel_x": 8, "kernel_y": 8, "blocks": 16,
    "weights": 16, "params": 16, "scalars": SCALARS, "index": 32, "layer": 16,
})


class Fetch:
    """What is fetched from the weight memory, one word or beat a cycle; `number` counts them, up to `most`.

    `start_*`: begins in this cycle. `read_tile`, `read_record`: a word is requested; `take_beat`: a beat of the table.
    """

    def __init__(self, most: int):
        self.start_tile = Signal(name="start_tile")
        self.start_table = Signal(name="start_table")
        self.start_record = Signal(name="start_record")
        self.number = Signal(range(most), name="number")
        self.read_tile = Signal(name="read_tile")
        self.read_record = Signal(name="read_record")
        self.take_beat = Signal(name="take_beat")


class Feeder(wiring.Component):
    """Feeds shadow weights and next parameters.

    Members
    -------
    job: the next command; ready when everything that the last one needs has been requested.
    read, data: the weight memory.
    load, load_column, load_data: to the array. tile_ready: a pixel issued in this cycle will find
        the shadow weights complete when it comes to the array. tile_take: it takes them.
    parameters: to the tail. params_ready, params_take: as for tiles.
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
            "parameters": Out(ParameterSignature(config)),
            "params_ready": Out(1),
            "params_take": In(1),
            "out_of_bounds": Out(1),
            "bad_address": Out(32),
            "bad_index": Out(32),
            "bad_layer": Out(16),
        })

    def elaborate(self, platform):
        m = Module()
        words = self.config.weight_words

        job = Signal(JOB)
        tiles_left = Signal()
        table_left = Signal()
        params_left = Signal()
        first_tile = Signal()  # no tile of this job has been started
        tile_full = Signal()  # every column has been requested, and the tile has not been taken
        params_full = Signal()
        params_claimed = Signal()
        tile = Signal(17)  # word address of the next tile; one bit more than in a command, to see an overrun

        # What is being fetched, one word or beat a cycle. The first is requested in the cycle that leaves IDLE.
        columns = self.config.columns
        record_words = Signal(range(PARAM_WORDS + 1))
        m.d.comb += record_words.eq(Mux(job.scalars.uniform, UNIFORM_PARAM_WORDS, PARAM_WORDS))
        fetch = Fetch(max(columns, table.BEATS, PARAM_WORDS))
        fetching = self._sequence(m, record_words, fetch, tile_full, table_left, params_left, params_full)
        idle = fetching.ongoing("IDLE")
        m.d.comb += [
            fetch.read_tile.eq(fetch.start_tile | fetching.ongoing("TILE")),
            fetch.read_record.eq(fetch.start_record | fetching.ongoing("RECORD")),
            fetch.take_beat.eq(fetch.start_table | fetching.ongoing("TABLE")),
        ]

        # The first tile goes before the parameters, which are needed only on the last pass.
        prepare = idle & params_left & ~first_tile & ~params_full
        want_tile = Signal()
        want_table = Signal()
        want_record = Signal()
        tile_fits = Signal()
        table_fits = Signal()
        record_fits = Signal()
        beats_per_word = self.config.lanes // table.BEAT_BYTES
        m.d.comb += [
            # Rows of the command before may still use its table, those of earlier ones have left: of two banks one
            # is free.
            want_table.eq(prepare & table_left),
            want_record.eq(prepare & ~table_left),
            want_tile.eq(idle & tiles_left & ~want_record & ~want_table & (~tile_full | self.tile_take)),
            tile_fits.eq(tile <= words - columns),
            table_fits.eq(job.table_at <= words - table.BEATS // beats_per_word),
            record_fits.eq(job.params + record_words <= words),
            fetch.start_tile.eq(want_tile & tile_fits),
            fetch.start_table.eq(want_table & table_fits),
            fetch.start_record.eq(want_record & record_fits),
            self.out_of_bounds.eq((want_tile & ~tile_fits) | (want_table & ~table_fits)
                                  | (want_record & ~record_fits)),
            self.bad_address.eq(Mux(want_tile, tile, Mux(want_table, job.table_at, job.params))),
            self.bad_index.eq(job.index),
            self.bad_layer.eq(job.layer),
        ]

        self._read_memory(m, job, tile, fetch)
        with m.If(self.tile_take):
            m.d.sync += tile_full.eq(0)
        with m.If(self.params_take):
            m.d.sync += params_claimed.eq(1)
        with m.If(self.parameters.taken):
            m.d.sync += [params_full.eq(0), params_claimed.eq(0)]
        m.d.comb += [
            self.tile_ready.eq(tile_full),
            self.params_ready.eq(params_full & ~params_claimed),
        ]

        last_tile = self._walk(m, job, fetch.start_tile)
        with m.If(fetch.start_tile):
            m.d.sync += [tile.eq(tile + columns), first_tile.eq(0)]
            with m.If(last_tile):
                m.d.sync += tiles_left.eq(0)

        m.d.comb += self.job.ready.eq(~tiles_left & ~params_left & ~fetching.ongoing("RECORD"))
        with m.If(self.job.valid & self.job.ready):
            new = self.job.p
            m.d.sync += [
                job.eq(new),
                tile.eq(new.weights),
                tiles_left.eq(new.tiles),
                table_left.eq(new.emits & new.load_table),
                params_left.eq(new.emits),
                first_tile.eq(new.tiles),
            ]
        return m

    def _sequence(self, m, record_words, fetch, tile_full, table_left, params_left, params_full):
        """Counts through what is fetched, and says when it is complete. Gives the state machine."""
        columns = self.config.columns
        with m.If(fetch.read_tile | fetch.read_record | fetch.take_beat):
            m.d.sync += fetch.number.eq(fetch.number + 1)
        with m.FSM(name="fetching") as fetching:
            with m.State("IDLE"):
                with m.If(fetch.start_tile):
                    m.next = "TILE"
                with m.Elif(fetch.start_table):
                    m.next = "TABLE"
                with m.Elif(fetch.start_record):
                    m.next = "RECORD"
            with m.State("TILE"), m.If(fetch.number == columns - 1):
                m.d.sync += [fetch.number.eq(0), tile_full.eq(1)]
                m.next = "IDLE"
            with m.State("TABLE"), m.If(fetch.number == table.BEATS - 1):
                m.d.sync += [fetch.number.eq(0), table_left.eq(0)]
                m.next = "IDLE"
            with m.State("RECORD"), m.If(fetch.number == record_words - 1):
                m.d.sync += [fetch.number.eq(0), params_left.eq(0), params_full.eq(1)]
                m.next = "IDLE"
        return fetching

    def _read_memory(self, m, job, tile, fetch):
        """Requests words of the weight memory; a cycle later they go to the array and to the tail."""
        beats_per_word = self.config.lanes // table.BEAT_BYTES
        address = Signal(ceil_log2(self.config.weight_words))
        m.d.comb += [
            # A word stays at the memory's output while its beats are taken.
            self.read.valid.eq(
                fetch.read_tile | fetch.read_record | (fetch.take_beat & (fetch.number % beats_per_word == 0))),
            self.read.p.eq(Mux(
                fetch.start_tile, tile,
                Mux(fetch.start_table, job.table_at, Mux(fetch.start_record, job.params, address)))),
        ]
        with m.If(self.read.valid):
            m.d.sync += address.eq(self.read.p + 1)

        # The memory answers a cycle later.
        to_tail = self.parameters
        m.d.sync += [
            self.load.eq(fetch.read_tile),
            self.load_column.eq(fetch.number),
            to_tail.record.valid.eq(fetch.read_record),
            to_tail.record.p.index.eq(fetch.number),
            to_tail.table.valid.eq(fetch.take_beat),
            to_tail.table.p.index.eq(fetch.number),
        ]
        bank = Signal(range(table.BANKS))  # that the current table is in
        with m.If(fetch.start_table):
            m.d.sync += bank.eq(~bank)
        m.d.comb += [
            self.load_data.eq(self.data),
            to_tail.record.p.word.eq(self.data),
            to_tail.table.p.bank.eq(bank),
            to_tail.table.p.beat.eq(self.data.word_select(to_tail.table.p.index % beats_per_word,
                                                          8 * table.BEAT_BYTES)),
            to_tail.scalars.valid.eq(fetch.start_record),
            to_tail.scalars.p.scalars.eq(job.scalars),
            to_tail.scalars.p.bank.eq(bank),
        ]

    def _walk(self, m, job, step):
        """High while the next tile is the last of the job; `step` moves on by one tile.

        Counters are at 0 when a job begins, because those of the job before it have wrapped.
        """
        inner = step
        last = None
        for name, count in (("kx", job.kernel_x), ("ky", job.kernel_y), ("block", job.blocks)):
            position = Signal.like(count, name=name)
            at_end = position == count - 1
            with m.If(inner):
                m.d.sync += position.eq(Mux(at_end, 0, position + 1))
            inner = inner & at_end
            last = at_end if last is None else last & at_end
        return last
