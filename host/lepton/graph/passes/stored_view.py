"""A tensor read through a transpose and a reshape that are only done where an operator needs the result."""

from dataclasses import dataclass
from math import prod

import numpy as np

Order = tuple[int, ...]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class StoredView:
    """The tensor `reshape(transpose(stored, order), shape)`. `stored` is a tensor's name, `extents` its shape."""

    stored: str
    extents: Shape
    order: Order
    shape: Shape

    @classmethod
    def of(cls, stored: str, shape: Shape) -> "StoredView":
        return cls(stored, tuple(shape), tuple(range(len(shape))), tuple(shape))

    @classmethod
    def in_order(cls, stored: str, extents: Shape, order: Order) -> "StoredView":
        """The value whose axis order[i] is the stored axis i."""
        back = tuple(order.index(axis) for axis in range(len(order)))
        return cls(stored, tuple(extents), back, tuple(extents[axis] for axis in back))

    @property
    def transposed(self) -> Shape:
        return tuple(self.extents[i] for i in self.order)

    @property
    def plain(self) -> bool:
        """True for the stored tensor itself."""
        return self.shape == self.extents and self.order == tuple(range(len(self.extents)))

    @property
    def keeps_elements(self) -> bool:
        """True where the elements are in the order in which they are stored; dimensions of 1 may be anywhere."""
        moved = [i for i in self.order if self.extents[i] != 1]
        return moved == sorted(moved)

    @property
    def only_transposed(self) -> bool:
        return self.shape == self.transposed

    def reshaped(self, shape: Shape) -> "StoredView":
        return StoredView(self.stored, self.extents, self.order, tuple(shape))

    def then(self, order: Order) -> "StoredView":
        """Transposed further; the view must be one without a reshape."""
        composed = tuple(self.order[i] for i in order)
        return StoredView(self.stored, self.extents, composed, tuple(self.extents[i] for i in composed))

    def elements(self) -> np.ndarray:
        """For each element of the view, in order, its place among the stored ones."""
        return np.arange(prod(self.extents)).reshape(self.extents).transpose(self.order).ravel()


def split_reshape(view: StoredView) -> tuple[Shape, Order] | None:
    """(extents, order): the view as a transpose by `order` of the stored elements reshaped to `extents`.

    Dimensions of 1 come first. None where elements of a joined dimension do not follow one another in the stored
    tensor.
    """
    runs = _matching_runs(view.transposed, view.shape)
    pieces = []  # (first stored axis, stored axes, axes of the view)
    for sources, targets in runs:
        axes = [view.order[i] for i in sources if view.extents[view.order[i]] != 1]
        if axes and axes != [a for a in range(axes[0], axes[-1] + 1) if view.extents[a] != 1]:
            return None
        pieces.append((-1, [axis for axis in targets if view.shape[axis] == 1]))
        pieces.append((axes[0] if axes else -1, [axis for axis in targets if view.shape[axis] != 1]))
    ordered = sorted(range(len(pieces)), key=lambda i: pieces[i][0])
    extents = [view.shape[axis] for i in ordered for axis in pieces[i][1]]
    stored_axes = [axis for i in ordered for axis in pieces[i][1]]
    return tuple(extents), tuple(stored_axes.index(axis) for axis in range(len(view.shape)))


def grouped_order(view: StoredView) -> Order:
    """An order of the stored axes that makes `split_reshape` work: joined axes side by side, else as stored."""
    runs = _matching_runs(view.transposed, view.shape)
    groups = [[view.order[i] for i in sources] for sources, _ in runs if sources]
    groups.sort(key=lambda axes: min((a for a in axes if view.extents[a] != 1), default=-1))
    return tuple(axis for axes in groups for axis in axes)


def _matching_runs(a: Shape, b: Shape) -> list[tuple[list[int], list[int]]]:
    """The smallest runs of axes of `a` and of `b` that have the same number of elements."""
    runs = []
    i = 0
    j = 0
    while i < len(a) or j < len(b):
        left = []
        right = []
        sizes = [1, 1]
        if i < len(a):
            left.append(i)
            sizes[0] *= a[i]
            i += 1
        if j < len(b) and (sizes[0] != 1 or not left):
            right.append(j)
            sizes[1] *= b[j]
            j += 1
        while sizes[0] != sizes[1]:
            if sizes[0] < sizes[1]:
                left.append(i)
                sizes[0] *= a[i]
                i += 1
            else:
                right.append(j)
                sizes[1] *= b[j]
                j += 1
        runs.append((left, right))
    return runs
