"""Errors of torch and torchao as errors of the graph."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from lepton.graph import GraphError

from ..logs import quiet


@contextmanager
def named(what: str) -> Iterator[None]:
    """Whatever torch or torchao raise inside becomes a GraphError that says what they could not do."""
    try:
        with warnings.catch_warnings(), quiet():
            warnings.simplefilter("ignore")  # torch's own, about its own insides
            yield
    except GraphError:
        raise
    except Exception as error:  # it runs the user's code: anything can be raised there
        kind = type(error).__name__
        text = str(error).strip().split("\n")[0]
        hint = "; a program must not branch on values: use torch.where" if "DataDependent" in kind else ""
        raise GraphError(f"torch cannot {what}: {kind}: {text}{hint}") from error
