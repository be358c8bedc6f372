"""From a file to an ONNX model that is safe to hand on: parsed, checked, self-contained, of fixed shapes."""

import os
import re
from collections.abc import Mapping
from math import prod
from os import PathLike
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from lepton.graph import GraphError

from .recurrent import with_recurrent_steps
from .worker import LARGEST_TENSOR, MOST_DIMENSIONS, constants

DOMAINS = {"", "ai.onnx", "com.microsoft"}
OLDEST_OPSET = 7  # ONNX Runtime supports operators from this opset on (its docs/Versioning.md)
# Checked first, since ONNX's shape inference (1.22) never ends on others, such as "...-".
_EQUATION = re.compile(rb"(?:[A-Za-z, ]|\.\.\.)*(?:->(?:[A-Za-z ]|\.\.\.)*)?")

Source = str | PathLike[str] | bytes | bytearray | memoryview | onnx.ModelProto
Shapes = Mapping[str, tuple[int, ...]]


def read_model(source: Source, shapes: Shapes | None = None) -> tuple[onnx.ModelProto, str]:
    """The model with all data inside and every input's shape fixed, and a name for it.

    An open batch (first dimension) becomes 1; other open dimensions need `shapes`, by input name. Raises GraphError
    for what is malformed or outside the limits above, OSError when a file cannot be read.
    """
    model, name, path = _parse(source)
    graph = model.graph
    _check_opsets(model)
    _check_nodes(graph)
    _load_external_data(graph, path)
    known = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in known]  # IR 3 lists the constants among them
    del graph.input[:]
    graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)  # from here on constants need not be inputs
    if not inputs or not graph.output:
        raise GraphError(f"the network has {len(inputs)} inputs and {len(graph.output)} outputs, at least 1 of each "
                         "is needed")
    for node in graph.node:  # so that layers keep a name the author knows when ONNX Runtime fuses them
        node.name = node.name or next(filter(None, node.output), "")
    _fix_shapes(list(graph.input), dict(shapes or {}))
    with_recurrent_steps(model)
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")  # it may name the batch that was open
    return model, name


def _parse(source: Source) -> tuple[onnx.ModelProto, str, Path | None]:
    path = Path(source) if isinstance(source, str | PathLike) else None
    name = "network" if path is None else path.stem
    if isinstance(source, onnx.ModelProto):
        model = onnx.ModelProto()
        model.CopyFrom(source)
    else:
        data = Path(source).read_bytes() if isinstance(source, str | PathLike) else bytes(source)
        try:
            model = onnx.load_model_from_string(data)
        except (DecodeError, RuntimeError, ValueError) as error:
            raise GraphError(f"not an ONNX file, or a damaged one: {error}") from None
    if not model.graph.node:
        raise GraphError("not an ONNX file, a damaged one, or a network without operators")
    _check_text(model)
    return model, model.graph.name if model.graph.name.isidentifier() else name, path


def _check_text(model: onnx.ModelProto) -> None:
    """Raises GraphError for names that are not UTF-8: protobuf returns those as bytes, where all others are str."""
    graph = model.graph
    names = [graph.name, *(opset.domain for opset in model.opset_import),
             *(value.name for value in [*graph.input, *graph.output, *graph.initializer])]
    for node in graph.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output, *(a.name for a in node.attribute)]
    for name in names:
        if isinstance(name, bytes):
            raise GraphError(f"a damaged ONNX file: the name {name!r} is not UTF-8")


def _check_opsets(model: onnx.ModelProto) -> None:
    newest = onnx.defs.onnx_opset_version()
    versions = {opset.domain: opset.version for opset in model.opset_import}
    for domain, version in versions.items():
        if domain in ("", "ai.onnx") and not OLDEST_OPSET <= version <= newest:
            raise GraphError(f"the model uses ONNX opset {version}; supported are {OLDEST_OPSET} to {newest}")
    if not {"", "ai.onnx"} & set(versions):
        raise GraphError("the model does not say which ONNX opset it uses")
    for node in model.graph.node:
        if node.domain not in DOMAINS and not any(f.domain == node.domain for f in model.functions):
            raise GraphError(f"operator {node.op_type} of domain {node.domain!r} is not supported; supported are the "
                             "domains ai.onnx and com.microsoft")


