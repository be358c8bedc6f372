"""PyTorch modules, through torch.export's ATen graph, to a `FloatNet`."""

import operator
import warnings

import torch
from torch.export.graph_signature import InputKind, OutputKind

from lepton.graph import GraphError

from .float_net import FloatNet, FloatNode, fold
from .geometry import output_size, same_padding

SUPPORTED = ("conv2d", "batch_norm", "linear", "add", "relu", "relu6", "hardtanh", "clamp", "max_pool2d", "avg_pool2d",
             "adaptive_avg_pool2d to 1 x 1", "mean over height and width", "flatten", "softmax", "zero pad", "dropout")


def lower(module: torch.nn.Module, example: torch.Tensor, name: str) -> FloatNet:
    """The float network that computes what `module` (in eval mode) does, folded; `example` has a batch of 1.

    Raises GraphError when torch.export cannot trace the module, for an operator or an option that is not
    supported, and when the result does not compute what the module does.
    """
    if module.training:
        raise GraphError("the module is in training mode: call module.eval() first")
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's own, about its own insides
            expected = module(example)
            program = torch.export.export(module, (example,)).run_decompositions({})
    except Exception as error:  # tracing runs the user's code: anything can be raised there
        raise GraphError(f"torch.export cannot trace the module: {type(error).__name__}: {error}") from error
    net = fold(_Lowering(program, name).net)
    expected = expected if isinstance(expected, tuple | list) else [expected]
    for node, ours, theirs in zip(net.outputs, net.run(example), expected, strict=True):
        limit = 1e-3 * max(1.0, float(theirs.abs().max()))
        if ours.shape != theirs.shape or not float((ours - theirs).abs().max()) <= limit:
            raise GraphError(f"the lowered network does not compute what the module does at {node.name}: shape "
                             f"{tuple(ours.shape)} and {tuple(theirs.shape)}; please report this module")
    return net


