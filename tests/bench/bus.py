"""Driver and responder of the register bus (`BusSignature`): one access at a time."""

import random
from collections.abc import Callable
from dataclasses import dataclass

import cocotb
from cocotb.handle import HierarchyObject, LogicArrayObject
from cocotb.triggers import RisingEdge


@dataclass(frozen=True)
class Access:
    """What is asked for. `data` is None for a read."""

    address: int
    data: int | None = None


@dataclass(frozen=True)
class Answer:
    """What comes back. `data` has a meaning only for a read without an error."""

    data: int = 0
    error: bool = False


class _Ports:
    """The ports of a bus whose names begin with `name`."""

    def __init__(self, dut: HierarchyObject, name: str) -> None:
        self.valid: LogicArrayObject = getattr(dut, f"{name}__valid")
        self.write: LogicArrayObject = getattr(dut, f"{name}__write")
        self.address: LogicArrayObject = getattr(dut, f"{name}__address")
        self.write_data: LogicArrayObject = getattr(dut, f"{name}__write_data")
        self.done: LogicArrayObject = getattr(dut, f"{name}__done")
        self.read_data: LogicArrayObject = getattr(dut, f"{name}__read_data")
        self.error: LogicArrayObject = getattr(dut, f"{name}__error")

    def access(self) -> Access:
        """What is asked for in this cycle."""
        return Access(int(self.address.value), int(self.write_data.value) if self.write.value else None)


class BusDriver:
    """Asks for accesses, and holds each until it is answered."""

    def __init__(self, dut: HierarchyObject, name: str) -> None:
        self.dut = dut
        self.name = name
        self._ports = _Ports(dut, name)
        self._ports.valid.value = 0

    async def access(self, address: int, data: int | None = None, limit: int = 20) -> Answer:
        """The answer to a read, or to a write of `data`. Fails where none comes within `limit` cycles."""
        ports = self._ports
        ports.valid.value = 1
        ports.write.value = data is not None
        ports.address.value = address
        ports.write_data.value = random.getrandbits(32) if data is None else data
        for _ in range(limit):
            await RisingEdge(self.dut.clk)
            if ports.done.value:
                break
        else:
            raise AssertionError(f"{self.name}: no answer to an access to {address:#x} within {limit} cycles")
        answer = Answer(int(ports.read_data.value), bool(ports.error.value))
        ports.valid.value = 0
        await RisingEdge(self.dut.clk)
        assert not ports.done.value, f"{self.name}: a second answer to one access to {address:#x}"
        return answer


class BusResponder:
    """Answers each access with `serve`, `delays` cycles after the one in which it is first seen.

    Fails where an access is withdrawn or changed before it is answered. `log` holds every access, in order.
    """

    def __init__(self, dut: HierarchyObject, name: str, serve: Callable[[Access], Answer],
                 delays: range = range(1)) -> None:
        self.dut = dut
        self.name = name
        self.log: list[Access] = []
        self._serve = serve
        self._delays = delays
        self._ports = _Ports(dut, name)
        self._idle()
        cocotb.start_soon(self._run())

    def _idle(self) -> None:
        self._ports.done.value = 0
        self._ports.error.value = 0
        self._ports.read_data.value = random.getrandbits(32)  # has no meaning without `done`

    async def _run(self) -> None:
        ports = self._ports
        held: Access | None = None
        left = 0
        answered = False
        while True:
            await RisingEdge(self.dut.clk)
            if answered or self.dut.rst.value:
                self._idle()
                held = None
                answered = False
                continue
            if not ports.valid.value:
                assert held is None, f"{self.name}: an access was withdrawn before it was answered"
                continue
            access = ports.access()
            if held is None:
                held = access
                left = random.choice(self._delays)
            assert access == held, f"{self.name}: an access was changed before it was answered"
            if left:
                left -= 1
                continue
            self.log.append(access)
            answer = self._serve(access)
            ports.done.value = 1
            ports.error.value = answer.error
            ports.read_data.value = answer.data
            answered = True


class Words:
    """Registers that are words of a memory, by address: to be served by a `BusResponder`."""

    def __init__(self) -> None:
        self.words: dict[int, int] = {}

    def serve(self, access: Access) -> Answer:
        """Read a word, or write it. A word that was never written is 0."""
        if access.data is not None:
            self.words[access.address] = access.data
        return Answer(self.words.get(access.address, 0))
