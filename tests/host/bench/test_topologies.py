import lepton.device
import numpy as np
import pytest
from lepton.compiler import compile_graph
from lepton.graph import interpret
from lepton.models import topologies
from lepton.runtime import Session

# Multiply-accumulates, exactly; rounded they are the published 1.81 G, 4.09 G, 569 M and 300 M, MLPerf Tiny's
# 12.5 M, 2.7 M, 7.5 M and 0.26 M, and torchvision's 0.22 G, 0.06 G and 0.39 G.
MACS = {
    "resnet18": 1_814_073_344, "resnet50": 4_089_184_256, "mobilenet_v1": 568_740_352, "mobilenet_v2": 300_774_272,
    "tiny_ic": 12_501_632, "tiny_kws": 2_656_768, "tiny_vww": 7_489_664, "tiny_ad": 264_192,
    "mobilenet_v3_large": 216_589_760, "mobilenet_v3_small": 56_510_400, "efficientnet_b0": 385_814_752,
    "efficientnet_lite0": 385_187_552,
    "gemm_64x512x64": 2_097_152, "gemm_1x256x256": 65_536, "conv_3x3_14x14x128_128": 28_901_376,
    "conv_1x1_28x28x64_64": 3_211_264,
}
# Published parameters less norms and biases: torchvision counts 11 689 512, 5 483 032, 2 542 856 and 5 288 548 for
# ResNet-18, MobileNetV3 and EfficientNet-B0.
WEIGHTS = {"resnet18": 11_678_912, "resnet50": 25_502_912, "mobilenet_v1": 4_209_088, "mobilenet_v2": 3_469_760,
           "tiny_ad": 264_192, "mobilenet_v3_large": 5_451_272, "mobilenet_v3_small": 2_525_832,
           "efficientnet_b0": 5_236_192, "efficientnet_lite0": 4_608_992}


@pytest.mark.parametrize("name", MACS)
def test_multiply_accumulates_are_the_published_ones(name):
    assert topologies.count_macs(topologies.build(name)) == MACS[name]


@pytest.mark.parametrize("name", WEIGHTS)
def test_networks_have_as_many_weights_as_published(name):
    graph = topologies.build(name)
    assert sum(t.data.size for t in graph.tensors.values() if t.data is not None and t.data.dtype == np.int8) \
        == WEIGHTS[name]


@pytest.mark.parametrize("name", ["mobilenet_v3_large", "mobilenet_v3_small", "efficientnet_b0", "efficientnet_lite0"])
def test_networks_with_gates_are_one_job(name):
    """The chip computes everything from the first tensor to the last."""
    model = compile_graph(topologies.build(name), "base")
    assert [type(step).__name__ for step in model.steps] == ["ChipStep"]


def test_compiler_counts_the_same_macs():
    for name in ("tiny_ic", "tiny_kws", "tiny_vww", "tiny_ad", "gemm_64x64x64"):
        assert compile_graph(topologies.build(name), "base").macs == topologies.count_macs(topologies.build(name))


def test_the_same_name_gives_the_same_weights_and_another_name_others():
    first, again, other = (topologies.build(n) for n in ("conv_3x3_8x8x16_16", "conv_3x3_8x8x16_16",
                                                         "conv_3x3_8x8x17_16"))
    for name, tensor in first.tensors.items():
        assert np.array_equal(tensor.data, again.tensors[name].data)
        assert np.array_equal(tensor.quantization.scale, again.tensors[name].quantization.scale)
    assert not np.array_equal(first.tensors["conv.bias"].data, other.tensors["conv.bias"].data)
    assert not np.array_equal(topologies.random_inputs(first, 1)["input"], topologies.random_inputs(first, 2)["input"])


@pytest.mark.parametrize("name", ["tiny_ic", "tiny_kws", "tiny_vww", "tiny_ad", "gemm_64x64x64"])
def test_activations_neither_saturate_nor_vanish(name):
    graph = topologies.build(name)
    values = all_activations(graph)
    for node in graph.nodes:
        found = values[node.outputs[0]].astype(int)
        if found.size < 100:  # a few logits say nothing about a distribution
            continue
        assert found.std() > 12, f"{node.name}: almost constant"
        assert (found == 127).mean() < 0.1, f"{node.name}: saturated"
        assert np.unique(found).size > min(found.size, 256) // 4, node.name


@pytest.mark.parametrize("name", ["tiny_ic", "tiny_kws", "tiny_vww", "tiny_ad", "gemm_64x64x64", "mobilenet_v2"])
def test_outputs_are_those_of_litert(name):
    module = pytest.importorskip("ai_edge_litert.interpreter")
    from lepton.frontends import export_tflite
    graph = topologies.build(name)
    inputs = topologies.random_inputs(graph)
    interpreter = module.Interpreter(model_content=export_tflite(graph),
                                     experimental_op_resolver_type=module.OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], inputs["input"])
    interpreter.invoke()
    expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    with lepton.device.open("golden", config="base") as device, \
            Session(compile_graph(graph, "base"), device) as session:
        assert np.array_equal(session.run(inputs).outputs[graph.outputs[0]], expected)


def test_outputs_with_gates_are_those_of_the_hosts_kernels():
    graph = topologies.build("mobilenet_v3_small")
    inputs = topologies.random_inputs(graph)
    with lepton.device.open("golden", config="base") as device, \
            Session(compile_graph(graph, "base"), device) as session:
        assert np.array_equal(session.run(inputs).outputs[graph.outputs[0]],
                              interpret.evaluate(graph, inputs)[graph.outputs[0]])


def all_activations(graph):
    """Every layer's output, on the golden model."""
    graph.outputs = [node.outputs[0] for node in graph.nodes]
    with lepton.device.open("golden", config="base") as device, \
            Session(compile_graph(graph, "base"), device) as session:
        return session.run(topologies.random_inputs(graph)).outputs


@pytest.mark.parametrize("name", ["resnet19", "gemm_0x1x1", "gemm_8x8", "conv_3x5_8x8x8_8", "conv_3x3_8x8x8"])
def test_unknown_names_are_refused(name):
    with pytest.raises(ValueError, match=rf"topology must be one of resnet18.*or conv_KxK_HxWxC_N, not '{name}'"):
        topologies.build(name)
