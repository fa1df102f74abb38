"""Hosts over SSH, without any web in it: look at them, install the product there, start and stop nodes on them.

What is asked of a host goes by one protocol (`machine.py`), which SSH (`ssh.py`) and this machine itself (`local.py`)
fulfil; everything above it knows neither. What a host answers is hostile: its bytes and time are bounded, and only the
pure readers (`facts.py`, `nodestate.py`) interpret it.
"""
