"""The operators' tables of options, and which of their fields matter (others are for other data types)."""

_ACTIVATION = {"activation": "FusedActivationFunction"}
_CONV = {"padding": "Padding", "stride_y": "StrideH", "stride_x": "StrideW", "dilation_y": "DilationHFactor",
         "dilation_x": "DilationWFactor", **_ACTIVATION}
_POOL = {"padding": "Padding", "stride_y": "StrideH", "stride_x": "StrideW", "kernel_y": "FilterHeight",
         "kernel_x": "FilterWidth", **_ACTIVATION}
_KEEP = {"keep_dims": "KeepDims"}
_GRID = {"align_corners": "AlignCorners", "half_pixel": "HalfPixelCenters"}

OPTIONS = {
    "CONV_2D": ("Conv2DOptions", _CONV),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _CONV | {"multiplier": "DepthMultiplier"}),
    "FULLY_CONNECTED": ("FullyConnectedOptions", _ACTIVATION | {"weights_format": "WeightsFormat",
                                                                "keep_dims": "KeepNumDims"}),
    "TRANSPOSE_CONV": ("TransposeConvOptions", {"padding": "Padding", "stride_y": "StrideH", "stride_x": "StrideW",
                                                **_ACTIVATION}),
    "BATCH_MATMUL": ("BatchMatMulOptions", {"adjoint_a": "AdjX", "adjoint_b": "AdjY"}),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "MEAN": ("ReducerOptions", _KEEP),
    "SUM": ("ReducerOptions", _KEEP),
    "REDUCE_MAX": ("ReducerOptions", _KEEP),
    "REDUCE_MIN": ("ReducerOptions", _KEEP),
    "REDUCE_PROD": ("ReducerOptions", _KEEP),
    "ADD": ("AddOptions", _ACTIVATION),
    "SUB": ("SubOptions", _ACTIVATION),
    "MUL": ("MulOptions", _ACTIVATION),
    "DIV": ("DivOptions", _ACTIVATION),
    "ONE_HOT": ("OneHotOptions", {"axis": "Axis"}),
    "L2_NORMALIZATION": ("L2NormOptions", _ACTIVATION),
    "LOCAL_RESPONSE_NORMALIZATION": ("LocalResponseNormalizationOptions", {
        "radius": "Radius", "bias": "Bias", "alpha": "Alpha", "beta": "Beta"}),
    "MAXIMUM": ("MaximumMinimumOptions", {}),
    "MINIMUM": ("MaximumMinimumOptions", {}),
    "SOFTMAX": ("SoftmaxOptions", {"beta": "Beta"}),
    "LEAKY_RELU": ("LeakyReluOptions", {"alpha": "Alpha"}),
    "GELU": ("GeluOptions", {"approximate": "Approximate"}),
    "CONCATENATION": ("ConcatenationOptions", {"axis": "Axis", **_ACTIVATION}),
    "SPLIT": ("SplitOptions", {"count": "NumSplits"}),
    "SPLIT_V": ("SplitVOptions", {"count": "NumSplits"}),
    "STRIDED_SLICE": ("StridedSliceOptions", {"begin_mask": "BeginMask", "end_mask": "EndMask",
                                              "ellipsis_mask": "EllipsisMask", "new_axis_mask": "NewAxisMask",
                                              "shrink_mask": "ShrinkAxisMask", "offset": "Offset"}),
    "MIRROR_PAD": ("MirrorPadOptions", {"mode": "Mode"}),
    "PACK": ("PackOptions", {"axis": "Axis", "count": "ValuesCount"}),
    "UNPACK": ("UnpackOptions", {"axis": "Axis", "count": "Num"}),
    "GATHER": ("GatherOptions", {"axis": "Axis", "batch_dims": "BatchDims"}),
    "RESIZE_BILINEAR": ("ResizeBilinearOptions", _GRID),
    "RESIZE_NEAREST_NEIGHBOR": ("ResizeNearestNeighborOptions", _GRID),
    "SPACE_TO_DEPTH": ("SpaceToDepthOptions", {"block": "BlockSize"}),
    "DEPTH_TO_SPACE": ("DepthToSpaceOptions", {"block": "BlockSize"}),
    "ARG_MAX": ("ArgMaxOptions", {}),
    "ARG_MIN": ("ArgMinOptions", {}),
    "CUMSUM": ("CumsumOptions", {"exclusive": "Exclusive", "reverse": "Reverse"}),
    "REVERSE_SEQUENCE": ("ReverseSequenceOptions", {"axis": "SeqDim", "batch": "BatchDim"}),
    "TOPK_V2": ("TopKV2Options", {}),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": ("UnidirectionalSequenceLSTMOptions", {
        "cell_clip": "CellClip", "projection_clip": "ProjClip", "time_major": "TimeMajor",
        "diagonal": "DiagonalRecurrentTensors", **_ACTIVATION}),
    "SVDF": ("SVDFOptions", {"rank": "Rank", **_ACTIVATION}),
    "VAR_HANDLE": ("VarHandleOptions", {"container": "Container", "name": "SharedName"}),
    "CALL_ONCE": ("CallOnceOptions", {"subgraph": "InitSubgraphIndex"}),
    "RESHAPE": ("ReshapeOptions", {"shape": "NewShapeAsNumpy"}),
    "SQUEEZE": ("SqueezeOptions", {"axes": "SqueezeDimsAsNumpy"}),
}

# Custom operators whose options, a flexbuffers map, are read
CUSTOM = {"TFLite_Detection_PostProcess"}

# Operators that LiteRT refuses without their table, since fields of 0 have no meaning for them
NEEDED = {"CONV_2D", "DEPTHWISE_CONV_2D", "TRANSPOSE_CONV", "MAX_POOL_2D", "AVERAGE_POOL_2D", "SOFTMAX", "SPLIT",
          "SPLIT_V", "UNPACK", "PACK", "MIRROR_PAD", "SPACE_TO_DEPTH", "DEPTH_TO_SPACE", "VAR_HANDLE", "CALL_ONCE",
          "SVDF"}

ENUMS = {"padding": "Padding", "activation": "ActivationFunctionType", "mode": "MirrorPadMode"}
