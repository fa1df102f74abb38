"""`swarm logs collect`: one archive of what the nodes of a network give, or of what lies in this host's folders."""
