"""The `.lepton` file: a zip with `manifest.json` and the program images, byte for byte reproducible."""

import io
import json
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import asdict, fields
from typing import Any

import numpy as np

from .. import graph
from ..arch import ChipConfig, Engine, Stream
from ..arch.commands import ENGINE_RECORDS
from ..graph.verify import verify_node
from .layouts import Blocked, Rows
from .steps import Binding, ChipStep, HostStep, LayerInfo, LayerPlan, ModelParts, Placed, StateInfo, TensorInfo

Json = dict[str, Any]  # an object of the manifest: its values are checked where they are used
Blobs = Callable[[str], bytes]  # the contents of a file in the archive

FORMAT = "lepton-model"
VERSION = 4  # raised with every change of the format; a file of another version must be compiled again
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold; a real one would differ from run to run
_LAYOUTS = {"blocked": Blocked, "rows": Rows}
# Types of host tensors, by numpy's name with the byte order.
_DTYPES = {np.dtype(t).str: np.dtype(t) for t in
           (np.int8, np.uint8, np.int16, np.int32, np.int64, np.float32, np.float64, np.bool_)}

# What reading a zip that is none, or a damaged one, may raise (a flipped bit can ask for encryption).
_UNREADABLE = (zipfile.BadZipFile, EOFError, zlib.error, OSError, RuntimeError)


class ModelFileError(ValueError):
    """The file is not a compiled model, is damaged, or was written by another version."""


