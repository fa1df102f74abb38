"""The original's wire protocol (ML process to SL, API version 2), so that its unmodified client trains with our SLs.

The bridge stands between two protocols: to the original's client it is the original's SL (two FIFOs, pickled weights);
to our SL it is an ML process on the local channel (`channel/messages.py`). The SL therefore knows nothing of it.

    wire.py          protobuf's encoding, as far as these messages need it
    messages.py      the messages, and the header that frames each
    unpickling.py    weights out of a pickle file: NumPy arrays by name, and nothing else
    weights.py       model files from the client's weights, and back, in both dialects
    pipes.py         the two FIFOs, never blocking
    dialogue.py      whole messages over them
    access.py        who may use what client and SL share
    place.py         the folder that client and SL share
    local.py         this side's end of the local channel
    remembered.py    what outlives a restart of the SL between two syncs
    bridge.py        the exchanges
"""
