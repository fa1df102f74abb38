"""The SN's HTTP API: one module a resource, joined in `app.py`. `docs/protocol.md` describes it."""
