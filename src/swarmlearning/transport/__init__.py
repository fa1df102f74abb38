"""TLS listeners that stay open to members whatever strangers do: half-open connections and connections in all are
bounded, and where a bound is reached the busiest party gives way.

This room knows sockets and certificates. It knows nothing of the protocols above a connection.
"""
