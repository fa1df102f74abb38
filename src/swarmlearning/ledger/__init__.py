"""The ledger: transactions, blocks, the chain, the world state and the contracts that change it.

Everything here is a pure function of its inputs: no sockets, files, clocks, asyncio or randomness. The same blocks give
the same state, bit for bit, on every machine and in every year. `docs/protocol.md` describes the formats.
"""
