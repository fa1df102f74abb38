"""The weights of a Keras model, or the variables of a TensorFlow session, as named tensors and back."""

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from swarmlearning.choices import Role
from swarmlearning.client.arrays import like, tensor_of
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.fixed import tensor_digest
from swarmlearning.tensors.file import Array, Tensor
from swarmlearning.tensors.structure import labels


class KerasWeights:
    """All weights of a model, or without the frozen ones.

    Names are places and names in the layer, as "4.kernel": those of layers count up with each model made in a process.
    """

    def __init__(self, model: Any, only_trainable: bool) -> None:
        self._model, self._only_trainable = model, only_trainable
        self._weights, self._frozen = self._parts()

    def tensors(self) -> dict[str, Tensor]:
        """Returns the merged weights. Raises `SwarmError` if one cannot be merged, or was frozen or unfrozen since."""
        if other := self._frozen.keys() ^ self._parts()[1].keys():
            raise SwarmError(
                f"weights were frozen or unfrozen after training began: {labels(sorted(other))}. With "
                "onlyTrainable=True the weights that are trainable then are merged, the same at all sites: freeze "
                "before fit(), or leave onlyTrainable out"
            )
        return {name: tensor_of(_values(weight), name) for name, weight in self._weights.items()}

    def roles(self) -> dict[str, Role]:
        """Returns the role of each merged weight; statistics of a frozen layer, which stay as they are, are frozen."""
        trained, changing = (set(map(id, each)) for each in (self._model.trainable_weights, _not_frozen(self._model)))
        return {
            name: "parameter" if id(weight) in trained else "buffer" if id(weight) in changing else "frozen"
            for name, weight in self._weights.items()
        }

    def trained(self) -> dict[str, Any]:
        """Returns the merged weights of floats that are trained."""
        trained = set(map(id, self._model.trainable_weights))
        return {
            name: weight
            for name, weight in self._weights.items()
            if id(weight) in trained and keras.backend.is_float_dtype(weight.dtype)
        }

    def frozen_digests(self) -> dict[str, str]:
        """Returns a digest of each weight that is not merged."""
        values = {name: _values(weight) for name, weight in self._frozen.items()}
        return {name: tensor_digest(str(value.dtype), value.shape, value) for name, value in values.items()}

    def _parts(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Returns the weights that are merged, and the frozen ones, by name."""
        kept = {id(weight) for weight in _not_frozen(self._model)} if self._only_trainable else None
        named = {f"{place}.{weight.name}": weight for place, weight in enumerate(self._model.weights)}
        merged = {name: weight for name, weight in named.items() if kept is None or id(weight) in kept}
        return merged, {name: weight for name, weight in named.items() if name not in merged}

    def load(self, arrays: Mapping[str, Array]) -> None:
        for name, weight in self._weights.items():
            weight.assign(like(_values(weight), arrays[name]))


class SessionWeights:
    """The trainable variables of a session of TensorFlow 1."""

    def __init__(self, tf: Any, session: Any) -> None:
        collection = tf.compat.v1.GraphKeys.TRAINABLE_VARIABLES
        with session.graph.as_default():
            self._variables = {variable.name: variable for variable in tf.compat.v1.get_collection(collection)}
            self._values = {
                name: tf.compat.v1.placeholder(variable.dtype.base_dtype, variable.shape)
                for name, variable in self._variables.items()
            }
            self._assignments = [variable.assign(self._values[name]) for name, variable in self._variables.items()]
        self._session = session

    def roles(self) -> dict[str, Role]:
        return dict.fromkeys(self._variables, "parameter")

    def tensors(self) -> dict[str, Tensor]:
        return {name: tensor_of(value, name) for name, value in self._session.run(self._variables).items()}

    def load(self, arrays: Mapping[str, Array]) -> None:
        dtypes = {name: variable.dtype.base_dtype.as_numpy_dtype for name, variable in self._variables.items()}
        fed = {self._values[name]: array.view(dtypes[name]) for name, array in arrays.items()}
        self._session.run(self._assignments, fed)


def _values(weight: Any) -> Any:
    if keras.backend.backend() == "tensorflow":
        return weight.value.numpy()  # Keras' own way warns with NumPy 2.4
    return keras.ops.convert_to_numpy(weight)


def _not_frozen(model: Any) -> Iterator[Any]:
    """Trainable weights, and those that training changes otherwise: the statistics of layers that are not frozen."""
    yield from model.trainable_weights
    for layer in _layers(model):
        if layer.trainable:
            yield from layer.non_trainable_weights


def _layers(layer: Any) -> Iterator[Any]:
    """The innermost layers."""
    inner = getattr(layer, "layers", None)
    if inner is None:
        yield layer
    else:
        for each in inner:
            yield from _layers(each)
