"""From data to a trained network on the chip, in a few calls: a thin layer over compiler, driver and results.

- `chip`, `cloud`: the board and the place for results, opened when they are used
- `kit`: `LeptonToolkit`, which makes networks: pretrained ones, and people's own modules
- `network`: `LeptonNetwork`: layers, training, compression, deployment
- `layers`: shapes of layers that are added, checked against what precedes them
- `training`: the training loop with checkpoints; `data`: arrays as its tensors
- `pruning`: fewer channels; `optimize`: as far as accuracy allows; `report`: a network before and after
- `serving`: a deployed network, whose results go to the cloud
- `zoo`: networks with weights, the scripts that train them, and their cards

Needs the extra `lepton-chip[toolkit]`. torch is imported with the first network.
"""

from .chip import LeptonChip
from .cloud import LeptonCloud
from .kit import LeptonToolkit

__all__ = ["LeptonChip", "LeptonCloud", "LeptonToolkit"]
