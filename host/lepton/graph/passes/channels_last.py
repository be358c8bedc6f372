"""Images with channels last: removes the transposes that a front end for (N, C, H, W) puts around its layers.

A transpose is delayed: the operators after it work on the tensor as stored, with their axes renumbered. It is executed
where an operator needs the other order, in most networks only at inputs and outputs.
Front ends transpose around every convolution and pool and leave the rest to this pass.
"""

from collections.abc import Callable
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from .. import (
    Concat,
    FullyConnected,
    Gather,
    Graph,
    Node,
    Op,
    Quantization,
    Reshape,
    Tensor,
    Transpose,
)
from .rewrite import unique
from .stored_view import StoredView, grouped_order, split_reshape


def channels_last(graph: Graph) -> Graph:
    """The same network with as few transposes as possible; inputs and outputs keep their layout and names."""
    return _ChannelsLast(graph).result


class _ChannelsLast:
    def __init__(self, graph: Graph):
        self.source = graph
        self.result = Graph(graph.name, inputs=list(graph.inputs), outputs=list(graph.outputs),
                            arithmetic=graph.arithmetic, notes=list(graph.notes), states=list(graph.states))
        self.views: dict[str, StoredView] = {}
        self.done: dict[StoredView, str] = {}  # views that exist as tensors too
        self.reserved = set(graph.tensors)
        for name in graph.inputs:
            self.result.tensors[name] = graph.tensors[name]
            self.views[name] = StoredView.of(name, graph.tensors[name].shape)
        for node in graph.nodes:
            self.node = node
            if not self.rewritten(node):
                self.as_it_is(node)
        for name in graph.outputs:
            self.output(name)

    # Results

    def emit(self, op: Op, inputs: list[str], name: str, shape: tuple[int, ...], like: Tensor) -> str:
        """A node with an output of the type and quantization of `like`."""
        self.result.tensors[name] = Tensor(name, tuple(map(int, shape)), like.dtype, like.quantization)
        self.result.nodes.append(Node(op, inputs, [name], self.node.name))
        return name

    def fresh(self, name: str) -> str:
        name = unique(name, self.reserved)
        self.reserved.add(name)
        return name

    def stored(self, name: str) -> str:
        """The name for a tensor that holds the value `name` in another order."""
        return self.fresh(name) if name in self.result.outputs else name

    def as_it_is(self, node: Node) -> None:
        inputs = [self.tensor(name) for name in node.inputs]
        for name in node.outputs:
            self.result.tensors[name] = self.source.tensors[name]
            self.views[name] = StoredView.of(name, self.source.tensors[name].shape)
        self.result.nodes.append(Node(node.op, inputs, list(node.outputs), node.name))

    def output(self, name: str) -> None:
        view = self.views[name]
        if view.plain and view.stored == name:
            return
        like = self.source.tensors[name]
        self.node = Node(Reshape(view.shape), [], [], name)
        if view.keeps_elements:
            self.emit(Reshape(view.shape), [view.stored], name, view.shape, like)
        elif view.only_transposed:
            self.emit(Transpose(view.order), [view.stored], name, view.shape, like)
        else:
            stored = self.emit(Transpose(view.order), [view.stored], self.fresh(f"{name}.t"), view.transposed,
                               self.result.tensors[view.stored])
            self.emit(Reshape(view.shape), [stored], name, view.shape, like)

    def constant(self, name: str) -> Tensor | None:
        tensor = self.source.tensors[name]
        return tensor if tensor.data is not None else None

    def tensor(self, name: str) -> str:
        """The name of a tensor that is the value `name`, constants included."""
        if not name:
            return name
        if self.constant(name) is not None:
            self.result.tensors[name] = self.source.tensors[name]
            return name
        return self.made(self.views[name])

    def made(self, view: StoredView) -> str:
        if view.plain:
            return view.stored
        if view not in self.done:
            like = self.result.tensors[view.stored]
            stored = view.stored
            if not view.keeps_elements:
                stored = self.emit(Transpose(view.order), [stored], self.fresh(f"{stored}.t"), view.transposed, like)
            if self.result.tensors[stored].shape != view.shape:
                stored = self.emit(Reshape(view.shape), [stored], self.fresh(f"{view.stored}.r"), view.shape, like)
            self.done[view] = stored
        return self.done[view]

    def transposed(self, name: str) -> StoredView:
        """The value `name` as a transpose of a tensor, which may have to be made by a reshape."""
        return self.as_transpose(self.views[name])

    def as_transpose(self, view: StoredView) -> StoredView:
        """The same value as a transpose of a tensor, without a reshape."""
        if view.only_transposed:
            return view
        split = split_reshape(view)
        if split is not None:
            extents, order = split
            stored = self.made(StoredView.of(view.stored, view.extents).reshaped(extents))
            return StoredView(stored, extents, order, view.shape)
        order = grouped_order(view)
        if order == view.order:
            return StoredView.of(self.made(view), view.shape)
        # A transpose that brings the elements to be joined side by side; then the view can be split.
        moved = StoredView.of(view.stored, view.extents).then(order)
        stored = self.made(moved)
        places = tuple(order.index(axis) for axis in view.order)
        return self.as_transpose(StoredView(stored, moved.shape, places, view.shape))

    # Rules; each returns False for a node that it leaves as it is

    def rewritten(self, node: Node) -> bool:
        rule = _RULES.get(type(node.op))
        if rule is not None:
            return rule(self, node, node.op)
        if node.op.elementwise:
            return self.alone(node) if len(node.inputs) == 1 else self.together(node)
        return self.along_axes(node)

    def transpose(self, node: Node, op: Transpose) -> bool:
        if self.constant(node.inputs[0]) is not None:
            return False
        self.views[node.outputs[0]] = self.transposed(node.inputs[0]).then(op.order)
        return True

    def reshape(self, node: Node, op: Reshape) -> bool:
        if self.constant(node.inputs[0]) is not None:
            return False
        shape = self.source.tensors[node.outputs[0]].shape
        view = self.views[node.inputs[0]].reshaped(shape)
        if view.keeps_elements and view.shape == view.extents:
            view = StoredView.of(view.stored, shape)
        self.views[node.outputs[0]] = view
        return True

    def alone(self, node: Node) -> bool:
        """One computed input, element by element: works on the elements as they are stored."""
        computed = [name for name in node.inputs if self.constant(name) is None]
        if len(computed) != 1 or self.views[computed[0]].plain:
            return False
        name = computed[0]
        view = self.views[name]
        output = self.source.tensors[node.outputs[0]]
        if any(t.quantization is not None and t.quantization.axis is not None
               for t in (output, self.source.tensors[name])):
            return False  # the axis of the scales would have to move, too
        if not view.only_transposed and split_reshape(view) is not None:
            view = self.transposed(name)
        inputs = [view.stored if source == name else self.tensor(source) for source in node.inputs]
        stored = self.emit(node.op, inputs, self.stored(output.name), view.extents, output)
        self.views[output.name] = replace(view, stored=stored)
        return True

    def together(self, node: Node) -> bool:
        """Several inputs, element by element: in the order in which the largest of them is stored."""
        output = self.source.tensors[node.outputs[0]]
        order = self.common_order(node, len(output.shape))
        if order is None:
            return False
        inputs = [self.in_order(name, order) for name in node.inputs]
        view = StoredView.of(output.name, output.shape).then(order)
        stored = self.emit(node.op, inputs, self.stored(output.name), view.shape, output)
        self.views[output.name] = StoredView.in_order(stored, view.shape, order)
        return True

    def common_order(self, node: Node, rank: int) -> tuple[int, ...] | None:
        """For each stored axis the axis of the value; None where nothing is transposed."""
        best: StoredView | None = None
        most = 0
        for name in node.inputs:
            if self.constant(name) is None and len(self.source.tensors[name].shape) == rank:
                view = self.transposed(name)
                size = prod(view.shape)
                if size > most:
                    best = view
                    most = size
        if best is None or best.order == tuple(range(rank)):
            return None
        return tuple(best.order.index(axis) for axis in range(rank))

    def in_order(self, name: str, order: tuple[int, ...]) -> str:
        """The tensor of value `name` with its axes in the given order; fewer axes get dimensions of 1 in front."""
        tensor = self.source.tensors[name]
        rank = len(order)
        shape = (1,) * (rank - len(tensor.shape)) + tensor.shape
        if tensor.data is None:
            view = self.views[name]
            if view.shape != shape:
                view = StoredView.of(self.made(view), view.shape).reshaped(shape)
                view = StoredView.of(self.made(view), shape)
            elif not view.only_transposed:
                view = self.transposed(name)
            return self.made(view.then(order))
        if tensor.data.size == 1 and len(tensor.shape) <= 1:
            return self.tensor(name)
        data = np.ascontiguousarray(tensor.data.reshape(shape).transpose(order))
        data.flags.writeable = False
        q = tensor.quantization
        if q is not None and q.axis is not None:
            q = Quantization(q.scale, q.zero_point, order.index(q.axis + rank - len(tensor.shape)))
        name = self.fresh(f"{name}.t")
        self.result.tensors[name] = Tensor(name, data.shape, data.dtype, q, data)
        return name

    def concat(self, node: Node, op: Concat) -> bool:
        output = self.source.tensors[node.outputs[0]]
        order = self.common_order(node, len(output.shape))
        if order is None:
            return False
        inputs = [self.in_order(name, order) for name in node.inputs]
        shape = tuple(output.shape[axis] for axis in order)
        op = op.permuted(tuple(order.index(axis) for axis in range(len(order))))
        stored = self.emit(op, inputs, self.stored(output.name), shape, output)
        self.views[output.name] = StoredView.in_order(stored, shape, order)
        return True

    def along_axes(self, node: Node) -> bool:
        """Operators with one computed input that name axes, and keep their number or drop some."""
        name = node.inputs[0]
        signature = self.source.signature(node)
        if self.constant(name) is not None or self.views[name].plain or node.op.layout_matters(signature):
            return False
        if node.op.permuted(tuple(range(len(self.views[name].shape)))) is None:
            return False  # the operator has no form for other orders of its axes
        view = self.transposed(name)
        output = signature.output
        stored_of = view.order  # axis of the value -> stored axis
        rank = len(stored_of)
        value_of = tuple(stored_of.index(axis) for axis in range(rank))
        op = node.op.permuted(stored_of)
        if op is None:
            return False
        dropped = node.op.dropped_axes(signature.inputs)
        kept = [axis for axis in range(rank) if axis not in dropped]
        order = tuple(kept.index(axis) for axis in value_of if axis in kept)
        shape = tuple(output.shape[axis] for axis in order)
        inputs = [view.stored, *(self.tensor(extra) for extra in node.inputs[1:])]
        stored = self.emit(op, inputs, self.stored(output.name), shape, output)
        self.views[output.name] = StoredView.in_order(stored, shape, order)
        return True

    def gather(self, node: Node, op: Gather) -> bool:
        values, index = (self.source.tensors[name] for name in node.inputs)
        if values.data is not None and values.data.ndim == 1:
            return self.alone(node)  # a table of values: element by element of the indices
        return index.data is not None and index.data.ndim <= 1 and self.along_axes(node)

    def fully_connected(self, node: Node, op: FullyConnected) -> bool:
        """A flattened image as input: the weights take the order in which the image is stored."""
        weights = self.source.tensors[node.inputs[1]]
        view = self.views.get(node.inputs[0])
        if view is None or weights.data is None or view.keeps_elements or prod(view.shape) != weights.shape[1]:
            return False
        data = np.empty_like(weights.data)
        data[:, view.elements()] = weights.data
        data.flags.writeable = False
        permuted = self.fresh(f"{weights.name}.t")
        self.result.tensors[permuted] = replace(weights, name=permuted, data=data)
        view = StoredView.of(view.stored, view.extents).reshaped(view.shape)
        inputs = [self.made(view), permuted, *(self.tensor(extra) for extra in node.inputs[2:])]
        output = self.source.tensors[node.outputs[0]]
        self.emit(node.op, inputs, output.name, output.shape, output)
        self.views[output.name] = StoredView.of(output.name, output.shape)
        return True


_RULES: dict[type[Op], Callable[[_ChannelsLast, Node, Any], bool]] = {
    Transpose: _ChannelsLast.transpose, Reshape: _ChannelsLast.reshape, Concat: _ChannelsLast.concat,
    Gather: _ChannelsLast.gather, FullyConnected: _ChannelsLast.fully_connected}
