"""The states of a session: values that a model keeps from one run to the next."""

from collections.abc import Iterator, Mapping

import numpy as np

from ..program import CompiledModel, StateInfo
from .batches import checked_array
from .errors import InputError
from .run_lock import RunLock


class States(Mapping[str, np.ndarray]):
    """The present values by name: `states[name]` is a copy, `states[name] = array` replaces a value.

    A name that the model does not have, and a value of another type or shape than the state's, raise `InputError`; a
    change by the `progress` of a run of the same session, `RuntimeModelError`. Threads may share it.
    """

    def __init__(self, model: CompiledModel, lock: RunLock) -> None:
        self._model = model.name
        self._infos = {state.name: state for state in model.states}
        self._lock = lock  # the session's
        self._values = self._initial()  # replaced as a whole; its arrays never change

    def __len__(self) -> int:
        return len(self._infos)

    def __iter__(self) -> Iterator[str]:
        return iter(self._infos)

    def __contains__(self, name: object) -> bool:
        return name in self._infos

    def __getitem__(self, name: str) -> np.ndarray:
        self._info(name)
        return self._values[name].copy()

    def __setitem__(self, name: str, value: np.ndarray) -> None:
        self.restore({name: value})

    def reset(self) -> None:
        """Give every state its initial value: the next run is the first of a stream."""
        with self._lock.held("changed"):
            self._values = self._initial()

    def snapshot(self) -> dict[str, np.ndarray]:
        """Copies of all values, for `restore`: of this session, or of another one of the same model."""
        return {name: value.copy() for name, value in self._values.items()}

    def restore(self, values: Mapping[str, np.ndarray]) -> None:
        """Give the states that `values` names these values: all of them, or none where one does not fit."""
        checked = {name: checked_array(value, self._info(name).tensor, "state").copy()
                   for name, value in values.items()}
        with self._lock.held("changed"):
            self._values = self._values | checked

    def read(self) -> dict[str, np.ndarray]:
        """The values under the names by which the model's steps read them; they must not be changed."""
        return {info.read: self._values[name] for name, info in self._infos.items()}

    def advance(self, values: Mapping[str, np.ndarray]) -> None:
        """Take what the steps have written, of the tables of all values of a run."""
        self._values = {name: np.array(values[info.written]) for name, info in self._infos.items()}

    def _initial(self) -> dict[str, np.ndarray]:
        return {name: info.initial.copy() for name, info in self._infos.items()}

    def _info(self, name: str) -> StateInfo:
        if name not in self._infos:
            raise InputError(f"model {self._model!r} has no state {name!r}; its states are "
                             f"{', '.join(self._infos) or 'none'}")
        return self._infos[name]
