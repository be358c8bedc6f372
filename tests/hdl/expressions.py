"""What expressions of signals give, in Amaranth's simulator: for functions that write hardware and are no blocks."""

from collections.abc import Iterable, Mapping, Sequence

from amaranth.hdl import Module, Signal, Value
from amaranth.sim import Simulator


def evaluated(m: Module, inputs: Sequence[Signal], outputs: Mapping[str, Value],
              rows: Iterable[Sequence[int]]) -> list[dict[str, int]]:
    """The outputs by name for each row of values of the inputs. `m` holds the statements that outputs need."""
    results = {name: Signal(Value.cast(value).shape(), name=name) for name, value in outputs.items()}
    m.d.comb += [results[name].eq(value) for name, value in outputs.items()]
    found: list[dict[str, int]] = []

    async def look(context) -> None:
        for row in rows:
            for signal, value in zip(inputs, row, strict=True):
                context.set(signal, value)
            await context.delay(1e-9)
            found.append({name: context.get(result) for name, result in results.items()})

    simulator = Simulator(m)
    simulator.add_testbench(look)
    simulator.run()
    return found
