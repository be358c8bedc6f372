"""The operators, each described once: attributes, contract, shape rule, checks, arithmetic and costs.

"int8" in a contract means int8 with one scale and one zero point per tensor. Where the arithmetic differs between
frameworks, `Graph.arithmetic` decides; `compute` is what the framework's own kernel computes.

`clamp`: smallest and largest value of a quantized result, what a fused activation comes to.

`unsigned`: the framework computes with uint8 values and zero points, 128 above those here. The reals are the same,
but rounding is not: with `Arithmetic.FLOAT` zero points are added to a float before it is rounded; TFLite's averages
of uint8 round ties up, those of int8 away from zero, and it multiplies the scales of uint8 convolutions in float32.

`in_float`: with `Arithmetic.FLOAT`, int8 operands are dequantized, the operator is computed in float32, and the
result is divided by its scale, rounded to even and moved by its zero point, each operation rounded to float32.

A new operator is a class in one of these modules and in its `__all__`; nothing else has to know it.
"""

from inspect import isabstract

from ..core import Op
from .along_axis import *  # noqa: F403
from .arithmetic import *  # noqa: F403
from .aten import *  # noqa: F403
from .bilinear import *  # noqa: F403
from .block_weights import *  # noqa: F403
from .convert import *  # noqa: F403
from .convolution import *  # noqa: F403
from .detection import *  # noqa: F403
from .dynamic import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .float_layers import *  # noqa: F403
from .functions import *  # noqa: F403
from .gather import *  # noqa: F403
from .head_product import *  # noqa: F403
from .integers import *  # noqa: F403
from .interpolate import *  # noqa: F403
from .layer_norm import *  # noqa: F403
from .log_softmax import *  # noqa: F403
from .logic import *  # noqa: F403
from .lstm import *  # noqa: F403
from .move import *  # noqa: F403
from .normalize import *  # noqa: F403
from .pool import *  # noqa: F403
from .product import *  # noqa: F403
from .reduce import *  # noqa: F403
from .resize import *  # noqa: F403
from .scatter import *  # noqa: F403
from .softmax import *  # noqa: F403
from .svdf import *  # noqa: F403
from .topk import *  # noqa: F403
from .unary import *  # noqa: F403

# The operators among the names above, as compiled files and errors name them; base classes are abstract.
OPERATORS: dict[str, type[Op]] = {
    name: kind for name, kind in globals().items()
    if isinstance(kind, type) and issubclass(kind, Op) and not isabstract(kind)}
