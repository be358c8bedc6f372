"""Changes in place that other views of the same memory show: `y[:, 0] = 0`, `y[mask] = 1`, `y.view(-1).relu_()`.

PyTorch's functionalization turns each into an operator that makes a new tensor, and computes the views again from it.
Where what is written is a block (`slice_scatter`, `select_scatter`, `copy`), the new tensor is here a concatenation of
the block and what is around it, which stays int8 on the chip.
"""

from collections.abc import Callable

import torch
from torch.export import ExportedProgram

from .functional import seen_through_views

aten = torch.ops.aten


def functionalized(program: ExportedProgram) -> ExportedProgram:
    """`program` without changes in place, if it has some that other views show; else itself."""
    return program.run_decompositions(dict(_BLOCKS)) if seen_through_views(program.graph) else program


def _copy(x: torch.Tensor, source: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    """`source` as a tensor of the shape and type of `x`."""
    source = source if source.dtype == x.dtype else source.to(x.dtype)
    return source if source.shape == x.shape else source.expand_as(x)


def _slice_scatter(x: torch.Tensor, source: torch.Tensor, dim: int = 0, start: int | None = None,
                   end: int | None = None, step: int = 1) -> torch.Tensor:
    """`x` with `source` in place of x[start:end] along one axis."""
    extent = x.shape[dim]
    if step != 1 or not isinstance(extent, int):
        return NotImplemented  # stays as it is, for the host
    begin, stop, _ = slice(start, end).indices(extent)
    if stop <= begin:
        return x
    parts = (x.narrow(dim, 0, begin), _copy(x.narrow(dim, begin, stop - begin), source),
             x.narrow(dim, stop, extent - stop))
    kept = [part for part in parts if part.shape[dim]]
    return torch.cat(kept, dim) if len(kept) > 1 else kept[0]


def _select_scatter(x: torch.Tensor, source: torch.Tensor, dim: int, index: int) -> torch.Tensor:
    """`x` with `source` in place of one place along an axis."""
    extent = x.shape[dim]
    if not isinstance(extent, int):
        return NotImplemented
    place = index % extent
    return _slice_scatter(x, source.unsqueeze(dim), dim, place, place + 1)


_BLOCKS: dict[torch._ops.OperatorBase, Callable[..., torch.Tensor]] = {
    aten.copy.default: _copy, aten.slice_scatter.default: _slice_scatter, aten.select_scatter.default: _select_scatter}
