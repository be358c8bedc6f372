"""`LeptonNetwork`: layers, training, compression, deployment of one network."""

import contextlib
from os import PathLike

import numpy as np
import torch
from torch import nn

from ..compiler import compile_graph
from ..frontends.torch import prepare_qat, quantize
from ..graph import Graph
from ..program import CompiledModel
from ..results import ResultLog
from ..runtime import Report
from ..text import dimensions
from .chain import LayerChain
from .chip import LeptonChip
from .cloud import LeptonCloud
from .data import DataError, inputs_as_tensor, labels_as_tensor
from .layers import LayerError
from .on_chip import ChipForward, Rounded
from .optimize import optimized, searched
from .report import OptimizationReport
from .serving import Serving
from .training import LOSSES, History, Settings, Trainer, is_classification, make_optimizer

CALIBRATION = 256  # inputs of the training data with which ranges are found; more change them little


class ToolkitError(RuntimeError):
    """A step was asked for before the one that it needs; the text says which."""


class LeptonNetwork(LayerChain):
    """One network from its layers to the chip. `LeptonToolkit` makes it.

        network.add_dense_layer(None, 10)
        network.compile(chip, optimizer="adam", loss="categorical_crossentropy")
        network.fit(images, labels, epochs=10)
        network.optimize()
        network.deploy(chip)
        network.predict(images)

    `print` shows its layers. `module` is the torch module, `graph` the int8 network, `model` the compiled one.
    """

    def __init__(self, module: nn.Module, shape: tuple[int, ...], *, input_shape: tuple[int, ...],
                 name: str = "network") -> None:
        super().__init__(module, shape, input_shape=input_shape, name=name)
        self.graph: Graph | None = None
        self.history: History | None = None
        self.report: Report | None = None  # of the last inference on the chip
        self._chip: LeptonChip | None = None
        self.optimizer = ""
        self.loss = ""
        self._trained: nn.Module | None = None  # by quantization-aware training: what `quantize` converts
        self._data: tuple[torch.Tensor, torch.Tensor] | None = None
        self.validation = 0.0
        self._serving: Serving | None = None

    def changed(self) -> None:
        """Forget what was made of the network before a change."""
        self.graph = None
        self._trained = None
        self.close()

    # Training

    def compile(self, chip: LeptonChip, optimizer: str = "adam", loss: str = "categorical_crossentropy"
                ) -> "LeptonNetwork":
        """Say how to train, and for which chip. Raises `DataError` for an unknown optimizer or loss."""
        if not isinstance(chip, LeptonChip):
            raise DataError(f"compile needs a LeptonChip, not {type(chip).__name__}")
        if loss not in LOSSES:
            raise DataError(f"loss must be one of {', '.join(LOSSES)}, not {loss!r}")
        make_optimizer(optimizer, [nn.Parameter(torch.zeros(1))], None)
        if is_classification(loss) and (len(self.output_shape) != 1 or self.output_shape[0] < 2):
            raise LayerError(f"loss {loss!r} needs one output for each class, and two at least, not "
                             f"{dimensions(self.output_shape)}; add a dense layer")
        self._chip = chip
        self.optimizer = optimizer
        self.loss = loss
        return self

    def fit(self, x: np.ndarray, y: np.ndarray, epochs: int = 10, batch_size: int = 32, *,
            learning_rate: float | None = None, validation: float = 0.1, patience: int | None = None,
            checkpoint: str | PathLike | None = None, metrics: str | PathLike | None = None, seed: int = 0,
            quantization_aware: bool = False, accelerate: bool = False,
            teacher: "LeptonNetwork | nn.Module | None" = None, teacher_share: float = 0.7, temperature: float = 4.0,
            verbose: bool = True) -> History:
        """Train, and keep the weights of the epoch with the lowest validation loss.

        x: numbers (N, ...) in the network's shape, channels first or last, or as rows. y: classes from 0, rows of
        shares, or real targets. quantization_aware: the forward pass rounds as the int8 network does; begin with
        trained weights. accelerate: the same, and the chip of `compile` computes the forward pass of every batch, with
        the weights of the moment in int8; its outputs equal those of the network that is deployed at that moment.
        teacher: a trained network with the same outputs, from which this one learns, too
        (distillation): `teacher_share` of the loss is the distance to its outputs, which `temperature` makes softer.
        The other options are those of `training.Settings`. Ends early after `patience` epochs without
        improvement. Raises `ToolkitError` before `compile`, `DataError` for data that do not fit.
        """
        if not self.loss:
            raise ToolkitError("fit: say first how to train: compile(chip, optimizer='adam', "
                               "loss='categorical_crossentropy')")
        inputs = inputs_as_tensor(x, self.input_shape)
        labels = labels_as_tensor(y, len(inputs), self.output_shape[0] if is_classification(self.loss) else None)
        settings = Settings(epochs, batch_size, learning_rate, validation, patience, checkpoint, metrics, seed, verbose,
                            teacher_share, temperature)
        soft = None if teacher is None else self._taught_by(teacher, inputs, settings)
        self.changed()
        self._data = inputs, labels
        self.validation = validation
        torch.manual_seed(seed)
        if not quantization_aware and not accelerate:
            self.history = Trainer(self.module, inputs, labels, self.optimizer, self.loss, settings, soft=soft).run()
            return self.history
        self.module.train()
        prepared = prepare_qat(self.module, inputs[:2], frozen=accelerate)
        chip = ChipForward(prepared, self._needed_chip("fit"), self.name) if accelerate else None
        with contextlib.closing(chip or Rounded(prepared)) as module:
            self.history = Trainer(module, inputs, labels, self.optimizer, self.loss, settings, soft=soft).run()
        if chip is not None:
            self.history.chip_inferences = chip.inferences
            self.history.chip_cycles = chip.cycles
        self._trained = prepared
        return self.history

    def _taught_by(self, teacher: "LeptonNetwork | nn.Module", inputs: torch.Tensor,
                   settings: Settings) -> torch.Tensor:
        """The teacher's outputs for all inputs. Raises `DataError` where they are not of this network's shape."""
        if not 0 < settings.teacher_share <= 1 or settings.temperature <= 0:
            raise DataError(f"teacher_share must be above 0 and at most 1, and temperature above 0, not "
                            f"{settings.teacher_share} and {settings.temperature}")
        module = teacher.float_module() if isinstance(teacher, LeptonNetwork) else teacher
        module.eval()
        with torch.no_grad():
            soft = torch.cat([module(part) for part in inputs.split(256)])
        if tuple(soft.shape[1:]) != tuple(self.output_shape):
            raise DataError(f"the teacher gives {dimensions(soft.shape[1:])} outputs, but this network has "
                            f"{dimensions(self.output_shape)}; both must have the same")
        return soft

    # Compression

    def optimize(self, prune: float = 0.5, *, target_cycles: int | None = None, epochs: int = 10,
                 max_drop: float = 0.02, verbose: bool = True) -> OptimizationReport:
        """Prune channels, train again, and quantize; what it gained and cost.

        prune: the share of each convolution's channels that goes, in blocks of the chip's columns; 0 for none. What
        is left is trained for `epochs`. Where the int8 network loses more than `max_drop` of its accuracy, the share is
        halved, and at last nothing is pruned. target_cycles: instead of a share, take out blocks of channels where they
        save the most cycles for the weights that they hold, until the compiler predicts at most `target_cycles`.
        A network after quantization-aware training, or one that is no chain of layers, is quantized only. Raises
        `ToolkitError` before `fit`.
        """
        if not 0 <= prune < 1:
            raise DataError(f"prune must be a share from 0 to below 1, not {prune}")
        chip = self._needed_chip("optimize")
        if self._data is None:
            raise ToolkitError("optimize: train the network first (fit): pruning needs its data")
        if target_cycles is not None:
            if target_cycles < 1:
                raise DataError(f"target_cycles must be at least 1, not {target_cycles}")
            return searched(self, chip, *self._data, target_cycles, epochs, verbose)
        return optimized(self, chip, *self._data, prune, epochs, max_drop, verbose)

    @property
    def quantization_aware(self) -> bool:
        """Whether the last training rounded as the int8 network does."""
        return self._trained is not None

    def float_module(self) -> nn.Module:
        """What is quantized, ready to compute."""
        module = self.module if self._trained is None else self._trained
        module.eval()
        return module

    def quantize(self, calibration: np.ndarray | None = None) -> Graph:
        """The int8 network, with ranges from `calibration`, by default from the training data."""
        if calibration is not None:
            data = inputs_as_tensor(calibration, self.input_shape)
        elif self._data is not None:
            data = self._data[0][:CALIBRATION]
        else:
            raise ToolkitError("quantize: give calibration data, or train the network first (fit)")
        self.graph = quantize(self.float_module(), data, name=self.name)
        return self.graph

    # Use

    def deploy(self, chip: LeptonChip | None = None, *, file: str | PathLike | None = None) -> CompiledModel:
        """Compile the int8 network and load it into the chip's memory; `predict` runs there from now on.

        chip: by default that of `compile`. file: where the compiled network is stored as well. Raises `ToolkitError`
        before `fit` or `optimize`.
        """
        target = chip or self._needed_chip("deploy")
        if self.graph is None and self._data is None:
            raise ToolkitError("deploy: train the network first (fit), or quantize it with calibration data (quantize)")
        self.close()
        model = compile_graph(self.graph or self.quantize(), target.config)
        if file is not None:
            model.save(str(file))
        self._chip = target
        self._serving = Serving(model, target)
        return model

    @property
    def model(self) -> CompiledModel:
        """The compiled network. Raises `ToolkitError` before `deploy`."""
        return self._deployed().model

    def _deployed(self) -> Serving:
        if self._serving is None:
            raise ToolkitError("the network is not deployed yet: deploy(chip)")
        return self._serving

    def decision_function(self, x: np.ndarray) -> np.ndarray:
        """float64 (N, outputs): on the chip after `deploy`, in float on the CPU before it."""
        inputs = inputs_as_tensor(x, self.input_shape)
        if self._serving is None:
            self.module.eval()
            with torch.no_grad():
                return self.module(inputs).reshape(len(inputs), -1).double().numpy()
        made = self._serving.outputs(inputs.numpy())
        self.report = self._serving.report
        return made

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The class of each input, int64 (N,); real outputs, float64 (N, outputs), of a network trained for them."""
        outputs = self.decision_function(x)
        return outputs.argmax(1) if is_classification(self.loss or LOSSES[0]) else outputs

    def score(self, x: np.ndarray, y: np.ndarray) -> float:
        """The share of inputs whose class is predicted."""
        labels = labels_as_tensor(y, len(x), self.output_shape[0]).numpy()
        return float((self.predict(x) == labels).mean())

    def cloud_integrate(self, cloud: LeptonCloud | str | PathLike) -> ResultLog:
        """Send the results of `predict` to the cloud from now on; `close`, or the end of the program, sends the rest.

        Raises `ToolkitError` before `deploy`, and the errors of the spool.
        """
        place = cloud if isinstance(cloud, LeptonCloud) else LeptonCloud(str(cloud))
        return self._deployed().connect(place)

    def close(self) -> str:
        """Send what is left to the cloud, and free the chip's memory. What became of the results, in a line."""
        if self._serving is None:
            return ""
        summary = self._serving.close()
        self._serving = None
        return summary

    def save(self, path: str | PathLike) -> None:
        """The weights of the float network, for `load_weights`."""
        torch.save(self.module.state_dict(), path)

    def load_weights(self, path: str | PathLike) -> None:
        """Raises `DataError` for a file of another network."""
        try:
            self.module.load_state_dict(torch.load(path, weights_only=True))
        except Exception as error:  # the loader raises whatever the damage leads to
            raise DataError(f"{path}: does not hold weights of this network ({type(error).__name__})") from None
        self.changed()

    def _needed_chip(self, what: str) -> LeptonChip:
        if self._chip is None:
            raise ToolkitError(f"{what}: there is no chip yet: compile(chip, ...)")
        return self._chip
