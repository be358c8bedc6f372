"""What the compiler hands to the runtime: `CompiledModel`.

Running one means keeping a table of named host arrays and taking the steps in order:

    values = {model.inputs[0].name: image}
    for state in model.states: values[state.read] = what the last run left, at first state.initial
    for step in model.steps:
        ChipStep: write `step.program` to region PROGRAM, each of `step.inputs` to region INPUT
                  (`binding.to_device(values[binding.name])` at `binding.offset`), give the job its region
                  sizes and streams, ring the doorbell; then read each of `step.outputs` from region OUTPUT
                  (`values[binding.name] = binding.from_device(...)`)
        HostStep: `step.run(values)`
    for state in model.states: keep values[state.written] for the next run
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from ..arch import Region
from ..text import dimensions, fact_lines, grouped, scaled, shortened, table
from . import container
from .container import ModelFileError
from .steps import BufferInfo, ChipStep, HostStep, ModelParts, TensorInfo


@dataclass(eq=False)
class CompiledModel(ModelParts):
    """A network compiled for one chip configuration. `print` shows its layers with the cycles that they should take."""

    file_digest: str = ""  # sha256 of the file that it was read from; empty for a model that was just compiled

    def __str__(self) -> str:
        rows = [[shortened(layer.name, 24), shortened(layer.op, 15),
                 dimensions(layer.output_shape[1:] or layer.output_shape), scaled(layer.macs) if layer.macs else "",
                 grouped(layer.weight_bytes), grouped(round(layer.plan.cycles)) if layer.plan else "",
                 layer.plan.bound if layer.plan else ""] for layer in self.layers]
        rows.append(["total", "", "", scaled(self.macs), grouped(sum(layer.weight_bytes for layer in self.layers)),
                     grouped(round(self.cycles)), ""])
        layers = table(("layer", "operator", "output", "MACs", "weights", "cycles", "bound by"), rows, 3, total=True)
        host = [[shortened(placed.name, 24), placed.op, placed.reason] for placed in self.placement
                if placed.where == "host"]
        parts = [fact_lines(self.facts()), layers]
        if host:
            parts.append(table(("on the host", "operator", "why"), host, 3))
        return "\n\n".join(parts)

    def facts(self) -> list[tuple[str, str]]:
        """Layers, inputs, outputs and size, by name."""
        def tensors(infos: list[TensorInfo]) -> str:
            return ", ".join(f"{t.name} {dimensions(t.shape)} {t.dtype}" for t in infos)

        programs = [len(step.program) for step in self.steps if isinstance(step, ChipStep)]
        host = len(self.steps) - len(programs)
        return [
            ("network", f"{self.name}: {len(self.layers)} layers, {scaled(self.macs)} MACs, "
                        f"{grouped(sum(layer.weight_bytes for layer in self.layers))} bytes of weights"),
            ("input", tensors(self.inputs)),
            ("output", tensors(self.outputs)),
            *([("state", tensors([s.tensor for s in self.states]))] if self.states else []),
            ("program", f"{grouped(sum(programs))} bytes" + (f"; {host} step{'s' * (host > 1)} on the host" if host
                                                             else "")),
        ]

    @property
    def cycles(self) -> float:
        """Cycles of all jobs that the compiler expects, from doorbell to completion."""
        return sum(step.cycles for step in self.steps if isinstance(step, ChipStep))

    @property
    def macs(self) -> int:
        """Of what runs on the chip."""
        return sum(layer.macs for layer in self.layers)

    @property
    def buffers(self) -> list[BufferInfo]:
        """Every device buffer, step by step."""
        found = []
        for index, step in enumerate(self.steps):
            if isinstance(step, HostStep):
                continue
            found.append(BufferInfo(index, "program", Region.PROGRAM, 0, len(step.program)))
            found += [BufferInfo(index, b.name, Region.INPUT, b.offset, b.size) for b in step.inputs]
            found += [BufferInfo(index, b.name, Region.OUTPUT, b.offset, b.size) for b in step.outputs]
            if step.scratch_size:
                found.append(BufferInfo(index, "scratch", Region.SCRATCH, 0, step.scratch_size))
        return found

    def digest(self) -> str:
        """sha256 of the model's file: of the bytes that were read, or of those that `save` would write."""
        return self.file_digest or hashlib.sha256(dump(self)).hexdigest()

    def save(self, path: str | Path) -> None:
        """Write one file; the same model gives the same bytes."""
        Path(path).write_bytes(dump(self))

    @classmethod
    def load(cls, path: str | Path) -> "CompiledModel":
        """Read a file that `save` wrote. Raises `ModelFileError` for any other."""
        try:
            data = Path(path).read_bytes()
        except OSError as error:
            raise ModelFileError(f"{path}: cannot be read: {error.strerror}") from error
        return parse(data, str(path))


def dump(model: CompiledModel) -> bytes:
    """The bytes of the file. Equal models give equal bytes."""
    return container.write(model)


def parse(data: bytes, source: str = "model") -> CompiledModel:
    """The model in the bytes of a file; `source` names it in errors. Raises `ModelFileError`."""
    return CompiledModel(**vars(container.read(data, source)), file_digest=hashlib.sha256(data).hexdigest())
