"""The training loop: progress, early stopping, checkpoints that survive a kill, metrics in a file, best weights."""

import copy
import json
import os
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from .data import DataError

OPTIMIZERS = ("adam", "adamw", "sgd", "rmsprop")
LOSSES = ("categorical_crossentropy", "sparse_categorical_crossentropy", "mse", "mean_squared_error")
_RATES = {"adam": 5e-3, "adamw": 5e-3, "sgd": 1e-2, "rmsprop": 1e-3}  # for networks of some thousand weights
_SHOWN_AFTER = 2.0  # seconds: shorter trainings show no time left
_FORMAT = 1  # of checkpoints


@dataclass(frozen=True)
class Settings:
    """How to train.

    validation: the last share of the inputs, kept for validation. patience: epochs without a lower validation loss
    after which training ends, None for never. checkpoint: a file that is written after each epoch, and from which an
    interrupted training goes on. metrics: a file with one JSON object for each epoch. seed: of the order of inputs and
    of everything random in the network. teacher_share: of the loss that comes from a teacher, at `temperature`.
    """

    epochs: int = 10
    batch_size: int = 32
    learning_rate: float | None = None
    validation: float = 0.1
    patience: int | None = None
    checkpoint: str | os.PathLike | None = None
    metrics: str | os.PathLike | None = None
    seed: int = 0
    verbose: bool = True
    teacher_share: float = 0.0
    temperature: float = 4.0  # as in Hinton et al., "Distilling the Knowledge in a Neural Network", 2015


@dataclass
class History:
    """Figures of each epoch, the epoch whose weights were kept, and what a chip did in its forward passes.

    chip_cycles is 0 where the device counts no cycles.
    """

    epochs: list[dict[str, float]] = field(default_factory=list)
    best_epoch: int = -1
    stopped_early: bool = False
    chip_inferences: int = 0
    chip_cycles: int = 0

    def __str__(self) -> str:
        from ..text import table

        names = list(self.epochs[0]) if self.epochs else []
        rows = [[str(i + 1), *(f"{figures[name]:.4g}" for name in names), "*" if i == self.best_epoch else ""]
                for i, figures in enumerate(self.epochs)]
        return table(("epoch", *names, "kept"), rows)


def is_classification(loss: str) -> bool:
    """Whether a loss compares classes."""
    return loss.endswith("crossentropy")


def make_optimizer(name: str, parameters: Any, rate: float | None) -> torch.optim.Optimizer:
    """An optimizer by Keras's name. Raises `DataError` for an unknown one."""
    if name not in OPTIMIZERS:
        raise DataError(f"optimizer must be one of {', '.join(OPTIMIZERS)}, not {name!r}")
    kinds = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW, "sgd": torch.optim.SGD,
             "rmsprop": torch.optim.RMSprop}
    options: dict[str, Any] = {"momentum": 0.9} if name == "sgd" else {}
    return kinds[name](parameters, lr=_RATES[name] if rate is None else rate, **options)


