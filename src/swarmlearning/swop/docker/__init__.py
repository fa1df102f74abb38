"""The resource manager DOCKER: pairs as containers of Docker's or Podman's engine, images, and content in volumes.

`engine.py` speaks with the engine; `specs.py`, `mounts.py` and `names.py` state what a container is made of, and do
nothing; `images.py`, `volumes.py` and `containers.py` do one thing each; `manager.py` fulfils `ResourceManager`.
"""
