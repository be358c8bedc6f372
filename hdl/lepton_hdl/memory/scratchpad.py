"""The banked scratchpad: activations, one word of K channels per address.

Word `a` lies in bank `a mod banks`, so that sequential streams that meet in one
bank fall into step after a single stalled cycle. Every bank reads one word and
writes one word a cycle. Who wins a bank is fixed: the tensor pipeline is never
stalled (it has no place to wait), then the residual, then DMA, then the ROWS engine.
It waits for ever behind none of them, as all of them walk over the banks and end with
their program.
"""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2, exact_log2
from lepton.arch import ChipConfig

from ..interfaces import WordReadSignature


def tensor_read_layout(config: ChipConfig) -> data.StructLayout:
    """A read of word `address` and, where `pair` is set, of the word after it."""
    return data.StructLayout({"address": ceil_log2(config.scratchpad_words), "pair": 1})


def tensor_write_layout(config: ChipConfig) -> data.StructLayout:
    """A word of results."""
    return data.StructLayout({"address": ceil_log2(config.scratchpad_words), "data": 8 * config.lanes})


class Scratchpad(wiring.Component):
    """`config.scratchpad_words` words of `config.lanes` bytes in `config.scratchpad_banks` banks.

    Members
    -------
    tensor_read: never stalled; `low` and `high` (the word after) follow one cycle later.
    residual_read, store_read, rows_read: `WordReadSignature`, stalled where a bank is taken.
    tensor_write: never stalled. load_write, rows_write: stalled where a bank is taken.
    rows_read and rows_write only with `config.row_lanes`.

    Addresses have been checked by the engines; the bits above the depth are ignored.
    """

    def __init__(self, config: ChipConfig):
        self.config = config
        address = ceil_log2(config.scratchpad_words)
        super().__init__({
            "tensor_read": In(stream.Signature(tensor_read_layout(config), always_ready=True)),
            "low": Out(8 * config.lanes),
            "high": Out(8 * config.lanes),
            "residual_read": In(WordReadSignature(config)),
            "store_read": In(WordReadSignature(config)),
            "tensor_write": In(stream.Signature(tensor_write_layout(config), always_ready=True)),
            "load_write": In(stream.Signature(data.StructLayout({"address": address, "data": 8 * config.lanes}))),
        } | ({"rows_read": In(WordReadSignature(config)),
              "rows_write": In(stream.Signature(tensor_write_layout(config)))} if config.row_lanes else {}))

    def elaborate(self, platform):
        m = Module()
        banks = self.config.scratchpad_banks
        bits = exact_log2(banks)
        depth = self.config.scratchpad_words // banks

        def split(address):
            """Bank and row of a word address."""
            return address[:bits], address[bits:bits + ceil_log2(depth)]

        read = self.tensor_read
        write = self.tensor_write
        first_bank, first_row = split(read.p.address)
        second = Signal.like(read.p.address)
        m.d.comb += second.eq(read.p.address + 1)
        second_bank, second_row = split(second)
        residual = self.residual_read.request
        store = self.store_read.request
        load = self.load_write
        residual_bank, residual_row = split(residual.p)
        store_bank, store_row = split(store.p)
        write_bank, write_row = split(write.p.address)
        load_bank, load_row = split(load.p.address)

        rows_read, rows_write = self._rows()
        rows_bank, rows_row = split(rows_read.p)
        rows_write_bank, rows_write_row = split(rows_write.p.address)

        tensor_takes = Signal(banks)
        residual_takes = Signal(banks)
        store_takes = Signal(banks)
        write_takes = Signal(banks)
        load_takes = Signal(banks)
        outputs = []
        for b in range(banks):
            m.submodules[f"bank{b}"] = memory = Memory(shape=8 * self.config.lanes, depth=depth, init=[])
            rp = memory.read_port()
            wp = memory.write_port()
            is_first = Signal(name=f"is_first{b}")
            is_second = Signal(name=f"is_second{b}")
            m.d.comb += [
                is_first.eq(read.valid & (first_bank == b)),
                is_second.eq(read.valid & read.p.pair & (second_bank == b)),
                tensor_takes[b].eq(is_first | is_second),
                residual_takes[b].eq(residual.valid & (residual_bank == b)),
                store_takes[b].eq(store.valid & (store_bank == b)),
                write_takes[b].eq(write.valid & (write_bank == b)),
                load_takes[b].eq(load.valid & (load_bank == b)),
                rp.en.eq(tensor_takes[b] | residual_takes[b] | store_takes[b] | (rows_read.valid & (rows_bank == b))),
                wp.en.eq(write_takes[b] | load_takes[b] | (rows_write.valid & (rows_write_bank == b))),
            ]
            with m.If(write_takes[b]):
                m.d.comb += [wp.addr.eq(write_row), wp.data.eq(write.p.data)]
            with m.Elif(load_takes[b]):
                m.d.comb += [wp.addr.eq(load_row), wp.data.eq(load.p.data)]
            with m.Else():
                m.d.comb += [wp.addr.eq(rows_write_row), wp.data.eq(rows_write.p.data)]
            with m.If(is_first):
                m.d.comb += rp.addr.eq(first_row)
            with m.Elif(is_second):
                m.d.comb += rp.addr.eq(second_row)
            with m.Elif(residual_takes[b]):
                m.d.comb += rp.addr.eq(residual_row)
            with m.Elif(store_takes[b]):
                m.d.comb += rp.addr.eq(store_row)
            with m.Else():
                m.d.comb += rp.addr.eq(rows_row)
            outputs.append(rp.data)

        m.d.comb += [
            residual.ready.eq(~tensor_takes.bit_select(residual_bank, 1)),
            store.ready.eq(~(tensor_takes | residual_takes).bit_select(store_bank, 1)),
            load.ready.eq(~write_takes.bit_select(load_bank, 1)),
            rows_read.ready.eq(~(tensor_takes | residual_takes | store_takes).bit_select(rows_bank, 1)),
            rows_write.ready.eq(~(write_takes | load_takes).bit_select(rows_write_bank, 1)),
        ]

        def select(target, bank, enable, name):
            """Drive `target` with the output of the bank that was asked a cycle ago."""
            chosen = Signal(bits, name=f"{name}_bank")
            with m.If(enable):
                m.d.sync += chosen.eq(bank)
            with m.Switch(chosen):
                for b in range(banks):
                    with m.Case(b):
                        m.d.comb += target.eq(outputs[b])

        select(self.low, first_bank, read.valid, "low")
        select(self.high, second_bank, read.valid & read.p.pair, "high")
        select(self.residual_read.data, residual_bank, residual.valid, "residual")
        select(self.store_read.data, store_bank, store.valid, "store")
        if self.config.row_lanes:
            select(self.rows_read.data, rows_bank, rows_read.valid, "rows")
        return m

    def _rows(self):
        """The streams of the ROWS engine, or of one that asks for nothing."""
        if self.config.row_lanes:
            return self.rows_read.request, self.rows_write
        return (WordReadSignature(self.config).create().request,
                stream.Signature(tensor_write_layout(self.config)).create())


__all__ = ["Scratchpad", "tensor_read_layout", "tensor_write_layout"]
