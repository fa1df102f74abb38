"""The resource manager PROCESS: pairs as local processes, images as virtual environments, volumes as folders."""