class _Lowering:
    def __init__(self, program, name: str):
        self.values: dict = {}  # torch.fx node: FloatNode, or the tensor of a parameter
        self.net = FloatNet(name, [], [])
        self.names: set[str] = set()
        self.read_inputs(program)
        if sum(node.kind == "input" for node in self.net.nodes) != 1:
            raise GraphError(f"the module must have 1 input, not {len(self.net.nodes)}")
        for node in program.graph.nodes:
            if node.op == "call_function":
                self.call(node)
        kinds = [spec.kind for spec in program.graph_signature.output_specs]
        if any(kind != OutputKind.USER_OUTPUT for kind in kinds):
            raise GraphError("the module changes its buffers or inputs while it runs, which is not supported")
        outputs = next(node for node in program.graph.nodes if node.op == "output").args[0]
        self.net.outputs = [self.activation(node, "the module's output") for node in outputs]

    def read_inputs(self, program):
        placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
        for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
            if spec.kind == InputKind.USER_INPUT:
                self.emit(node, "input", [], name=node.name)
            elif spec.target in program.state_dict:
                self.values[node] = program.state_dict[spec.target].detach()
            else:
                self.values[node] = program.constants[spec.target]

    def call(self, node):
        name = getattr(node.target, "_overloadpacket", node.target)
        if node.target is operator.getitem:  # of batch_norm, whose other results matter in training only
            self.values[node] = self.values[node.args[0]]
            return
        lowering = _LOWERINGS.get(str(name).removeprefix("aten.").rstrip("_"))
        if lowering is None:
            raise GraphError(f"{self.where(node)}: operator {node.target} is not supported; supported are "
                             f"{', '.join(SUPPORTED)}")
        lowering(self, node)

    # Helpers

    def where(self, node) -> str:
        path = self.module_path(node)
        return f"{node.name} in {path}" if path else node.name

    @staticmethod
    def module_path(node) -> str:
        stack = node.meta.get("nn_module_stack")
        return list(stack.values())[-1][0] if stack else ""

    def layer_name(self, node) -> str:
        """The path of PyTorch's own module that makes the call; for a function, its name in the module around it."""
        stack = node.meta.get("nn_module_stack") or {"": ("", "")}
        path, kind = list(stack.values())[-1]
        if str(getattr(kind, "__module__", kind)).startswith("torch.nn.modules."):
            return path or node.name  # the whole module may be one of PyTorch's own
        return f"{path}.{node.name}" if path else node.name

    def unique(self, base: str) -> str:
        name, count = base, 2
        while name in self.names:
            name, count = f"{base}_{count}", count + 1
        self.names.add(name)
        return name

    def emit(self, node, kind: str, inputs: list[FloatNode], name: str = "", **fields):
        value = node.meta["val"]  # batch_norm has several results, of which the first is the one
        shape = tuple((value[0] if isinstance(value, tuple | list) else value).shape)
        if len(shape) not in (2, 4) or shape[0] != 1:
            raise GraphError(f"{self.where(node)}: the shape {shape} is not supported; it must be (1, channels, "
                             "height, width) or (1, features)")
        self.values[node] = FloatNode(kind, self.unique(name or self.layer_name(node)), inputs, shape, **fields)
        self.net.nodes.append(self.values[node])

    def arguments(self, node) -> dict:
        """All arguments by their names in the operator's schema, defaults included."""
        schema = node.target._schema.arguments
        given = dict(zip((a.name for a in schema), node.args, strict=False)) | dict(node.kwargs)
        return {a.name: given.get(a.name, a.default_value) for a in schema}

    def activation(self, argument, where: str) -> FloatNode:
        value = self.values.get(argument) if isinstance(argument, torch.fx.Node) else argument
        if not isinstance(value, FloatNode):
            raise GraphError(f"{where}: only values computed from the input are supported here, not constants")
        return value

    def parameter(self, argument, where: str) -> torch.Tensor | None:
        if argument is None:
            return None
        value = self.values.get(argument)
        if not isinstance(value, torch.Tensor):
            raise GraphError(f"{where}: weights and biases must be constants")
        return value.float()

    def image(self, argument, where: str) -> FloatNode:
        x = self.activation(argument, where)
        if len(x.shape) != 4:
            raise GraphError(f"{where}: the input must be (1, channels, height, width), not {x.shape}")
        return x

    # Operators

    def conv(self, node):
        a, where = self.arguments(node), self.where(node)
        x, weight = self.image(a["input"], where), self.parameter(a["weight"], where)
        stride, dilation, kernel = _pair(a["stride"]), _pair(a["dilation"]), tuple(weight.shape[2:])
        if a["padding"] == "valid":
            padding = ((0, 0), (0, 0))
        elif a["padding"] == "same":  # with strides of 1 only, where PyTorch's and TFLite's are the same
            padding = tuple(same_padding(*axis) for axis in zip(x.shape[2:], kernel, stride, dilation, strict=True))
        else:
            padding = tuple((p, p) for p in _pair(a["padding"]))
        self.emit(node, "conv", [x], weight=weight, bias=self.parameter(a["bias"], where), kernel=kernel, stride=stride,
                  dilation=dilation, padding=padding, groups=a["groups"])

    def batch_norm(self, node):
        a, where = self.arguments(node), self.where(node)
        mean, variance, weight, bias = (self.parameter(a[key], where)
                                        for key in ("running_mean", "running_var", "weight", "bias"))
        if mean is None or variance is None:
            raise GraphError(f"{where}: a batch normalization without running statistics is not supported")
        factor = torch.rsqrt(variance.double() + a["eps"]) * (1 if weight is None else weight.double())
        summand = (0 if bias is None else bias.double()) - mean.double() * factor
        x = self.activation(a["input"], where)
        self.emit(node, "batch_norm", [x], weight=factor.float(), bias=summand.float())

    def linear(self, node):
        a, where = self.arguments(node), self.where(node)
        x = self.activation(a["input"], where)
        if len(x.shape) != 2:
            raise GraphError(f"{where}: a linear layer's input must be (1, features), not {x.shape}: flatten it first")
        self.emit(node, "linear", [x], weight=self.parameter(a["weight"], where), bias=self.parameter(a["bias"], where))

    def add(self, node):
        a, where = self.arguments(node), self.where(node)
        inputs = [self.activation(a[key], where) for key in ("self", "other")]
        if inputs[0].shape != inputs[1].shape or a["alpha"] != 1:
            raise GraphError(f"{where}: an addition must be of two values of the same shape with alpha 1, not of "
                             f"{inputs[0].shape} and {inputs[1].shape} with alpha {a['alpha']}")
        self.emit(node, "add", inputs)

    def clip(self, node):
        a, where = self.arguments(node), self.where(node)
        kind = str(node.target._overloadpacket).removeprefix("aten.").rstrip("_")
        low, high = {"relu": (0.0, None), "relu6": (0.0, 6.0)}.get(kind) or (
            a.get("min_val", a.get("min")), a.get("max_val", a.get("max")))
        if any(isinstance(bound, torch.fx.Node) for bound in (low, high)):
            raise GraphError(f"{where}: the bounds of an activation must be numbers, not tensors")
        self.emit(node, "clip", [self.activation(a["self"], where)], clamp=(
            None if low is None else float(low), None if high is None else float(high)))

    def pool(self, node):
        a, where = self.arguments(node), self.where(node)
        x, kernel = self.image(a["self"], where), _pair(a["kernel_size"])
        stride, around = _pair(a["stride"]) if a["stride"] else kernel, _pair(a["padding"])
        average = "avg" in str(node.target)
        if any(d != 1 for d in _pair(a.get("dilation", 1))):
            raise GraphError(f"{where}: pooling with a dilation of {a['dilation']} is not supported, only 1")
        if average and (a["divisor_override"] is not None or (any(around) and a["count_include_pad"])):
            raise GraphError(f"{where}: average pooling must divide by the pixels inside the image: "
                             "count_include_pad=False and no divisor_override")
        size = tuple(node.meta["val"].shape[2:])
        padding = []
        for extent, k, s, p, out in zip(x.shape[2:], kernel, stride, around, size, strict=True):
            # ceil_mode adds a window that hangs over the end: padding after the image
            extra = 0 if output_size(extent, k, s, 1, (p, p)) >= out else (out - 1) * s + k - extent - 2 * p
            padding.append((p, p + extra))
        self.emit(node, "average_pool" if average else "max_pool", [x], kernel=kernel, stride=stride,
                  padding=tuple(padding))

    def global_average(self, node):
        a, where = self.arguments(node), self.where(node)
        x = self.image(a["self"], where)
        if "output_size" in a and tuple(node.meta["val"].shape[2:]) != (1, 1):
            raise GraphError(f"{where}: adaptive average pooling is supported to 1 x 1 only, not to {a['output_size']}")
        if "dim" in a and sorted(d % 4 for d in a["dim"] or range(4)) != [2, 3]:
            raise GraphError(f"{where}: only the mean over height and width (2, 3) is supported, not over {a['dim']}")
        self.emit(node, "mean", [x])

    def flatten(self, node):
        where = self.where(node)
        x, shape = self.activation(node.args[0], where), tuple(node.meta["val"].shape)
        if shape == x.shape:
            self.values[node] = x
            return
        flat = len(shape) == 2 or shape[2:] == (1, 1)
        if not flat or shape[0] != 1 or len(shape) not in (2, 4):
            raise GraphError(f"{where}: only flattening to (1, features) is supported, not {x.shape} to {shape}")
        self.emit(node, "flatten", [x])

    def softmax(self, node):
        a, where = self.arguments(node), self.where(node)
        x = self.activation(a["self"], where)
        if len(x.shape) != 2 or a["dim"] not in (1, -1):
            raise GraphError(f"{where}: softmax is supported over the features of (1, features), not over dimension "
                             f"{a['dim']} of {x.shape}")
        self.emit(node, "softmax", [x])

    def pad(self, node):
        a, where = self.arguments(node), self.where(node)
        x, pad = self.image(a["self"], where), [*a["pad"], 0, 0][:4]
        if len(a["pad"]) not in (2, 4) or min(pad) < 0 or a.get("mode", "constant") != "constant" or a["value"]:
            raise GraphError(f"{where}: only padding of height and width with zeros is supported, not {list(a['pad'])} "
                             f"with mode {a.get('mode', 'constant')!r} and value {a['value']}")
        self.emit(node, "pad", [x], padding=((pad[2], pad[3]), (pad[0], pad[1])))

    def same(self, node):
        if node.target == torch.ops.aten.dropout.default and node.args[2]:
            raise GraphError(f"{self.where(node)}: dropout is in training mode: call module.eval() first")
        self.values[node] = self.activation(node.args[0], self.where(node))


_LOWERINGS = {
    "conv2d": _Lowering.conv, "batch_norm": _Lowering.batch_norm,
    "_native_batch_norm_legit_no_training": _Lowering.batch_norm, "linear": _Lowering.linear, "add": _Lowering.add,
    **dict.fromkeys(("relu", "relu6", "hardtanh", "clamp"), _Lowering.clip),
    **dict.fromkeys(("max_pool2d", "avg_pool2d"), _Lowering.pool),
    **dict.fromkeys(("adaptive_avg_pool2d", "mean"), _Lowering.global_average),
    **dict.fromkeys(("flatten", "view", "reshape", "_unsafe_view", "squeeze", "unsqueeze"), _Lowering.flatten),
    "softmax": _Lowering.softmax, "_softmax": _Lowering.softmax, "pad": _Lowering.pad, "constant_pad_nd": _Lowering.pad,
    **dict.fromkeys(("dropout", "clone", "contiguous", "alias", "detach", "lift_fresh_copy"), _Lowering.same),
}


def _pair(value) -> tuple[int, int]:
    values = tuple(value) if isinstance(value, list | tuple | torch.Size) else (value,)
    return values * 2 if len(values) == 1 else values
