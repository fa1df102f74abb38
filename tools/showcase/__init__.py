"""A swarm to look at: three hospitals on this machine that train one model after another, and the UI of one of them.

`python -m showcase` is `make ui-demo`.
"""
