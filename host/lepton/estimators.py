"""Networks with the methods of scikit-learn's estimators: predict, predict_proba, decision_function, score.

    classifier = Classifier("digits.onnx", calibration=images)
    classifier.predict(images)          # labels
    classifier.score(images, labels)    # accuracy
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .arch import ChipConfig
from .compilation import compile as compile_network
from .deployment import Deployment, chosen_config
from .device import Device
from .graph import GraphError
from .program import CompiledModel, TensorInfo
from .runtime import Report


class _Estimator:
    """A network with one input and one output on a device; any number of inputs along the first axis.

    For a network with state they are one stream, from the initial state on.
    """

    def __init__(self, network: Any, calibration: Any = None, *, device: str | Device | None = None,
                 config: str | ChipConfig | None = None) -> None:
        model = network if isinstance(network, CompiledModel) else compile_network(
            network, calibration, chosen_config(config, device))
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise GraphError(f"an estimator needs a network with one input and one output, not {len(model.inputs)} and "
                             f"{len(model.outputs)}")
        self.deployment = Deployment(model, device)
        self.report: Report | None = None  # of the last inference

    @property
    def model(self) -> CompiledModel:
        return self.deployment.model

    def _outputs(self, inputs: Any) -> np.ndarray:
        """Real numbers, float64 (N, values)."""
        info = self.model.inputs[0]
        array = np.asarray(inputs)
        if array.size and array.size % int(np.prod(info.shape[1:])) == 0 and array.ndim == 2 and len(info.shape) != 2:
            array = array.reshape(-1, *info.shape[1:])  # rows of features, as scikit-learn keeps images
        results = []
        self.deployment.session.states.reset()  # so that equal calls have equal results
        for result in self.deployment.session.each(stored(array, info)):
            results.append(result.outputs[self.model.outputs[0].name])
            self.report = result.report
        return np.concatenate([real(values, self.model.outputs[0]) for values in results]).reshape(len(array), -1)


def stored(array: np.ndarray, info: TensorInfo) -> np.ndarray:
    """Numbers as an input takes them: real ones in its own type, or in its scale where it has 8 bits."""
    if array.dtype.kind == "f" and info.dtype == "float32":
        return array.astype(np.float32)
    if array.dtype.kind == "f" and info.scale is not None and info.zero_point is not None:
        limits = np.iinfo(info.dtype)
        return np.clip(np.rint(array / info.scale) + info.zero_point, limits.min, limits.max).astype(info.dtype)
    return array


def real(array: np.ndarray, info: TensorInfo) -> np.ndarray:
    """float64: the real numbers that an output stands for."""
    if info.scale is None or info.zero_point is None or array.dtype.kind == "f":
        return array.astype(np.float64)
    return info.scale * (array.astype(np.float64) - info.zero_point)


class Classifier(_Estimator):
    """A network whose output has a value for each class.

    network: a path, a `torch.nn.Module`, a graph or a compiled model, as for `lepton.compile`. calibration: likewise.
    classes: the labels in the order of the outputs; 0, 1, ... where they are not given. Raises `GraphError` for a
    network with several inputs or outputs, and what `lepton.compile` raises.
    """

    def __init__(self, network: Any, calibration: Any = None, *, classes: Sequence[Any] | None = None,
                 device: str | Device | None = None, config: str | ChipConfig | None = None) -> None:
        super().__init__(network, calibration, device=device, config=config)
        count = int(np.prod(self.model.outputs[0].shape[1:]))
        self.classes_ = np.arange(count) if classes is None else np.asarray(classes)
        if len(self.classes_) != count or count < 2:
            raise GraphError(f"the network has {count} outputs; there must be as many classes, and two at least, not "
                             f"{len(self.classes_)}")

    def decision_function(self, inputs: Any) -> np.ndarray:
        """The network's outputs, float64 (N, classes)."""
        return self._outputs(inputs)

    def predict(self, inputs: Any) -> np.ndarray:
        """The label with the largest output, (N,)."""
        return self.classes_[self._outputs(inputs).argmax(1)]

    def predict_proba(self, inputs: Any) -> np.ndarray:
        """float64 (N, classes): the outputs where they are probabilities already, else their softmax."""
        outputs = self._outputs(inputs)
        step = self.model.outputs[0].scale or 1e-3  # 8-bit probabilities add up to 1 within a step for each class
        if outputs.min() >= 0 and np.abs(outputs.sum(1) - 1).max() <= step * outputs.shape[1]:
            return outputs / outputs.sum(1, keepdims=True)
        powers = np.exp(outputs - outputs.max(1, keepdims=True))
        return powers / powers.sum(1, keepdims=True)

    def score(self, inputs: Any, labels: Any) -> float:
        """The share of inputs whose label is predicted."""
        return float((self.predict(inputs) == np.asarray(labels)).mean())


class Regressor(_Estimator):
    """A network whose outputs are the quantities looked for; arguments as for `Classifier`."""

    def predict(self, inputs: Any) -> np.ndarray:
        """float64 (N,) for one output, else (N, outputs)."""
        outputs = self._outputs(inputs)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def score(self, inputs: Any, targets: Any) -> float:
        """R²: 1 less the squared error over the targets' variance."""
        wanted = np.asarray(targets, np.float64)
        error = np.square(self.predict(inputs) - wanted).sum()
        return float(1 - error / np.square(wanted - wanted.mean(0)).sum())
