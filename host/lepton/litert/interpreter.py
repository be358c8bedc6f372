"""`Interpreter`: allocate_tensors, set_tensor, invoke, get_tensor, and the details of tensors."""

from collections.abc import Callable
from os import PathLike
from pathlib import Path

import numpy as np

from ..arch import ChipConfig
from ..compiler import compile_graph
from ..deployment import Deployment, chosen_config
from ..device import Device
from ..frontends.tflite import import_tflite
from ..frontends.tflite.reader import read_signatures, read_tflite
from ..frontends.tflite.tensors import DTYPES
from ..runtime import Report
from .details import Details, check_value, details_of
from .signatures import SignatureRunner


class Interpreter:
    """A TFLite network, with the methods of LiteRT's interpreter.

    model_path, model_content: the file, or its bytes. Options that choose LiteRT's kernels, threads or delegates are
    accepted and have no effect. device, config: a device or its name, and the chip; by default those that the
    environment names, else the golden model of `base`.

    Differs from the original in this: only inputs and outputs can be read, the network runs as a whole, and inputs
    cannot be resized. Raises ValueError as the original does, and `lepton.graph.GraphError`, a ValueError, for what
    the compiler does not take.
    """

    def __init__(self, model_path: str | PathLike | None = None, model_content: bytes | None = None,
                 experimental_delegates: object = None, num_threads: int | None = None,
                 experimental_op_resolver_type: object = None, experimental_preserve_all_tensors: bool = False,
                 experimental_disable_delegate_clustering: bool = False,
                 experimental_default_delegate_latest_features: bool = False, *, device: str | Device | None = None,
                 config: str | ChipConfig | None = None, **options: object) -> None:
        if (model_path is None) == (model_content is None):
            raise ValueError("`model_path` or `model_content` must be specified, and not both")
        if num_threads is not None and (not isinstance(num_threads, int) or num_threads < -1 or num_threads == 0):
            raise ValueError(f"num_threads must be a whole number of at least 1, or -1, not {num_threads!r}")
        self._data = bytes(model_content) if model_path is None else Path(model_path).read_bytes()  # type: ignore[arg-type]  # one of them is given
        self._raw = read_tflite(self._data)
        self._signatures = read_signatures(self._data)
        self._device = device
        self._config = chosen_config(config, device)
        self._deployment: Deployment | None = None
        self._others: dict[str, Deployment] = {}
        self._values: dict[int, np.ndarray] = {}
        self.report: Report | None = None  # of the last `invoke`: what LiteRT does not have

    def allocate_tensors(self) -> None:
        """Compile the network and load it into the device's memory."""
        if self._deployment is None:
            self._deployment = self._deployed(None)
        for index in (*self._raw.inputs, *self._raw.outputs):
            tensor = self._raw.tensors[index]
            self._values.setdefault(index, np.zeros(tensor.shape, DTYPES[tensor.dtype]))

    def _deployed(self, signature: str | None) -> Deployment:
        return Deployment(compile_graph(import_tflite(self._data, signature=signature), self._config), self._device)

    def invoke(self) -> None:
        """Run the network on the inputs that have been set."""
        if self._deployment is None:
            raise RuntimeError("Interpreter was not allocated: call allocate_tensors() before invoke()")
        result = self._deployment.run(dict(zip((t.name for t in self._deployment.model.inputs),
                                               (self._values[i] for i in self._raw.inputs), strict=True)))
        self.report = result.report
        for index, info in zip(self._raw.outputs, self._deployment.model.outputs, strict=True):
            self._values[index] = result.outputs[info.name]

    def set_tensor(self, tensor_index: int, value: np.ndarray) -> None:
        """Copy an array into an input. Raises ValueError for another shape, type or tensor."""
        self._require_allocated()
        if tensor_index not in self._raw.inputs:
            raise ValueError(f"Cannot set tensor: tensor {tensor_index} is not an input; the inputs are "
                             f"{', '.join(map(str, self._raw.inputs))}")
        tensor = self._raw.tensors[tensor_index]
        array = np.asarray(value)
        check_value(array, tensor, f"input {tensor_index}")
        self._values[tensor_index] = np.array(array, order="C")

    def get_tensor(self, tensor_index: int, subgraph_index: int = 0) -> np.ndarray:
        """A copy of an input or output. Raises ValueError for any other tensor: it does not leave the chip."""
        self._require_allocated()
        if subgraph_index or tensor_index not in self._values:
            raise ValueError(f"tensor {tensor_index} cannot be read: on a chip only inputs and outputs can, which are "
                             f"{', '.join(map(str, (*self._raw.inputs, *self._raw.outputs)))}")
        return self._values[tensor_index].copy()

    def tensor(self, tensor_index: int) -> Callable[[], np.ndarray]:
        """A function that gives the tensor's present values; for an input they can be written in place."""
        self._require_allocated()
        self.get_tensor(tensor_index)
        return lambda: self._values[tensor_index]

    def get_input_details(self) -> list[Details]:
        return [details_of(self._raw, index) for index in self._raw.inputs]

    def get_output_details(self) -> list[Details]:
        return [details_of(self._raw, index) for index in self._raw.outputs]

    def get_tensor_details(self, subgraph_index: int = 0) -> list[Details]:
        """Of every tensor of the first network that has a type that numpy knows."""
        if subgraph_index:
            raise ValueError(f"subgraph_index must be 0, not {subgraph_index}: one network of the file is compiled")
        return [details_of(self._raw, index) for index, tensor in enumerate(self._raw.tensors)
                if tensor.dtype in DTYPES]

    def resize_tensor_input(self, input_index: int, tensor_size: object, strict: bool = False) -> None:
        """Takes the size that the input has; raises ValueError for any other, since a compiled network has one."""
        size = tuple(int(extent) for extent in np.asarray(tensor_size).ravel())
        if input_index not in self._raw.inputs:
            raise ValueError(f"tensor {input_index} is not an input; the inputs are "
                             f"{', '.join(map(str, self._raw.inputs))}")
        shape = self._raw.tensors[input_index].shape
        if size != tuple(shape):
            raise ValueError(f"input {input_index} has the shape {tuple(shape)} and cannot be resized to {size}: a "
                             "network is compiled for one shape. Run inputs one by one, or convert the network with "
                             "that shape")

    def get_signature_list(self) -> dict[str, dict[str, list[str]]]:
        return {key: {"inputs": list(signature.inputs), "outputs": list(signature.outputs)}
                for key, signature in self._signatures.items()}

    def get_signature_runner(self, signature_key: str | None = None) -> SignatureRunner:
        """A function of the inputs by their names in a signature. Raises ValueError where there is none, or several
        and none is named."""
        if signature_key is None:
            if len(self._signatures) != 1:
                raise ValueError(f"SignatureRunner: signature_key must be given for a file with "
                                 f"{len(self._signatures)} signatures ({', '.join(self._signatures) or 'none'})")
            signature_key = next(iter(self._signatures))
        if signature_key not in self._signatures:
            raise ValueError(f'Invalid signature_key provided: "{signature_key}".')
        raw = read_tflite(self._data, signature_key)
        return SignatureRunner(self._signatures[signature_key], raw, lambda: self._runner(signature_key))

    def _runner(self, key: str) -> Deployment:
        """The deployment of a signature; that of the first network is shared."""
        if self._signatures[key].subgraph == 0:
            self.allocate_tensors()
            assert self._deployment is not None
            return self._deployment
        if key not in self._others:
            made = self._deployed(key)
            if made.model.states:  # which LiteRT shares between the networks of a file
                made.close()
                raise ValueError(f"signature {key!r} has variables, which only the file's first network may have")
            self._others[key] = made
        return self._others[key]

    def reset_all_variables(self) -> None:
        """Give the network's variables their initial values."""
        for deployment in (self._deployment, *self._others.values()):
            if deployment is not None:
                deployment.session.states.reset()

    def _require_allocated(self) -> None:
        if self._deployment is None:
            raise ValueError("Tensor data is null. Run allocate_tensors() first")