class Trainer:
    """Trains one module on one set of tensors."""

    def __init__(self, module: nn.Module, x: torch.Tensor, y: torch.Tensor, optimizer: str, loss: str,
                 settings: Settings,
                 soft: torch.Tensor | None = None) -> None:
        """soft: a teacher's outputs (N, classes) for x, of which the loss takes the share `settings.teacher_share`."""
        held = round(len(x) * settings.validation)
        if not 0 <= settings.validation < 1 or len(x) - held < 1 or settings.epochs < 1 or settings.batch_size < 1:
            raise DataError(f"validation must be a share below 1 that leaves inputs to train with, epochs and "
                            f"batch_size at least 1, not {settings.validation}, {settings.epochs} and "
                            f"{settings.batch_size} for {len(x)} inputs")
        self.module = module
        self.settings = settings
        self.loss = loss
        self.train_x = x[:len(x) - held]
        self.train_y = y[:len(x) - held]
        self.soft = soft
        self.held_x = x[len(x) - held:]
        self.held_y = y[len(x) - held:]
        self.held_soft = None if soft is None else soft[len(x) - held:]
        self.optimizer = make_optimizer(optimizer, module.parameters(), settings.learning_rate)
        self.history = History()
        self._best: dict[str, Any] = {}
        self._identity = {"format": _FORMAT, "optimizer": optimizer, "loss": loss, "inputs": list(x.shape),
                          "batch_size": settings.batch_size, "seed": settings.seed, "validation": settings.validation,
                          "learning_rate": settings.learning_rate,
                          "teacher": [settings.teacher_share, settings.temperature] if soft is not None else None,
                          "parameters": [list(p.shape) for p in module.parameters()]}

    def run(self) -> History:
        """Train; the module has the best weights afterwards. Raises `DataError` for another training's checkpoint."""
        torch.manual_seed(self.settings.seed)
        self._resume()
        started = time.monotonic()
        first = len(self.history.epochs)
        for epoch in range(first, self.settings.epochs):
            if self._exhausted():
                self.history.stopped_early = True
                break
            before = time.monotonic()
            figures = self._epoch(epoch)
            self.history.epochs.append(figures)
            if self._is_best(figures):
                self.history.best_epoch = epoch
                self._best = copy.deepcopy(self.module.state_dict())
            self._keep(figures | {"seconds": time.monotonic() - before}, epoch)
            self._show(figures, epoch, (time.monotonic() - started) / (epoch + 1 - first))
        if self._best:
            self.module.load_state_dict(self._best)
        self.module.train(False)
        return self.history

    def _epoch(self, epoch: int) -> dict[str, float]:
        self.module.train(True)
        order = torch.randperm(len(self.train_x), generator=torch.Generator().manual_seed(self.settings.seed + epoch))
        total = 0.0
        right = 0
        batches = [b for b in order.split(self.settings.batch_size) if len(b) > 1 or len(order) == 1]
        for batch in batches:  # a last batch of one input is left out: normalization needs two
            x = self.train_x[batch]
            y = self.train_y[batch]
            self.optimizer.zero_grad()
            outputs = self.module(x)
            value = self._objective(outputs, y, None if self.soft is None else self.soft[batch])
            if not torch.isfinite(value):
                raise DataError(f"the loss is {value.item()} in epoch {epoch + 1}: lower the learning rate, or scale "
                                "the inputs to about -1..1")
            value.backward()
            self.optimizer.step()
            total += float(value.detach()) * len(batch)
            right += self._right(outputs, y)
        count = sum(map(len, batches))
        figures = {"loss": total / count}
        if is_classification(self.loss):
            figures["accuracy"] = right / count
        return figures | self._validated()

    def _validated(self) -> dict[str, float]:
        if not len(self.held_x):
            return {}
        self.module.train(False)
        with torch.no_grad():
            outputs = torch.cat([self.module(x) for x in self.held_x.split(256)])
        figures = {"val_loss": float(self._objective(outputs, self.held_y, self.held_soft))}
        if is_classification(self.loss):
            figures["val_accuracy"] = self._right(outputs, self.held_y) / len(self.held_y)
        return figures

    def _objective(self, outputs: torch.Tensor, y: torch.Tensor, soft: torch.Tensor | None) -> torch.Tensor:
        """The loss, of which the teacher's outputs `soft` take their share."""
        value = self._loss(outputs, y)
        if soft is None:
            return value
        share = self.settings.teacher_share
        return (1 - share) * value + share * self._taught(outputs, soft)

    def _loss(self, outputs: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        if is_classification(self.loss):
            return nn.functional.cross_entropy(outputs, y)
        return nn.functional.mse_loss(outputs.reshape(len(y), -1), y)

    def _taught(self, outputs: torch.Tensor, soft: torch.Tensor) -> torch.Tensor:
        """The distance to the teacher: Kullback-Leibler divergence of classes, squares of other targets."""
        if not is_classification(self.loss):
            return nn.functional.mse_loss(outputs.reshape(soft.shape), soft)
        heat = self.settings.temperature
        return heat**2 * nn.functional.kl_div(nn.functional.log_softmax(outputs / heat, 1),
                                              nn.functional.log_softmax(soft / heat, 1), reduction="batchmean",
                                              log_target=True)

    def _right(self, outputs: torch.Tensor, y: torch.Tensor) -> int:
        return int((outputs.argmax(1) == y).sum()) if is_classification(self.loss) else 0

    def _measure(self, figures: dict[str, float]) -> float:
        return figures.get("val_loss", figures["loss"])

    def _is_best(self, figures: dict[str, float]) -> bool:
        best = self.history.best_epoch
        return best < 0 or self._measure(figures) < self._measure(self.history.epochs[best])

    def _exhausted(self) -> bool:
        patience = self.settings.patience
        return patience is not None and len(self.history.epochs) - 1 - self.history.best_epoch >= patience > 0

    def _resume(self) -> None:
        path = self.settings.checkpoint
        if path is None or not Path(path).exists():
            return
        try:
            saved = torch.load(path, weights_only=True)
        except Exception as error:  # the loader raises whatever the damage leads to
            raise DataError(f"{path}: is no checkpoint that can be read ({type(error).__name__}); remove it to begin "
                            "again") from None
        if not isinstance(saved, dict) or saved.get("identity") != self._identity:
            raise DataError(f"{path}: is the checkpoint of another training (network, data size, optimizer, loss, "
                            "seed or batch size differ); remove it, or name another file")
        self.module.load_state_dict(saved["module"])
        self.optimizer.load_state_dict(saved["optimizer"])
        torch.set_rng_state(saved["random"])
        self.history = History(saved["epochs"], saved["best_epoch"])
        self._best = saved["best"]

    def _keep(self, figures: dict[str, float], epoch: int) -> None:
        """Metrics and checkpoint of an epoch. A checkpoint is complete or the one before."""
        if self.settings.metrics is not None:
            with Path(self.settings.metrics).open("a", encoding="utf-8") as file:
                file.write(json.dumps({"epoch": epoch + 1, **figures}) + "\n")
        if self.settings.checkpoint is not None:
            path = Path(self.settings.checkpoint)
            temporary = path.with_name(f".{path.name}.{os.getpid()}")
            torch.save({"identity": self._identity, "module": self.module.state_dict(),
                        "optimizer": self.optimizer.state_dict(), "random": torch.get_rng_state(),
                        "epochs": self.history.epochs, "best_epoch": self.history.best_epoch, "best": self._best},
                       temporary)
            temporary.replace(path)

    def _show(self, figures: dict[str, float], epoch: int, seconds: float) -> None:
        if not self.settings.verbose:
            return
        left = seconds * (self.settings.epochs - epoch - 1)
        text = "  ".join(f"{name} {value:.4f}" for name, value in figures.items())
        remaining = f"  {left:.0f} s left" if seconds * self.settings.epochs > _SHOWN_AFTER and left else ""
        end = "\r" if sys.stderr.isatty() and epoch + 1 < self.settings.epochs else "\n"
        line = f"epoch {epoch + 1} of {self.settings.epochs}  {text}{remaining}"
        print(line + (" " * 4 if end == "\r" else ""), end=end, file=sys.stderr, flush=True)
