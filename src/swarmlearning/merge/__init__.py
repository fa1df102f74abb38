"""Merging models, one file a method: many model files in, one model file and a receipt out.

This room knows NumPy and model files. It never knows what a round is, who leads it, or how models travel; a UID
is only what fixes the order of the sources. `merging` is the entrance, `methods` where to add a method.
"""
