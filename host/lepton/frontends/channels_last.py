"""Images with channels last: removes the transposes that a front end for (N, C, H, W) puts around its layers.

A transpose is not done where it stands. The operators behind it work on the tensor as it lies, with their axes
renamed, and it is done where somebody needs the other order: for most networks nowhere but at inputs and outputs.
Front ends transpose around every convolution and pool and leave the rest to this pass.
"""

from dataclasses import replace

import numpy as np

from lepton.graph import (
    Add,
    Arithmetic,
    Concat,
    Dequantize,
    Div,
    FullyConnected,
    Gather,
    Graph,
    Maximum,
    Minimum,
    Mul,
    Node,
    Op,
    Pad,
    Prelu,
    Quantization,
    Quantize,
    Recenter,
    Reduce,
    Reshape,
    Slice,
    Softmax,
    Sub,
    Table,
    Tensor,
    Transpose,
    Unary,
)

from .movement import collapse_movement
from .views import View, grouped_order, split_reshape

_ALONE = (Table, Unary, Quantize, Dequantize, Recenter)
_TOGETHER = (Add, Sub, Mul, Div, Maximum, Minimum, Prelu)


def channels_last(graph: Graph) -> Graph:
    """The same network with as few transposes as possible; inputs and outputs keep their layout and names."""
    return collapse_movement(_ChannelsLast(graph).result)


