"""The scratchpad with its seven clients: driver, model and monitor of the traffic of one cycle at a time."""

import random
from collections import Counter
from dataclasses import dataclass, replace

from lepton.arch import ChipConfig
from lepton_hdl.memory.scratchpad import Scratchpad, tensor_read_layout, tensor_write_layout

from tests.bench.checker import Outputs
from tests.bench.layouts import encode
from tests.bench.pins import Pins

BITS = 32  # of a word in every configuration of these tests
PORTS = {"residual": "residual_read__request", "store": "store_read__request", "rows": "rows_read__request",
         "load": "load_write", "rows_write": "rows_write"}
"""The clients that may be stalled."""

Write = tuple[int, int]
"""Word address and word."""


@dataclass(frozen=True)
class Traffic:
    """What the clients ask for in one cycle."""

    tensor: tuple[int, int] | None = None  # word address, and whether the word behind it is read, too
    write: Write | None = None  # of the tensor pipeline
    residual: int | None = None  # word address
    store: int | None = None  # word address
    load: Write | None = None
    rows: int | None = None  # word address
    rows_write: Write | None = None

    def asks(self, client: str) -> bool:
        """Whether one of the clients in `PORTS` asks for something."""
        return getattr(self, client) is not None


class Driver:
    """Puts traffic on the ports. A client that may be stalled offers its request until it is accepted."""

    def __init__(self, pins: Pins, config: ChipConfig) -> None:
        self.pins = pins
        self._config = config
        self._load_layout = Scratchpad(config).load_write.payload.shape()
        self._waiting = Traffic()

    def drive(self, wanted: Traffic) -> Traffic:
        """Offer `wanted`, but for clients whose request waits; what is offered in fact. Noise where nothing is."""
        offered = replace(wanted, **{client: getattr(self._waiting, client) for client in PORTS
                                     if self._waiting.asks(client)})
        words = self._config.scratchpad_words
        tensor = offered.tensor or (random.randrange(words), random.randrange(2))
        write = offered.write or (random.randrange(words), random.getrandbits(BITS))
        load = offered.load or (random.randrange(words), random.getrandbits(BITS))
        rows = offered.rows_write or (random.randrange(words), random.getrandbits(BITS))
        reads = {client: random.randrange(words) if address is None else address
                 for client, address in (("residual", offered.residual), ("store", offered.store),
                                           ("rows", offered.rows))}
        ignored = random.getrandbits(20) << 12  # the bits of an address above any scratchpad's depth
        self.pins.set(
            tensor_read__valid=offered.tensor is not None, tensor_write__valid=offered.write is not None,
            tensor_read__payload=encode(tensor_read_layout(self._config), address=tensor[0], pair=tensor[1]),
            tensor_write__payload=encode(tensor_write_layout(self._config), address=write[0], data=write[1]),
            load_write__payload=encode(self._load_layout, address=load[0], data=load[1]),
            rows_write__payload=encode(tensor_write_layout(self._config), address=rows[0], data=rows[1]),
            **{f"{PORTS[client]}__payload": ignored | address for client, address in reads.items()},
            **{f"{port}__valid": offered.asks(client) for client, port in PORTS.items()})
        return offered

    def keep(self, offered: Traffic, accepted: set[str]) -> None:
        """Go on to the next cycle: the requests that were not accepted wait."""
        self._waiting = replace(offered, tensor=None, write=None, **dict.fromkeys(accepted))


