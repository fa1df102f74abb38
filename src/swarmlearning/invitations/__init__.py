"""How somebody without a certificate takes up an invitation: the code, the API of an SN's join port, and its client.

This room knows codes, requests and the ledger's invitations. It never knows how nodes work, or who keeps a CA.
"""
