"""One archive with all that a diagnosis needs of a network's nodes, or of a host's folders (`cli/collect/`).

    network   what the nodes give, over their SNs; what they do not give is named
    archive   the file: bounded, with names of our own only
    index     the page in it, for a browser that has no network

What comes from nodes was written by other organisations: it is bounded in bytes and time, and escaped.
"""
