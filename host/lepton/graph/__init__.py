"""The graph between front ends and compiler: typed tensors, operators, nodes.

A front end builds a `Graph`; the compiler only reads it. Operators say what the
framework's kernels compute, with paddings made explicit and fused activations
turned into clamp ranges. `ops` has the operators, `core` what holds them together, `verify` says
whether a graph is well formed, `interpret` computes it. Nothing here knows the chip.
"""

from .core import *  # noqa: F403
from .ops import *  # noqa: F403