def _tuples(value: Any) -> Any:
    """A value from JSON with tuples in place of lists, as dataclasses have them."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value


def _binding(binding: Binding) -> Json:
    kind = next(name for name, cls in _LAYOUTS.items() if isinstance(binding.layout, cls))
    return {"name": binding.name, "offset": binding.offset, "layout": {"kind": kind, **asdict(binding.layout)},
            "dtype": binding.dtype, "table": binding.table.hex()}


def _parse_binding(value: Json) -> Binding:
    layout = {name: _tuples(v) for name, v in value["layout"].items()}
    if value["dtype"] not in ("int8", "uint8") or len(value["table"]) not in (0, 512):
        raise ValueError(f"binding {value['name']!r} must be of int8 or uint8 and have no table or one of 256 bytes")
    return Binding(value["name"], value["offset"], _LAYOUTS[layout.pop("kind")](**layout), value["dtype"],
                   bytes.fromhex(value["table"]))


def _step(index: int, step: ChipStep | HostStep) -> Json:
    if isinstance(step, HostStep):
        return {"kind": "host", "name": step.name, "op": type(step.op).__name__, "parameters": _parameters(step.op),
                "arithmetic": step.arithmetic.value, "output": _host_tensor(step.output),
                "inputs": [None if t is None else _host_tensor(t, _constant_name(index, i))
                           for i, t in enumerate(step.inputs)]}
    return {"kind": "chip", "name": step.name, "program": f"program{index}.bin",
            "streams": {e.name: [s.offset, s.count] for e, s in step.streams.items()},
            "inputs": [_binding(b) for b in step.inputs], "outputs": [_binding(b) for b in step.outputs],
            "input_size": step.input_size, "output_size": step.output_size, "scratch_size": step.scratch_size,
            "cycles": step.cycles}


def _constant_name(step: int, operand: int) -> str:
    return f"constant{step}_{operand}.bin"


def _parameters(op: graph.Op) -> Json:
    return {name: value.hex() if isinstance(value, bytes) else value for name, value in asdict(op).items()}


def _host_tensor(tensor: graph.Tensor, constant: str = "") -> Json:
    """Scales are written as the float64 that equals each float32, so that they come back as they were."""
    q = tensor.quantization
    return {
        "name": tensor.name, "shape": [int(n) for n in tensor.shape], "dtype": np.dtype(tensor.dtype).str,
        "quantization": None if q is None else {
            "scale": [float(v) for v in q.scale.reshape(-1)], "zero_point": [int(v) for v in q.zero_point.reshape(-1)],
            "axis": q.axis},
        "constant": constant if tensor.data is not None else None,
    }


def _parse_host_tensor(value: Json, blobs: Blobs) -> graph.Tensor:
    shape = tuple(value["shape"])
    dtype = _DTYPES[value["dtype"]]
    q = value["quantization"]
    if not all(isinstance(n, int) and 0 <= n < 1 << 31 for n in shape):
        raise ValueError(f"shape {shape} of {value['name']!r}")
    quantization = None if q is None else graph.Quantization(
        np.array(q["scale"], np.float32), np.array(q["zero_point"], np.int32), q["axis"])
    data = None
    if value["constant"] is not None:
        data = np.frombuffer(blobs(value["constant"]), dtype).reshape(shape)
    return graph.Tensor(value["name"], shape, dtype, quantization, data)


def _tensor(value: Json) -> TensorInfo:
    return TensorInfo(**{k: _tuples(v) for k, v in value.items()})


def _layer(value: Json) -> LayerInfo:
    attributes = {k: _tuples(v) for k, v in value.items()}
    if value["plan"] is not None:
        attributes["plan"] = LayerPlan(**{k: _tuples(v) for k, v in value["plan"].items()})
    return LayerInfo(**attributes)


def _state_name(state: int) -> str:
    return f"state{state}.bin"


def _parse_state(index: int, value: Json, blobs: Blobs) -> StateInfo:
    tensor = _tensor(value["tensor"])
    dtype = next((known for known in _DTYPES.values() if known.name == tensor.dtype), None)
    if dtype is None:
        raise ValueError(f"type {tensor.dtype!r} of state {tensor.name!r}")
    initial = np.frombuffer(blobs(_state_name(index)), dtype).reshape(tensor.shape)
    return StateInfo(tensor, value["read"], value["written"], initial)


def _check_states(model: ModelParts, source: str) -> None:
    """Raises `ModelFileError` where two states have one name, or no step makes the value of one."""
    made = {t.name for t in model.inputs} | {state.read for state in model.states}
    for step in model.steps:
        made |= {step.output.name} if isinstance(step, HostStep) else {b.name for b in step.outputs}
    for state in model.states:
        if state.written not in made or [other.name for other in model.states].count(state.name) > 1:
            raise ModelFileError(f"{source}: damaged: state {state.name!r} must have a name of its own and be written "
                                 f"by a step, not by {state.written!r}")


def _check(step: ChipStep, source: str) -> None:
    """Raises `ModelFileError` where a stream or a buffer leaves its region."""
    for engine, stream in step.streams.items():
        end = stream.offset + stream.count * ENGINE_RECORDS[engine].size
        if min(stream.offset, stream.count) < 0 or stream.offset % 64 or end > len(step.program):
            raise ModelFileError(f"{source}: damaged: the {engine.name} stream of step {step.name!r} must lie in its "
                                 f"program of {len(step.program)} bytes, not at {stream.offset} with "
                                 f"{stream.count} commands")
    for bindings, size in ((step.inputs, step.input_size), (step.outputs, step.output_size)):
        for binding in bindings:
            if not 0 <= binding.offset <= size - binding.size:
                raise ModelFileError(f"{source}: damaged: buffer {binding.name!r} of step {step.name!r} must lie in "
                                     f"its region of {size} bytes, not at {binding.offset} with {binding.size}")


def _check_host(step: HostStep) -> None:
    """Raises `GraphError`, a ValueError, where the step breaks its operator's contract."""
    tensors = [t for t in step.inputs if t is not None]
    network = graph.Graph(step.name, {t.name: t for t in (*tensors, step.output)}, arithmetic=step.arithmetic)
    network.nodes = [graph.Node(step.op, ["" if t is None else t.name for t in step.inputs], [step.output.name],
                                step.name)]
    network.inputs = list(dict.fromkeys(t.name for t in tensors if t.data is None))
    network.outputs = [step.output.name]
    verify_node(network, network.nodes[0], set(network.inputs))


