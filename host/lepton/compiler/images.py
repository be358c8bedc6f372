"""How the chip sees an activation: one image of height, width and channels."""

from ..graph import GraphError


def image_shape(shape: tuple[int, ...], where: str) -> tuple[int, int, int]:
    """(height, width, channels) of an activation of 1 to 4 dimensions, missing ones being 1."""
    if not 1 <= len(shape) <= 4 or any(n < 1 for n in shape):
        raise GraphError(f"{where}: an activation must have 1 to 4 dimensions of at least 1, not shape {shape}")
    if len(shape) == 4 and shape[0] != 1:
        raise GraphError(f"{where}: the batch must be 1, not {shape[0]}; import the network with batch 1")
    height, width, channels = (1, 1, 1, *(shape[1:] if len(shape) == 4 else shape))[-3:]
    return height, width, channels
