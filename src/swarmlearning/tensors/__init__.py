"""Named tensors as one file: the model file (safetensors), its chunked digest, and its structure.

This room knows bytes, dtypes and shapes. It never knows who sent a model, what round it belongs to, or what is
done with it.
"""