class _ChannelsLast:
    def __init__(self, graph: Graph):
        self.source = graph
        self.result = Graph(graph.name, inputs=list(graph.inputs), outputs=list(graph.outputs),
                            arithmetic=graph.arithmetic)
        self.views: dict[str, View] = {}
        self.done: dict[View, str] = {}  # views that have been made tensors
        self.reserved = set(graph.tensors)
        for name in graph.inputs:
            self.result.tensors[name] = graph.tensors[name]
            self.views[name] = View.of(name, graph.tensors[name].shape)
        for node in graph.nodes:
            self.node = node
            rule = next((rule for kinds, rule in _RULES if isinstance(node.op, kinds)), None)
            if len(node.outputs) != 1 or rule is None or not rule(self, node):
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
        number, candidate = 1, name
        while candidate in self.reserved:
            candidate, number = f"{name}.{number}", number + 1
        self.reserved.add(candidate)
        return candidate

    def stored(self, name: str) -> str:
        """The name for a tensor that holds the value `name` in another order."""
        return self.fresh(name) if name in self.result.outputs else name

    def as_it_is(self, node: Node):
        inputs = [self.tensor(name) for name in node.inputs]
        for name in node.outputs:
            self.result.tensors[name] = self.source.tensors[name]
            self.views[name] = View.of(name, self.source.tensors[name].shape)
        self.result.nodes.append(Node(node.op, inputs, list(node.outputs), node.name))

    def output(self, name: str):
        view = self.views[name]
        if view.plain and view.stored == name:
            return
        like, source = self.source.tensors[name], self.result.tensors
        self.node = Node(Reshape(view.shape), [], [], name)
        if view.keeps_elements:
            self.emit(Reshape(view.shape), [view.stored], name, view.shape, like)
        elif view.only_transposed:
            self.emit(Transpose(view.order), [view.stored], name, view.shape, like)
        else:
            stored = self.emit(Transpose(view.order), [view.stored], self.fresh(f"{name}.t"), view.transposed,
                               source[view.stored])
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

    def made(self, view: View) -> str:
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

    def transposed(self, name: str) -> View:
        """The value `name` as a transpose of a tensor, which may have to be made by a reshape."""
        view = self.views[name]
        if view.only_transposed:
            return view
        split = split_reshape(view)
        if split is None:  # bring the elements that are to be joined side by side, the rest stays where it lies
            order = grouped_order(view)
            if order == view.order:
                stored = self.made(view)
                return View.of(stored, view.shape)
            moved = View.of(view.stored, view.extents).then(order)
            stored = self.made(moved)
            places = tuple(order.index(axis) for axis in view.order)
            view = View(stored, moved.shape, places, view.shape)
            split = split_reshape(view)
        extents, order = split
        stored = self.made(View.of(view.stored, view.extents).reshaped(extents))
        return View(stored, extents, order, view.shape)

    # Rules: each returns whether it took the node

    def transpose(self, node: Node) -> bool:
        if self.constant(node.inputs[0]) is not None:
            return False
        self.views[node.outputs[0]] = self.transposed(node.inputs[0]).then(node.op.order)
        return True

    def reshape(self, node: Node) -> bool:
        if self.constant(node.inputs[0]) is not None:
            return False
        shape = self.source.tensors[node.outputs[0]].shape
        view = self.views[node.inputs[0]].reshaped(shape)
        if view.keeps_elements and view.shape == view.extents:
            view = View.of(view.stored, shape)
        self.views[node.outputs[0]] = view
        return True

    def alone(self, node: Node) -> bool:
        """One computed input, element by element: works on the elements as they are stored."""
        computed = [name for name in node.inputs if self.constant(name) is None]
        if len(computed) != 1 or self.views[computed[0]].plain:
            return False
        name = computed[0]
        view, output = self.views[name], self.source.tensors[node.outputs[0]]
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
        view = View.of(output.name, output.shape).then(order)
        stored = self.emit(node.op, inputs, self.stored(output.name), view.shape, output)
        self.views[output.name] = _seen(stored, view.shape, order)
        return True

    def common_order(self, node: Node, rank: int) -> tuple[int, ...] | None:
        """For each stored axis the axis of the value; None where nothing is transposed."""
        best, most = None, 0
        for name in node.inputs:
            if self.constant(name) is None and len(self.source.tensors[name].shape) == rank:
                view = self.transposed(name)
                size = int(np.prod(view.shape))
                if size > most:
                    best, most = view, size
        if best is None or best.order == tuple(range(rank)):
            return None
        return tuple(best.order.index(axis) for axis in range(rank))

    def in_order(self, name: str, order: tuple[int, ...]) -> str:
        """The tensor of value `name` with its axes in the given order; fewer axes get dimensions of 1 in front."""
        tensor, rank = self.source.tensors[name], len(order)
        shape = (1,) * (rank - len(tensor.shape)) + tensor.shape
        if tensor.data is None:
            view = self.views[name]
            if view.shape != shape:
                view = View.of(self.made(view), view.shape).reshaped(shape)
                view = View.of(self.made(view), shape)
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

    def concat(self, node: Node) -> bool:
        output = self.source.tensors[node.outputs[0]]
        order = self.common_order(node, len(output.shape))
        if order is None:
            return False
        inputs = [self.in_order(name, order) for name in node.inputs]
        shape = tuple(output.shape[axis] for axis in order)
        op = Concat(order.index(node.op.axis % len(order)))
        self.views[output.name] = _seen(self.emit(op, inputs, self.stored(output.name), shape, output), shape, order)
        return True

    def along_axes(self, node: Node) -> bool:
        """Operators with one computed input that name axes, and keep their number or drop some."""
        name = node.inputs[0]
        if isinstance(node.op, Gather) and (values := self.constant(name)) is not None and values.data.ndim == 1:
            return self.alone(node)  # looks each index up
        if self.constant(name) is not None or self.views[name].plain:
            return False
        if isinstance(node.op, Reduce) and not node.op.selects and self.source.arithmetic is Arithmetic.FLOAT and (
                self.source.tensors[name].dtype == np.float32):
            return False  # a sum of floats depends on their order
        if isinstance(node.op, Gather) and (
                (index := self.constant(node.inputs[1])) is None or index.data.ndim > 1):
            return False
        view, output = self.transposed(name), self.source.tensors[node.outputs[0]]
        stored_of = view.order  # axis of the value -> stored axis
        value_of = tuple(stored_of.index(axis) for axis in range(len(stored_of)))
        op, rank = node.op, len(stored_of)
        dropped: set[int] = set()  # axes of the value
        if isinstance(op, Slice):
            op = Slice(*(tuple(values[axis] for axis in value_of) for values in (op.begin, op.end, op.step)))
        elif isinstance(op, Pad):
            op = replace(op, widths=tuple(op.widths[axis] for axis in value_of))
        elif isinstance(op, Reduce):
            dropped = set() if op.keep_dims else {axis % rank for axis in op.axes}
            op = replace(op, axes=tuple(sorted(stored_of[axis % rank] for axis in op.axes)))
        else:
            if isinstance(op, Gather) and index.data.ndim == 0:
                dropped = {op.axis % rank}
            op = replace(op, axis=stored_of[op.axis % rank])
        kept = [axis for axis in range(rank) if axis not in dropped]
        order = tuple(kept.index(axis) for axis in value_of if axis in kept)
        shape = tuple(output.shape[axis] for axis in order)
        inputs = [view.stored, *(self.tensor(extra) for extra in node.inputs[1:])]
        self.views[output.name] = _seen(self.emit(op, inputs, self.stored(output.name), shape, output), shape, order)
        return True

    def fully_connected(self, node: Node) -> bool:
        """A flattened image as input: the weights take the order in which the image is stored."""
        name, weights = node.inputs[0], self.constant(node.inputs[1])
        view = self.views.get(name)
        if view is None or weights is None or view.keeps_elements or int(np.prod(view.shape)) != weights.shape[1]:
            return False
        data = np.empty_like(weights.data)
        data[:, view.elements()] = weights.data
        data.flags.writeable = False
        permuted = self.fresh(f"{weights.name}.t")
        self.result.tensors[permuted] = replace(weights, name=permuted, data=data)
        view = View.of(view.stored, view.extents).reshaped(view.shape)
        inputs = [self.made(view), permuted, *(self.tensor(extra) for extra in node.inputs[2:])]
        output = self.source.tensors[node.outputs[0]]
        self.emit(node.op, inputs, output.name, output.shape, output)
        self.views[output.name] = View.of(output.name, output.shape)
        return True


def _seen(stored: str, extents: tuple[int, ...], order: tuple[int, ...]) -> View:
    """The view whose axis order[i] is the stored axis i."""
    back = tuple(order.index(axis) for axis in range(len(order)))
    return View(stored, tuple(extents), back, tuple(extents[axis] for axis in back))


_RULES = [
    (Transpose, _ChannelsLast.transpose), (Reshape, _ChannelsLast.reshape), (_ALONE, _ChannelsLast.alone),
    (_TOGETHER, _ChannelsLast.together), (Concat, _ChannelsLast.concat),
    ((Slice, Pad, Reduce, Softmax, Gather), _ChannelsLast.along_axes),
    (FullyConnected, _ChannelsLast.fully_connected),
]
