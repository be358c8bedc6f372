"""How accurate a network is: as its framework computes it, in int8, and on a device.

- `reference`: a network's file in its own framework, with all values in between
- `noise`: what quantization changes in each layer
- `accuracy`: top-1 accuracy and the confusion matrix
- `evaluate`: all of it, as `lepton eval` shows it
"""

from .accuracy import Accuracy
from .evaluate import Evaluation, evaluate
from .noise import ValueNoise, layer_noise
from .reference import Reference, ReferenceMissing, open_reference

__all__ = ["Accuracy", "Evaluation", "Reference", "ReferenceMissing", "ValueNoise", "evaluate", "layer_noise",
           "open_reference"]
