"""Operators that move values, imported, compiled and run on the golden device, against LiteRT's reference kernels."""

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")


from tests.host.frontends.tflite.execution import Case, compare, integers
from tests.litert_models import Operator, Tensor, build, build_network

MOVES = [
    ("RESHAPE", (2, 3, 4), [(4, 6)], [[4, 6]], 1, "", {}),
    ("TRANSPOSE", (2, 3, 4), [(4, 2, 3)], [[2, 0, 1]], 2, "TransposeOptions", {}),
    ("SLICE", (2, 5, 4), [(1, 3, 4)], [[1, 2, 0], [1, 3, -1]], 2, "SliceOptions", {}),
    ("STRIDED_SLICE", (2, 9, 4), [(2, 3, 4)], [[0, 7, 0], [2, -10, 4], [1, -3, 1]], 2, "StridedSliceOptions", {}),
    ("STRIDED_SLICE", (2, 9, 4), [(9, 2)], [[1, 0, 1], [2, 0, 3], [1, 1, 1]], 2, "StridedSliceOptions",
     {"ShrinkAxisMask": 1, "EndMask": 2}),
    ("PAD", (1, 3, 4, 2), [(1, 5, 4, 3)], [[[0, 0], [1, 1], [0, 0], [0, 1]]], 2, "PadOptions", {}),
    ("MIRROR_PAD", (3, 4), [(5, 7)], [[[1, 1], [2, 1]]], 2, "MirrorPadOptions", {"Mode": 0}),
    ("MIRROR_PAD", (3, 4), [(5, 7)], [[[1, 1], [2, 1]]], 2, "MirrorPadOptions", {"Mode": 1}),
    ("EXPAND_DIMS", (3, 4), [(3, 1, 4)], [1], 1, "ExpandDimsOptions", {}),
    ("SQUEEZE", (3, 1, 4), [(3, 4)], [], 1, "SqueezeOptions", {}),
    ("TILE", (2, 3), [(4, 9)], [[2, 3]], 2, "TileOptions", {}),
    ("BROADCAST_TO", (3, 1), [(2, 3, 4)], [[2, 3, 4]], 2, "BroadcastToOptions", {}),
    ("SPACE_TO_DEPTH", (1, 4, 6, 3), [(1, 2, 3, 12)], [], 2, "SpaceToDepthOptions", {"BlockSize": 2}),
    ("DEPTH_TO_SPACE", (1, 2, 3, 12), [(1, 4, 6, 3)], [], 1, "DepthToSpaceOptions", {"BlockSize": 2}),
    ("SPACE_TO_BATCH_ND", (1, 5, 6, 3), [(4, 3, 3, 3)], [[2, 2], [[1, 0], [0, 0]]], 2, "SpaceToBatchNDOptions", {}),
    ("BATCH_TO_SPACE_ND", (4, 3, 3, 3), [(1, 5, 6, 3)], [[2, 2], [[1, 0], [0, 0]]], 2, "BatchToSpaceNDOptions", {}),
    ("GATHER", (5, 4), [(5, 3)], [[3, 0, 3]], 2, "GatherOptions", {"Axis": 1}),
    ("UNPACK", (2, 3, 2), [(2, 3), (2, 3)], [], 2, "UnpackOptions", {"Axis": 2, "Num": 2}),
    ("SPLIT_V", (2, 6), [(2, 1), (2, 3), (2, 2)], [[1, 3, 2], [1]], 2, "SplitVOptions", {"NumSplits": 3}),
]


@pytest.mark.parametrize(("operator", "shape", "made", "constants", "version", "options", "fields"), MOVES)
def test_moves(operator, shape, made, constants, version, options, fields):
    case = Case(1)
    x = case.activation(*shape)
    inputs = [x, *(Tensor(data=np.array(c, np.int32)) for c in constants)]
    model = build(operator, inputs, [case.like(x, *m) for m in made], version, options, **fields)
    compare(model, case.values(x))


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
def test_joins(dtype):
    case = Case(2)
    x = case.activation(1, 3, 4, 5, dtype=dtype)
    legacy = dtype == np.uint8  # whose operands may have scales of their own
    b = case.activation(1, 3, 4, 2, dtype=dtype) if legacy else case.like(x, 1, 3, 4, 2)
    joined = build("CONCATENATION", [x, b], case.like(x, 1, 3, 4, 7), 1 if legacy else 2, "ConcatenationOptions",
                   Axis=-1)
    compare(joined, case.values(x), case.values(b))
    parts = [case.like(x, 3, 2) for _ in range(3)]
    compare(build("PACK", parts, case.like(x, 3, 3, 2), 2, "PackOptions", Axis=1, ValuesCount=3),
            *map(case.values, parts))
    whole = case.like(x, 2, 6)
    halves = [case.like(x, 2, 3) for _ in range(2)]
    compare(build("SPLIT", [integers(1), whole], halves, 2, "SplitOptions", NumSplits=2), case.values(whole))


@pytest.mark.parametrize("operator", ["ADD", "SUB", "MUL"])
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("shape", [(1, 1, 1, 5), (), (1, 4, 3, 5)])
def test_small_constants_next_to_what_a_table_made(operator, first, shape):
    """The layer of the table computes the sum or product in its tail; the constant may be the first operand."""
    case = Case(len(shape))
    x = case.activation(1, 4, 3, 5)
    looked_up = case.activation(1, 4, 3, 5)
    constant = Tensor(case.scale(), 7, data=case.random.integers(-128, 128, shape).astype(np.int8))
    operands = [constant, looked_up] if first else [looked_up, constant]
    y = case.activation(1, 4, 3, 5)
    model = build_network([Operator("RELU", 2, [x], [looked_up]),
                           Operator(operator, 2, operands, [y], f"{operator.title()}Options", {})], [x], [y])
    compare(model, case.random.integers(-128, 128, x.shape).astype(np.int8))
