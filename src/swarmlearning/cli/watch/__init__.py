"""`swarm status --watch`: a dashboard in a terminal, of any size, that goes on with another SN when its own is gone."""
