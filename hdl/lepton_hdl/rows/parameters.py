"""The parameters of NORM: those of the block in work, and those of the next."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from lepton.arch import ChipConfig
from lepton.arch.rows import NORM_WORDS

SETS = 2
_SCALE_BYTES = 3  # an int24; the others of NORM_WORDS are the bias


class ParameterSets(wiring.Component):
    """Members
    -------
    write, write_set, index, data: word `index` of the record of K channels (`lepton.arch.rows.NORM_WORDS`).
    enable, set, piece: at the coming clock edge `scale` and `bias` become those of channels `piece` * row_lanes on.
    neutral: they become 2 and 0 instead.
    """

    def __init__(self, config: ChipConfig):
        self._config = config
        self._pieces = config.lanes // config.row_lanes
        super().__init__({
            "write": In(1), "write_set": In(range(SETS)), "index": In(range(NORM_WORDS)),
            "data": In(8 * config.lanes), "enable": In(1), "set": In(range(SETS)),
            "piece": In(range(max(self._pieces, 2))), "neutral": In(1),
            "scale": Out(signed(24)).array(config.row_lanes), "bias": Out(signed(32)).array(config.row_lanes),
        })

    def elaborate(self, platform):
        m = Module()
        sets = [[Signal(8 * self._config.lanes, name=f"set{i}_{j}") for j in range(NORM_WORDS)] for i in range(SETS)]
        with m.If(self.write), m.Switch(Cat(self.index, self.write_set)):
            for i, words in enumerate(sets):
                for j, word in enumerate(words):
                    with m.Case(i << len(self.index) | j):
                        m.d.sync += word.eq(self.data)
        lanes = self._config.row_lanes
        with m.If(self.enable):
            with m.If(self.neutral):
                m.d.sync += [scale.eq(2) for scale in self.scale]
                m.d.sync += [bias.eq(0) for bias in self.bias]
            with m.Else(), m.Switch(Cat(self.piece, self.set) if self._pieces > 1 else self.set):
                for i, words in enumerate(sets):
                    for piece in range(self._pieces):
                        with m.Case(i << len(self.piece) | piece if self._pieces > 1 else i):
                            for lane in range(lanes):
                                place = piece * lanes + lane
                                record = [word.word_select(place, 8) for word in words]
                                m.d.sync += [self.scale[lane].eq(Cat(record[:_SCALE_BYTES])),
                                             self.bias[lane].eq(Cat(record[_SCALE_BYTES:]))]
        return m
