"""`SignatureRunner`: a network as a function of its inputs by name."""

from collections.abc import Callable

import numpy as np

from ..deployment import Deployment
from ..frontends.tflite.records import RawModel, RawSignature
from .details import Details, check_value, details_of


class SignatureRunner:
    """One signature of a file. Calling it with arrays by input name gives the outputs by name."""

    def __init__(self, signature: RawSignature, raw: RawModel, deployment: Callable[[], Deployment]) -> None:
        self._signature = signature
        self._raw = raw
        self._deployment = deployment

    def __call__(self, **inputs: np.ndarray) -> dict[str, np.ndarray]:
        """Raises ValueError for inputs that are missing, unknown, or of another shape or type."""
        wanted = self._signature.inputs
        if len(inputs) != len(wanted):
            raise ValueError("Invalid number of inputs provided for running a SignatureDef, expected "
                             f"{len(wanted)} vs provided {len(inputs)}")
        values = {}
        for name, value in inputs.items():
            if name not in wanted:
                raise ValueError(f"Invalid Input name ({name}) for SignatureDef")
            check_value(np.asarray(value), self._raw.tensors[wanted[name]], f"input {wanted[name]}")
            values[wanted[name]] = np.asarray(value)
        deployment = self._deployment()
        feeds = {info.name: values[index]
                 for info, index in zip(deployment.model.inputs, self._raw.inputs, strict=True)}
        made = deployment.run(feeds).outputs
        by_index = {index: made[info.name]
                    for index, info in zip(self._raw.outputs, deployment.model.outputs, strict=True)}
        return {name: by_index[index] for name, index in self._signature.outputs.items()}

    def get_input_details(self) -> dict[str, Details]:
        """By name, as `Interpreter.get_input_details`."""
        return {name: details_of(self._raw, index) for name, index in self._signature.inputs.items()}

    def get_output_details(self) -> dict[str, Details]:
        """By name, as `Interpreter.get_output_details`."""
        return {name: details_of(self._raw, index) for name, index in self._signature.outputs.items()}
