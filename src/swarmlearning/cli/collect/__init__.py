"""`swarm logs collect`: one archive with all that a diagnosis needs, of this host's folders or of a network's nodes.

    folders   what lies on this host, without a network
    network   what the nodes give, over their SNs; what they do not give is named
    archive   the file: bounded, with names of our own only
    index     the page in it, for a browser that has no network

What comes from nodes was written by other organisations: it is bounded in bytes and time, and escaped.
"""