def _parse_step(value: Json, blobs: Blobs) -> ChipStep | HostStep:
    if value["kind"] == "host":
        kind = graph.OPERATORS[value["op"]]
        parameters = {k: _tuples(v) for k, v in value["parameters"].items()}
        parameters |= {field.name: bytes.fromhex(parameters[field.name]) for field in fields(kind)
                       if field.type is bytes}
        step = HostStep(
            value["name"], kind(**parameters), graph.Arithmetic(value["arithmetic"]),
            tuple(None if t is None else _parse_host_tensor(t, blobs) for t in value["inputs"]),
            _parse_host_tensor(value["output"], blobs))
        _check_host(step)
        return step
    return ChipStep(
        value["name"], blobs(value["program"]),
        {Engine[name]: Stream(*numbers) for name, numbers in value["streams"].items()},
        tuple(map(_parse_binding, value["inputs"])), tuple(map(_parse_binding, value["outputs"])),
        value["input_size"], value["output_size"], value["scratch_size"],
        value["cycles"])


def _plain(value: np.generic) -> Any:
    """A numpy scalar, which a front end may have left in an operator, as Python's."""
    return value.item()


def write(model: ModelParts) -> bytes:
    """The bytes of the file. Equal models give equal bytes."""
    manifest = {
        "format": FORMAT, "version": VERSION, "name": model.name, "config": asdict(model.config),
        "config_hash": model.config_hash, "source_hash": model.source_hash,
        "inputs": [asdict(t) for t in model.inputs], "outputs": [asdict(t) for t in model.outputs],
        "steps": [_step(i, s) for i, s in enumerate(model.steps)],
        "layers": [asdict(layer) for layer in model.layers],
        "placement": [asdict(row) for row in model.placement],
        "states": [{"tensor": asdict(s.tensor), "read": s.read, "written": s.written} for s in model.states],
    }
    entries = [("manifest.json", json.dumps(manifest, indent=1, sort_keys=True, default=_plain).encode())]
    for i, step in enumerate(model.steps):
        if isinstance(step, ChipStep):
            entries.append((f"program{i}.bin", step.program))
        else:
            entries += [(_constant_name(i, k), np.ascontiguousarray(t.data).tobytes())
                        for k, t in enumerate(step.inputs) if t is not None and t.data is not None]
    entries += [(_state_name(i), np.ascontiguousarray(s.initial).tobytes()) for i, s in enumerate(model.states)]
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in entries:
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type = zipfile.ZIP_STORED  # deflate's output may change with the zlib version
            info.create_system = 3  # Unix (APPNOTE 4.4.2.2): the default is that of the machine
            archive.writestr(info, data)
    return out.getvalue()


def read(data: bytes, source: str) -> ModelParts:
    """What the bytes of a file hold; `source` names it in errors. Raises `ModelFileError`."""
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ValueError("it has compressed entries, which could unpack to any size")
        manifest = json.loads(archive.read("manifest.json"))
    except (LookupError, ValueError, RecursionError, *_UNREADABLE) as error:
        raise ModelFileError(f"{source}: not a compiled model, or damaged ({error}); "
                             "compile the network again") from error
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise ModelFileError(f"{source}: not a compiled model: its manifest does not say format {FORMAT!r}")
    if manifest.get("version") != VERSION:
        raise ModelFileError(f"{source}: format version must be {VERSION}, not {manifest.get('version')!r}; "
                             "compile the network again with this version of lepton")
    try:
        config = ChipConfig(**manifest["config"])
        if config.hash != manifest["config_hash"]:
            raise ModelFileError(f"{source}: damaged: the configuration's hash must be {config.hash}, "
                                 f"not {manifest['config_hash']}; compile the network again")
        model = ModelParts(
            manifest["name"], config, manifest["source_hash"],
            [_tensor(t) for t in manifest["inputs"]], [_tensor(t) for t in manifest["outputs"]],
            [_parse_step(s, archive.read) for s in manifest["steps"]],
            [_layer(layer) for layer in manifest["layers"]],
            [Placed(**row) for row in manifest["placement"]],
            [_parse_state(i, state, archive.read) for i, state in enumerate(manifest["states"])])
    except ModelFileError:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, RecursionError, *_UNREADABLE) as error:
        raise ModelFileError(f"{source}: damaged ({error}); compile the network again") from error
    for step in model.steps:
        if isinstance(step, ChipStep):
            _check(step, source)
    _check_states(model, source)
    return model