def _check_nodes(graph: onnx.GraphProto) -> None:
    if graph.sparse_initializer:
        raise GraphError(f"tensor {graph.sparse_initializer[0].values.name!r} is sparse; only dense tensors are "
                         "supported")
    known = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input}
    made = {name for node in graph.node for name in node.output}
    for node in graph.node:
        where = f"{node.op_type} {node.name or (node.output[0] if node.output else '')!r}"
        if any(a.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS) for a in node.attribute):
            raise GraphError(f"{where}: control flow is not supported; the network must be a plain graph")
        for equation in (a.s for a in node.attribute if (node.op_type, a.name) == ("Einsum", "equation")):
            if not _EQUATION.fullmatch(equation):
                raise GraphError(f"{where}: the equation must be letters, commas, '...' and one '->', not "
                                 f"{equation[:80].decode(errors='replace')!r}")
        for name in filter(None, node.input):
            if name not in known:
                why = ("before any operator has computed it: the graph has a cycle, or is not sorted"
                       if name in made else "which nothing computes")
                raise GraphError(f"{where} reads {name!r} {why}")
        for name in filter(None, node.output):
            if name in known:
                raise GraphError(f"{where} computes {name!r}, which is there already")
            known.add(name)
    for value in graph.output:
        if value.name not in known:
            raise GraphError(f"the network's output {value.name!r} is computed by no operator")


def _load_external_data(graph: onnx.GraphProto, model: Path | None) -> None:
    for tensor in filter(uses_external_data, constants(graph)):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        location = entries.get("location", "")
        if model is None:
            raise GraphError(f"tensor {tensor.name!r} is stored in the file {location!r} next to the model; give the "
                             "model's path instead of its bytes")
        path = _data_file(model, location)
        if path is None:
            raise GraphError(f"tensor {tensor.name!r} is stored in {location!r}, which must be a file in the model's "
                             "folder")
        try:
            offset = int(entries.get("offset", 0))
            length = int(entries["length"]) if "length" in entries else None
            size = path.stat().st_size
            if offset < 0 or (length or 0) < 0 or offset + (length or 0) > size:
                raise ValueError(f"{length} bytes at {offset} of a file of {size}")
            with path.open("rb") as file:
                file.seek(offset)
                tensor.raw_data = file.read(size - offset if length is None else length)
        except (OSError, ValueError, MemoryError) as error:
            raise GraphError(f"tensor {tensor.name!r} cannot be read from {location!r}: {error}") from None
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]


def _data_file(model: Path, location: str) -> Path | None:
    """The file `location` in the model's folder, or in that of the file which the model's path links to; else None.

    As in ONNX Runtime, the target of a link to data must be in one of these two folders, too: download caches keep
    model and data as links to files in one folder.
    """
    folders = [model.absolute().parent.resolve(), model.resolve().parent]
    for folder in folders if location and not Path(location).is_absolute() else ():
        plain = Path(os.path.normpath(folder / location))
        path = plain.resolve()
        if plain.is_relative_to(folder) and any(path.is_relative_to(f) for f in folders) and path.is_file():
            return path
    return None


def _fix_shapes(inputs: list[onnx.ValueInfoProto], shapes: dict[str, tuple[int, ...]]) -> None:
    for value in inputs:
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            raise GraphError(f"input {value.name!r} must be a tensor of known rank")
        dims = value.type.tensor_type.shape.dim
        given = shapes.pop(value.name, None)
        if given is not None and len(given) != len(dims):
            raise GraphError(f"input {value.name!r} has {len(dims)} dimensions, the shape given for it {tuple(given)}")
        for axis, dim in enumerate(dims):
            stated = dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else None  # some files have -1
            extent = 1 if stated is None and axis == 0 else stated  # an open batch is 1
            if given is not None:
                if stated not in (None, given[axis]):
                    raise GraphError(f"input {value.name!r} has {stated} in dimension {axis}, not {given[axis]}")
                extent = int(given[axis])
            if extent is None:
                like = ",".join(str(d.dim_value) if d.HasField("dim_value") and d.dim_value >= 0
                                else "1" if not i else d.dim_param or "N" for i, d in enumerate(dims))
                raise GraphError(f"input {value.name!r} leaves dimension {axis} ({dim.dim_param or 'unnamed'}) open; "
                                 f"only the batch may be: give its shape, as in --shape {value.name}={like} with "
                                 f"numbers, or shapes={{{value.name!r}: (…)}} in Python")
            if extent < 1:
                raise GraphError(f"input {value.name!r}: dimension {axis} must be at least 1, not {extent}")
            dim.dim_value = extent
        if len(dims) > MOST_DIMENSIONS or prod(dim.dim_value for dim in dims) > LARGEST_TENSOR:
            raise GraphError(f"input {value.name!r} of shape {tuple(d.dim_value for d in dims)} is too large: at most "
                             f"{LARGEST_TENSOR} elements in {MOST_DIMENSIONS} dimensions are supported")
    if shapes:
        raise GraphError(f"shapes are given for {', '.join(map(repr, shapes))}, which the network does not have")
