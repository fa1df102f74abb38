"""Errors of the bridge, by their consequence."""

from swarmlearning.errors import UserError


class BridgeError(UserError):
    """The bridge cannot be set up; the message contains what, where and what to do."""


class Unusable(Exception):
    """A request, or the weights with it, cannot be used. The client gets an error; the stream itself is sound."""


class Refused(Exception):
    """The SL refuses the session or has ended it. The client gets the reason."""


class Aborted(Exception):
    """The client could not use a merged model and has given up. It awaits no answer."""


class LostTrack(Exception):
    """The beginning of the next message is no longer known: the FIFOs are made again."""


class Left(Exception):
    """The ML process is gone."""


class OutOfTurn(Exception):
    """A message does not belong to the exchange: another ML process has replaced the one before."""
