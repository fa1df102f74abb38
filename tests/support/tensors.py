"""Comparison of models that are dicts of arrays."""

from collections.abc import Mapping

from swarmlearning.tensors.file import Array


def assert_same_arrays(ours: Mapping[str, Array], theirs: Mapping[str, Array]) -> None:
    """Fails unless both have the same names with arrays of the same dtype, shape and bytes."""
    assert ours.keys() == theirs.keys()
    for name, array in theirs.items():
        assert ours[name].dtype == array.dtype
        assert ours[name].shape == array.shape
        assert ours[name].tobytes() == array.tobytes()
