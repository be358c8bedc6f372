"""Networks of one operator with random scales, and their comparison with LiteRT's reference kernels."""

import numpy as np
from lepton.frontends import import_tflite
from lepton.graph import GraphError
from lepton.graph.interpret import evaluate

from tests.litert_child import reference_results
from tests.litert_models import Tensor

CASES = 60  # for each operator
# What LiteRT's kernels run with, though C++ does not define it: conversions beyond int32, shifts by less than 0
UNDEFINED = ("has no defined result", "cannot be computed, in TFLite either")


class Draw:
    """Random scales and zero points of one data type."""

    def __init__(self, seed: int, dtype=np.int8):
        self.random = np.random.default_rng(seed)
        self.dtype = np.dtype(dtype)
        self.info = np.iinfo(dtype)

    def scale(self, near: float | None = None) -> float:
        """Any scale, or one in a ratio of 1e-6 to 1e6, mostly of 0.1 to 10, to `near`; half of them with few digits."""
        r = self.random
        span = 6 if r.random() < 0.2 else 1
        value = 10 ** r.uniform(-4, 1) if near is None else near * 10 ** r.uniform(-span, span)
        if r.random() < 0.5:
            value = float(f"{value:.{int(r.integers(1, 4))}g}")
        return float(np.float32(value))

    def zero(self) -> int:
        ends = (self.info.min, self.info.max, (self.info.min + self.info.max + 1) // 2)
        return int(self.random.choice(ends) if self.random.random() < 0.4 else
                   self.random.integers(self.info.min, self.info.max + 1))

    def tensor(self, shape, near: float | None = None) -> Tensor:
        return Tensor(self.scale(near), self.zero(), shape=shape, dtype=self.dtype)

    def values(self, shape) -> np.ndarray:
        return self.random.integers(self.info.min, self.info.max + 1, shape).astype(self.dtype)


def check(models: list[tuple[bytes, list[np.ndarray]]], optimized: bool = False) -> None:
    """Fails unless each model gives the same bytes, or is refused by both."""
    failures = []
    same = 0
    for number, ((model, inputs), wanted) in enumerate(zip(models, reference_results(models, optimized), strict=True)):
        refused = wanted.splitlines()[0] if isinstance(wanted, str) else None
        try:
            graph = import_tflite(model)
            got = evaluate(graph, dict(zip(graph.inputs, inputs, strict=True)))
        except GraphError as error:
            if refused is None and not any(text in str(error) for text in UNDEFINED):
                failures.append(f"{number}: Lepton refuses: {error}")
            continue
        if refused is not None:
            failures.append(f"{number}: LiteRT refuses: {refused}")
            continue
        for name, expected in zip(graph.outputs, wanted, strict=True):
            differ = np.argwhere(got[name].ravel() != expected.ravel()).ravel()
            if got[name].dtype != expected.dtype or got[name].shape != expected.shape or differ.size:
                first = [(int(i), got[name].flat[i], expected.flat[i]) for i in differ[:3]]
                failures.append(f"{number}: {differ.size} of {expected.size} differ: {first}")
        same += 1
    assert not failures, f"{len(failures)} of {len(models)} fail\n" + "\n".join(failures[:20])
    assert same > len(models) // 3


def fused(draw: Draw) -> dict:
    return {"FusedActivationFunction": int(draw.random.choice([0, 0, 1, 2, 3]))}