class Model:
    """A flat memory, and who comes first at a bank: the tensor pipeline, then the residual, then the DMA, then ROWS."""

    def __init__(self, banks: int) -> None:
        self.words: dict[int, int] = {}
        self._banks = banks

    def accepted(self, traffic: Traffic) -> set[str]:
        """The clients that may be stalled and are not."""
        read_banks: set[int] = set()
        write_banks: set[int] = set()
        if traffic.tensor is not None:
            address, pair = traffic.tensor
            read_banks = {(address + i) % self._banks for i in range(1 + pair)}
        if traffic.write is not None:
            write_banks = {traffic.write[0] % self._banks}
        served: set[str] = set()
        for client, word in (("residual", traffic.residual), ("store", traffic.store), ("rows", traffic.rows)):
            if word is not None:
                if word % self._banks not in read_banks:
                    served.add(client)
                read_banks.add(word % self._banks)
        for client, write in (("load", traffic.load), ("rows_write", traffic.rows_write)):
            if write is not None:
                if write[0] % self._banks not in write_banks:
                    served.add(client)
                write_banks.add(write[0] % self._banks)
        return served

    def step(self, traffic: Traffic, accepted: set[str]) -> dict[str, int]:
        """The data outputs in the next cycle. Reads see what was there before this cycle's writes."""
        outputs: dict[str, int] = {}
        if traffic.tensor is not None:
            address, pair = traffic.tensor
            outputs["low"] = self.words[address]
            if pair:
                outputs["high"] = self.words[address + 1]
        if traffic.residual is not None and "residual" in accepted:
            outputs["residual_read__data"] = self.words[traffic.residual]
        if traffic.store is not None and "store" in accepted:
            outputs["store_read__data"] = self.words[traffic.store]
        if traffic.rows is not None and "rows" in accepted:
            outputs["rows_read__data"] = self.words[traffic.rows]
        if traffic.write is not None:
            self.words[traffic.write[0]] = traffic.write[1]
        if traffic.load is not None and "load" in accepted:
            self.words[traffic.load[0]] = traffic.load[1]
        if traffic.rows_write is not None and "rows_write" in accepted:
            self.words[traffic.rows_write[0]] = traffic.rows_write[1]
        return outputs


class WaitMonitor:
    """How often the clients that may be stalled are served, and how long the longest wait of each was."""

    def __init__(self) -> None:
        self.served: Counter[str] = Counter()
        self.longest: Counter[str] = Counter()
        self._waited: Counter[str] = Counter()

    def sample(self, offered: Traffic, accepted: set[str]) -> None:
        """One cycle."""
        for client in PORTS:
            self._waited[client] = self._waited[client] + 1 if offered.asks(client) else 0
            self.longest[client] = max(self.longest[client], self._waited[client])
            if client in accepted:
                self.served[client] += 1
                self._waited[client] = 0


class ScratchpadBench:
    """The parts together: `cycle` drives one cycle and checks every `ready` and all data that are due in it."""

    def __init__(self, pins: Pins, config: ChipConfig) -> None:
        self.pins = pins
        self.config = config
        self.driver = Driver(pins, config)
        self.model = Model(config.scratchpad_banks)
        self.waits = WaitMonitor()
        self.checker = Outputs(pins)
        self._due: dict[str, int] = {}  # data outputs in this cycle

    async def start(self) -> None:
        """Reset, and write every word: no reset clears them."""
        await self.pins.start(tensor_read__valid=0, tensor_write__valid=0,
                              **{f"{port}__valid": 0 for port in PORTS.values()})
        for address in range(self.config.scratchpad_words):
            await self.cycle(Traffic(load=(address, random.getrandbits(BITS))))
        await self.cycle(Traffic())

    async def cycle(self, wanted: Traffic) -> set[str]:
        """Drive and check one cycle; the clients that may be stalled and were served."""
        offered = self.driver.drive(wanted)
        accepted = self.model.accepted(offered)
        await self.pins.settle()
        self.checker.check(self._due, f"after {wanted}")
        self.checker.check({f"{port}__ready": int(client in accepted) for client, port in PORTS.items()
                            if offered.asks(client)}, str(offered))
        self._due = self.model.step(offered, accepted)
        self.waits.sample(offered, accepted)
        self.driver.keep(offered, accepted)
        await self.pins.tick()
        return accepted
