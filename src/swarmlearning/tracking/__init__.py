"""Experiment trackers to which an SL mirrors the curves of its training: TensorBoard event files, an MLflow server."""
