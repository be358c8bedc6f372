"""A deployed network: inference on the chip, and its results on their way to the cloud."""

import weakref
from collections.abc import Iterator

import numpy as np

from ..deployment import Deployment
from ..estimators import real, stored
from ..program import CompiledModel
from ..results import ResultLog
from ..runtime import Report
from ..upload import Upload
from .chip import LeptonChip
from .cloud import LeptonCloud


class Serving:
    """One compiled network in a chip's memory."""

    def __init__(self, model: CompiledModel, chip: LeptonChip) -> None:
        self.model = model
        self.report: Report | None = None  # of the last inference
        self.cycles = 0  # that the chip has counted in all inferences
        self._chip = chip
        self._deployment = Deployment(model, chip.device)
        self._log: ResultLog | None = None
        self._upload: Upload | None = None

    def outputs(self, inputs: np.ndarray) -> np.ndarray:
        """float64 (N, outputs) for float32 inputs (N, ...); each result goes to the cloud where there is one."""
        return np.concatenate(list(self._each(inputs)))

    def _each(self, inputs: np.ndarray) -> Iterator[np.ndarray]:
        info = self.model.outputs[0]
        for index, result in enumerate(self._deployment.session.each(stored(inputs, self.model.inputs[0]))):
            self.report = result.report
            self.cycles += result.report.cycles
            if self._log is not None:
                self._log.add(result.outputs, cycles=result.report.cycles, input=index)
            yield real(result.outputs[info.name], info).reshape(1, -1)

    def connect(self, cloud: LeptonCloud) -> ResultLog:
        """Send results to the cloud from now on. Raises the errors of the spool."""
        self.disconnect()
        upload = cloud.upload().__enter__()
        self._upload = upload
        self._log = upload.log(self.model, self._chip.name, "full")
        self._finish = weakref.finalize(self, _finish, upload, self._log)
        return self._log

    def disconnect(self) -> str:
        """Send what is left. What became of the results, in a line."""
        if self._upload is None:
            return ""
        self._finish()
        summary = self._upload.summary
        self._log = None
        self._upload = None
        return summary

    def close(self) -> str:
        """`disconnect`, and free the chip's memory."""
        summary = self.disconnect()
        self._deployment.close()
        return summary


def _finish(upload: Upload, log: ResultLog) -> None:
    try:
        upload.finish(log)
    finally:
        upload.__exit__()
