"""The local channel between the ML process and its SL node, as both sides see it: messages and framing.

A Unix-domain socket carries small JSON messages; tensors travel as safetensors files in the socket's directory.
This room knows neither what a round is nor who opens the socket.
"""
