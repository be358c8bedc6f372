"""TFLite networks with variables, and LiteRT's reference kernels over sequences of invocations."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tests.litert_models import Operator, Tensor, build_network, edited

RESOURCE = schema.TensorType.RESOURCE


class Handle(Tensor):
    """A variable's handle: a tensor that is made a resource when the file is complete."""

    def __init__(self):
        super().__init__(shape=(), dtype=np.int32)


def var_handle(handle: Handle) -> Operator:
    return Operator("VAR_HANDLE", 1, [], [handle], "VarHandleOptions")


def read(handle: Handle, value: Tensor) -> Operator:
    return Operator("READ_VARIABLE", 1, [handle], [value])


def assign(handle: Handle, value: Tensor) -> Operator:
    return Operator("ASSIGN_VARIABLE", 1, [handle, value], [])


def streaming(operators: list[Operator], inputs: list[Tensor], outputs: list[Tensor],
              initial: list[np.ndarray]) -> bytes:
    """A network in which variable i, handles in the order of their VAR_HANDLE, starts with `initial[i]`."""
    once = Operator("CALL_ONCE", 1, [], [], "CallOnceOptions")
    model = build_network([once, *operators], inputs, outputs)
    handles = [Handle() for _ in initial]
    constants = [Tensor(data=value) for value in initial]
    start = build_network([*map(var_handle, handles), *map(assign, handles, constants)], [], [])
    other = schema.ModelT.InitFromObj(schema.Model.GetRootAs(start, 0))

    def join(tree: schema.ModelT) -> None:
        graph = other.subgraphs[0]
        for tensor in graph.tensors:
            tensor.buffer += len(tree.buffers)
        for operator in graph.operators:
            operator.opcodeIndex += len(tree.operatorCodes)
        tree.buffers += other.buffers
        tree.operatorCodes += other.operatorCodes
        tree.subgraphs.append(graph)
        for one in tree.subgraphs:
            number = 0
            for operator in one.operators:
                if operator.builtinOptionsType == schema.BuiltinOptions.VarHandleOptions:
                    operator.builtinOptions.sharedName = f"v{number}"
                    one.tensors[operator.outputs[0]].type = RESOURCE
                    number += 1
        tree.subgraphs[0].operators[0].builtinOptions.initSubgraphIndex = 1
    return edited(model, join)


def interpreter(model: bytes) -> Interpreter:
    made = Interpreter(model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    made.allocate_tensors()
    return made


def invoke(made: Interpreter, *values: np.ndarray) -> list[np.ndarray]:
    for detail, value in zip(made.get_input_details(), values, strict=True):
        made.set_tensor(detail["index"], value)
    made.invoke()
    return [made.get_tensor(detail["index"]) for detail in made.get_output_details()]
