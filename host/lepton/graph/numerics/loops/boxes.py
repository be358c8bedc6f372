"""Boxes that overlap."""

import numpy as np

Array = np.ndarray
Float = np.float32

TYPES = {"suppress": "FLOAT32[:,:] INT64[:] float32 int64[:]"}


def suppress(boxes: Array, order: Array, most_overlap: Float, kept: Array) -> None:
    """detection.DetectionPostProcess: of `boxes` (y, x, y, x) in `order`, those that overlap none before them by more
    than `most_overlap` of their union; -1 behind the last. Every step is float32's, as in the code in numpy."""
    count = 0
    kept[:] = -1
    for at in range(order.size):
        if count == kept.size:
            break
        box = boxes[order[at]]
        area = (box[2] - box[0]) * (box[3] - box[1])
        alone = True
        for i in range(count):
            other = boxes[kept[i]]
            other_area = (other[2] - other[0]) * (other[3] - other[1])
            height = max(min(box[2], other[2]) - max(box[0], other[0]), np.float32(0))
            width = max(min(box[3], other[3]) - max(box[1], other[1]), np.float32(0))
            common = height * width
            if area > 0 and other_area > 0 and common / (other_area + area - common) > most_overlap:
                alone = False
                break
        if alone:
            kept[count] = order[at]
            count += 1
