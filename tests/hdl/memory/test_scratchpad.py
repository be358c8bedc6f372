"""The scratchpad with all five clients at once, against a flat memory and the documented priorities."""

import random
from collections import Counter

import cocotb
import pytest
from lepton_hdl.memory.scratchpad import Scratchpad, tensor_read_layout, tensor_write_layout

from tests.bench.layouts import encode
from tests.bench.pins import Pins
from tests.cocotb_harness import parameters, run_cocotb
from tests.hdl.memory.configs import banked

WORDS, BITS = banked(4).scratchpad_words, 32
PORTS = {"residual": "residual_read__request", "store": "store_read__request", "load": "load_write"}


class Bench:
    """A cycle of traffic at a time. Clients with a ready keep their request until it is accepted."""

    def __init__(self, dut):
        self.ports, self.banks = Pins(dut), parameters()["banks"]
        self.config = banked(self.banks)
        self.load_layout = Scratchpad(self.config).load_write.payload.shape()
        self.memory = {}
        self.expected = {}  # output port: word that it must show in this cycle
        self.waiting = Counter()  # cycles that the pending request of a client has waited
        self.longest = Counter()
        self.served = Counter()
        self.offers = dict.fromkeys(PORTS)

    async def start(self):
        await self.ports.start(tensor_read__valid=0, tensor_write__valid=0,
                               **{f"{port}__valid": 0 for port in PORTS.values()})
        for address in range(WORDS):  # no reset clears it
            await self.cycle(load=(address, random.getrandbits(BITS)))
        await self.cycle()

    async def cycle(self, tensor=None, write=None, **offers):
        """tensor: (address, pair); write: (address, word); residual, store: address; load: (address, word).

        A request that was not accepted is offered again and `offers` of that client are ignored.
        """
        for client in PORTS:
            if self.offers[client] is None:
                self.offers[client] = offers.get(client)
        residual, store, load = self.offers.values()
        address, pair = tensor or (random.randrange(WORDS), random.randrange(2))
        to, word = write or (random.randrange(WORDS), random.getrandbits(BITS))
        high = random.getrandbits(20) << 12  # of an address: ignored
        self.ports.set(
            tensor_read__valid=tensor is not None,
            tensor_read__payload=encode(tensor_read_layout(self.config), address=address, pair=pair),
            tensor_write__valid=write is not None,
            tensor_write__payload=encode(tensor_write_layout(self.config), address=to, data=word),
            residual_read__request__payload=high | (random.randrange(WORDS) if residual is None else residual),
            store_read__request__payload=high | (random.randrange(WORDS) if store is None else store),
            load_write__payload=encode(self.load_layout, address=load[0], data=load[1]) if load else 0,
            **{f"{port}__valid": self.offers[client] is not None for client, port in PORTS.items()})
        await self.ports.settle()
        for output, value in self.expected.items():
            assert self.ports.get(output) == value, f"{output}: {self.ports.get(output):x}, not {value:x}"

        bank = self.banks.__rmod__
        tensor_banks = {bank(address), *([bank(address + 1)] if pair else [])} if tensor else set()
        accepted = {
            "residual": residual is not None and bank(residual) not in tensor_banks,
            "store": store is not None and bank(store) not in tensor_banks
                     and (residual is None or bank(store) != bank(residual)),
            "load": load is not None and (write is None or bank(load[0]) != bank(to)),
        }
        for client, port in PORTS.items():
            if self.offers[client] is not None:
                assert self.ports.get(f"{port}__ready") == accepted[client], client
        # Reads see what was there before this cycle's writes.
        self.expected = {}
        if tensor:
            self.expected["low"] = self.memory[address]
            if pair:
                self.expected["high"] = self.memory[address + 1]
        for client, output in (("residual", "residual_read__data"), ("store", "store_read__data")):
            if accepted[client]:
                self.expected[output] = self.memory[self.offers[client]]
        for target in (write, load if accepted["load"] else None):
            if target is not None:
                self.memory[target[0]] = target[1]
        for client in PORTS:
            self.waiting[client] = self.waiting[client] + 1 if self.offers[client] is not None else 0
            if accepted[client]:
                self.served[client] += 1
                self.longest[client] = max(self.longest[client], self.waiting[client])
                self.waiting[client], self.offers[client] = 0, None
        await self.ports.tick()


@cocotb.test(timeout_time=2, timeout_unit="ms")
@cocotb.parametrize(busy=[0.3, 0.9])
async def random_traffic(dut, busy):
    """Few addresses, so that clients meet in words as well as in banks."""
    bench = Bench(dut)
    await bench.start()
    rng = random.Random(random.getrandbits(32))

    def at(top=WORDS):
        return rng.randrange(8) if rng.random() < 0.5 else rng.randrange(top)

    def maybe(value):
        return value if rng.random() < busy else None

    count = 4000
    for _ in range(count):
        pair = rng.randrange(2)
        await bench.cycle(tensor=maybe((at(WORDS - 1), pair)), write=maybe((at(), rng.getrandbits(BITS))),
                          residual=maybe(at()), store=maybe(at()), load=maybe((at(), rng.getrandbits(BITS))))
    for client in PORTS:
        assert bench.served[client] > 100, f"{client} was served {bench.served[client]} times"
    if bench.banks > 2 or busy < 0.5:
        for client in PORTS:  # random traffic leaves every bank free now and then
            assert bench.longest[client] < 200, f"{client} waited {bench.longest[client]} cycles"


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def a_word_written_is_read_by_everyone(dut):
    """In the cycle of the write every reader still sees the old word, in the next the new one."""
    bench = Bench(dut)
    await bench.start()
    for address in (0, 1, bench.banks, WORDS - 1):
        for write in ({"write": (address, 0xAAAA0000 | address)}, {"load": (address, 0x5555_0000 | address)}):
            for reader in ({"residual": address}, {"store": address}, {"tensor": (address, 0)}):
                await bench.cycle(**write, **reader)
                await bench.cycle(**reader)
                await bench.cycle()


@cocotb.test(timeout_time=2, timeout_unit="ms")
async def sequential_streams_fall_into_step(dut):
    """Streams of consecutive words that begin in any banks: each waits once for its turn, then never again.

    An unaligned tensor stream holds two banks a cycle, so with residual and STORE all four are busy.
    """
    bench = Bench(dut)
    await bench.start()
    if bench.banks < 4:
        return
    for pair in (0, 1):
        for start in range(bench.banks ** 2):
            first, second = start % bench.banks, start // bench.banks
            at = {"residual": first, "store": second, "load": first}
            served = bench.served.copy()
            cycles = 60
            for i in range(cycles):
                before = bench.served.copy()
                await bench.cycle(tensor=(i, pair), write=(i + second, i), residual=at["residual"], store=at["store"],
                                  load=(at["load"], ~i & 0xFFFF_FFFF))
                for client in PORTS:
                    at[client] += bench.served[client] - before[client]
            for client in PORTS:
                lost = cycles - (bench.served[client] - served[client])
                limit = {"residual": 1 + pair, "store": bench.banks - 1, "load": 1}[client]
                assert lost <= limit, f"{client} lost {lost} of {cycles} cycles, pair {pair}, start {start}"
            for _ in range(4):
                await bench.cycle()


@pytest.mark.parametrize("banks", [2, 4, 8])
def test_scratchpad(banks):
    run_cocotb(Scratchpad(banked(banks)), f"scratchpad{banks}", __name__, parameters={"banks": banks})
