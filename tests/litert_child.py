"""LiteRT's reference kernels in a child process, because they abort the process on some networks."""

import faulthandler
import os
import pickle
from collections.abc import Sequence

import numpy as np

from tests.litert_models import references


def reference_results(cases: Sequence[tuple[bytes, Sequence[np.ndarray]]], optimized: bool = False
                      ) -> list[list[np.ndarray] | str]:
    """The outputs of every model on its inputs, or the text of LiteRT's error ("abort" where it ends the process).

    `optimized`: its optimized kernels, where the reference ones lack or spoil an operator.
    """
    results: list[list[np.ndarray] | str] = []
    while len(results) < len(cases):
        results += _until_abort(cases[len(results):], optimized)
    return results


def _until_abort(cases, optimized: bool) -> list[list[np.ndarray] | str]:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        faulthandler.disable()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with os.fdopen(write, "wb") as pipe:
            for model, inputs in cases:
                try:
                    made = references(model, *inputs, optimized=optimized)
                    answer: list[np.ndarray] | str = [np.array(value) for value in made]
                except Exception as error:
                    answer = str(error)
                pickle.dump(answer, pipe)
                pipe.flush()
        os._exit(0)
    os.close(write)
    answers: list[list[np.ndarray] | str] = []
    with os.fdopen(read, "rb") as pipe:
        while len(answers) < len(cases):
            try:
                answers.append(pickle.load(pipe))
            except (EOFError, pickle.UnpicklingError):
                answers.append("abort")
                break
    os.waitpid(child, 0)
    return answers
