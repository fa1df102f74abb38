"""The check for Keras 3, done before the callback uses anything that Keras 2 does not have."""

import keras

FOR_KERAS_2 = (
    "Keras 3 is needed here (pip install 'keras>=3'; without TF_USE_LEGACY_KERAS). For Keras 2 use the bridge: "
    "`swarm sl --bridge`, with the original's client library in the script's environment"
)


def require_keras_3() -> None:
    """Raises `ImportError` with what to do if Keras is an older version."""
    version = getattr(keras, "__version__", "of an unknown version")
    if not version.split(".")[0].isdigit() or int(version.split(".")[0]) < 3:
        raise ImportError(f"this environment has Keras {version}. {FOR_KERAS_2}")
