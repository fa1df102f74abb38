"""The part in the user's training process: the callback's life cycle, its parameters, and the platform adapters.

This room knows the local channel and the tensor files. It never knows the network, rounds, ledgers, who leads or
who else trains, and it pulls in no server code and no asyncio.
"""
