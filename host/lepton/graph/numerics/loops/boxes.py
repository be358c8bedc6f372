"""Boxes of objects, (y, x, y, x) each, and those that overlap."""

import numpy as np

Array = np.ndarray
Float = np.float32

TYPES = {
    "suppress": "FLOAT32[:,:] FLOAT32[:] float32 float32 int64[:] int64[:]",
    "detect": "FLOAT32[:,:] FLOAT32[:,:] FLOAT32[:,:] FLOAT32[:,:] int64 float32 float32 float32 float32 float32[:,:] "
              "int64[:,:] int64 float32[:,:]",
}


def sift(heap: Array, scores: Array, at: int, count: int) -> None:
    """Moves the place at `at` down the heap of `count` places, whose top is the first of those with the best score."""
    place = heap[at]
    while 2 * at + 1 < count:
        below = 2 * at + 1
        if below + 1 < count:
            a = heap[below]
            b = heap[below + 1]
            if scores[b] > scores[a] or (scores[b] == scores[a] and b < a):
                below += 1
        other = heap[below]
        if scores[place] > scores[other] or (scores[place] == scores[other] and place < other):
            break
        heap[at] = other
        at = below
    heap[at] = place


def overlaps(box: Array, other: Array, most_overlap: Float) -> bool:
    """Whether the boxes have more than `most_overlap` of their union in common, each step in float32."""
    area = (box[2] - box[0]) * (box[3] - box[1])
    other_area = (other[2] - other[0]) * (other[3] - other[1])
    height = max(min(box[2], other[2]) - max(box[0], other[0]), np.float32(0))
    width = max(min(box[3], other[3]) - max(box[1], other[1]), np.float32(0))
    common = height * width
    return area > 0 and other_area > 0 and common / (other_area + area - common) > most_overlap


def suppress(boxes: Array, scores: Array, least_score: Float, most_overlap: Float, heap: Array, kept: Array) -> None:
    """detection.DetectionPostProcess._suppress: -1 behind the last. A heap sorts only as many as are needed."""
    count = 0
    for place in range(scores.size):
        if scores[place] >= least_score:
            heap[count] = place
            count += 1
    for at in range(count // 2 - 1, -1, -1):
        sift(heap, scores, at, count)
    kept[:] = -1
    found = 0
    while count > 0 and found < kept.size:
        place = heap[0]
        count -= 1
        heap[0] = heap[count]
        sift(heap, scores, 0, count)
        alone = True
        for i in range(found):
            if overlaps(boxes[place], boxes[kept[i]], most_overlap):
                alone = False
                break
        if alone:
            kept[found] = place
            found += 1


def detect(encodings: Array, sizes: Array, anchors: Array, scores: Array, first: int, scale_y: Float, scale_x: Float,
           least_score: Float, most_overlap: Float, reals: Array, places: Array, most: int, result: Array) -> None:
    """detection.DetectionPostProcess of one class for a box, counted from column `first` of `scores`. `sizes` are the
    exponentials of heights and widths, `reals` and `places` are room for boxes, scores and places. The second value of
    the last row is 0 where a number is not finite: then the result is not that of the code in numpy."""
    finite = True
    count = anchors.shape[0]
    flat = reals.reshape(5 * count)
    boxes = flat[:4 * count].reshape((count, 4))
    best = flat[4 * count:]
    labels = places[0]
    heap = places[1]
    kept = places[2, :most]
    for i in range(anchors.shape[0]):
        center_y = encodings[i, 0] / scale_y * anchors[i, 2] + anchors[i, 0]
        center_x = encodings[i, 1] / scale_x * anchors[i, 3] + anchors[i, 1]
        half_height = np.float32(0.5) * sizes[i, 0] * anchors[i, 2]
        half_width = np.float32(0.5) * sizes[i, 1] * anchors[i, 3]
        box = boxes[i]
        box[0] = center_y - half_height
        box[1] = center_x - half_width
        box[2] = center_y + half_height
        box[3] = center_x + half_width
        largest = scores[i, first]
        label = first
        for j in range(first, scores.shape[1]):
            finite = finite and scores[i, j] == scores[i, j]
            if scores[i, j] > largest:
                largest = scores[i, j]
                label = j
        best[i] = largest
        labels[i] = label - first
        for j in range(4):
            finite = finite and np.isfinite(box[j])
    suppress(boxes, best, least_score, most_overlap, heap, kept)
    result[:] = 0
    count = 0
    while count < kept.size and kept[count] >= 0:
        place = kept[count]
        for j in range(4):
            result[count, j] = boxes[place, j]
        result[count, 4] = np.float32(labels[place])
        result[count, 5] = best[place]
        count += 1
    result[-1, 0] = np.float32(count)
    result[-1, 1] = np.float32(1) if finite else np.float32(0)


HELPERS = (sift, overlaps, suppress)
