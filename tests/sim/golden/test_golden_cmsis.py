"""Golden commands against the vectors of CMSIS-NN's unit tests (../shared/data/cmsis_nn)."""

import json
from pathlib import Path

import numpy as np
import pytest
from lepton.arch import Rounding

from tests.sim.golden import golden_lowering as lower
from tests.sim.golden.golden_lowering import Window

DATA = Path(__file__).parents[4] / "shared" / "data" / "cmsis_nn"
pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"CMSIS-NN's vectors are not there: {DATA}")

CONVOLUTIONS = [
    "basic", "conv_1_x_n_1", "conv_1_x_n_2", "conv_1_x_n_3", "conv_1_x_n_4", "conv_1_x_n_5",
    "conv_1_x_n_6_generic", "conv_1_x_n_7", "conv_1_x_n_8", "conv_2", "conv_2x2_dilation",
    "conv_2x2_dilation_5x5_input", "conv_2x3_dilation", "conv_3", "conv_3x2_dilation",
    "conv_3x3_dilation_5x5_input", "conv_4", "conv_5", "conv_dilation_golden", "conv_out_activation",
    "depthwise_2", "depthwise_dilation", "depthwise_eq_in_out_ch", "depthwise_kernel_3x3",
    "depthwise_kernel_3x3_null_bias", "depthwise_mult_batches", "depthwise_null_bias_0",
    "depthwise_null_bias_1", "depthwise_out_activation", "depthwise_sub_block", "depthwise_x_stride",
    "grouped_conv", "grouped_conv_1", "grouped_conv_2", "grouped_conv_3", "grouped_conv_4",
    "in_ch_one_out_ch_larger_one", "kernel1x1", "kernel1x1_stride_x", "kernel1x1_stride_x_y",
    "kernel1x1_stride_x_y_1", "kernel1x1_stride_x_y_2", "stride2pad1",
]
FULLY_CONNECTED = [
    "fc_per_ch", "fully_connected", "fully_connected_mve_0", "fully_connected_mve_1",
    "fully_connected_null_bias_0", "fully_connected_out_activation", "fully_connected_w_zp",
]
POOLS = [f"{kind}pooling{suffix}" for kind, count in (("avg", 6), ("max", 8))
         for suffix in ("", *(f"_{i}" for i in range(1, count)))]


def _case(name):
    with np.load(DATA / f"{name}.npz") as file:
        arrays = {key: file[key] for key in file.files if key != "config"}
        return arrays, json.loads(str(file["config"]))


def _pair(config, name, default=1):
    return tuple(config.get(f"{name}_{axis}", default) for axis in "YX")


def _dense(weights, kernel, inputs, outputs, config):
    """Weights (O, kh, kw, C) of a plain, grouped or depthwise convolution, with zeros between the groups."""
    if "CH_MULT" in config:
        weights = weights.reshape(*kernel, outputs).transpose(2, 0, 1)[..., None]
    else:
        weights = weights.reshape(outputs, *kernel, -1)
    depth = weights.shape[-1]
    dense = np.zeros((outputs, *kernel, inputs), np.int8)
    for o in range(outputs):
        first = o // (outputs * depth // inputs) * depth
        dense[o, ..., first:first + depth] = weights[o]
    return dense


def _quantization(arrays, config, outputs):
    """multiplier, left, right of every output channel."""
    if "OUTPUT_MULTIPLIER" in config:
        multiplier = config["OUTPUT_MULTIPLIER"]
        shift = config["OUTPUT_SHIFT"]
    else:
        multiplier = arrays.get("output_mult", arrays.get("output_multiplier"))[:outputs]
        shift = arrays["output_shift"][:outputs]
    return multiplier, np.maximum(shift, 0), np.maximum(-np.asarray(shift), 0)


def _range(config):
    return -config["INPUT_OFFSET"], config["OUTPUT_OFFSET"], config["OUT_ACTIVATION_MIN"], config["OUT_ACTIVATION_MAX"]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolution(name):
    arrays, config = _case(name)
    inputs = config["IN_CH"]
    outputs = config["OUT_CH"]
    kernel = _pair(config, "FILTER")
    window = Window(kernel, (config["OUTPUT_H"], config["OUTPUT_W"]), _pair(config, "STRIDE"), _pair(config, "PAD", 0),
                    _pair(config, "DILATION"))
    weights = _dense(arrays["weights"], kernel, inputs, outputs, config)
    images = arrays["input"].reshape(config["INPUT_BATCHES"], config["INPUT_H"], config["INPUT_W"], inputs)
    got = [lower.conv(image, weights, arrays.get("biases", np.zeros(outputs, np.int32)),
                      *_quantization(arrays, config, outputs), *_range(config), window) for image in images]
    np.testing.assert_array_equal(np.ravel(got), arrays["output_ref"])


@pytest.mark.parametrize("name", FULLY_CONNECTED)
def test_fully_connected(name):
    arrays, config = _case(name)
    outputs = config["OUT_CH"]
    depth = config["ACCUMULATION_DEPTH"]
    weights = arrays["weights"].reshape(outputs, depth).astype(int) + config.get("FILTER_OFFSET", 0)
    if abs(weights).max() > 127:
        # A weight zero point leaves int8: two halves side by side, each seeing the same input.
        half = weights // 2
        weights = np.concatenate([half, weights - half], axis=1)
        repeat = 2
    else:
        repeat = 1
    bias = arrays.get("biases", arrays.get("bias", np.zeros(outputs, np.int32)))
    got = [lower.fully_connected(np.tile(row, repeat), weights.astype(np.int8), bias,
                                 *_quantization(arrays, config, outputs), *_range(config),
                                 rounding=Rounding.DOUBLE)
           for row in arrays["input"].reshape(config["INPUT_BATCHES"], depth)]
    np.testing.assert_array_equal(np.ravel(got), arrays["output" if name == "fc_per_ch" else "output_ref"])


@pytest.mark.parametrize("name", POOLS)
def test_pool(name):
    arrays, config = _case(name)
    window = Window((config["FILTER_H"], config["FILTER_W"]), (config["OUTPUT_H"], config["OUTPUT_W"]),
                    (config["STRIDE_H"], config["STRIDE_W"]), (config["PADDING_H"], config["PADDING_W"]))
    images = arrays["input_tensor"].reshape(-1, config["INPUT_H"], config["INPUT_W"], config["INPUT_C"])
    pool = lower.max_pool if name.startswith("max") else lower.average_pool
    got = [pool(image, config["ACTIVATION_MIN"], config["ACTIVATION_MAX"], window) for image in images]
    np.testing.assert_array_equal(np.ravel(got), arrays["output"])


def test_add():
    arrays, config = _case("add")
    zeros = (-config["INPUT1_OFFSET"], -config["INPUT2_OFFSET"], config["OUTPUT_OFFSET"])
    got = lower.add(arrays["input1"], arrays["input2"], config["OUT_ACTIVATION_MIN"], config["OUT_ACTIVATION_MAX"],
                    zeros,
                    [config[f"{name}_MULT"] for name in ("INPUT1", "INPUT2", "OUTPUT")],
                    [-config[f"{name}_SHIFT"] for name in ("INPUT1", "INPUT2", "OUTPUT")])
    assert config["LEFT_SHIFT"] == 20
    np.testing.assert_array_equal(got, arrays["output_ref"])
