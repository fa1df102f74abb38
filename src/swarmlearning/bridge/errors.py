"""What can go wrong at the bridge, by what follows from it."""

from swarmlearning.errors import UserError


class BridgeError(UserError):
    """The bridge cannot be set up; the message says what, where and what to do."""


class Unusable(Exception):
    """A request, or the weights with it, cannot be used. The client is told so; the stream itself is sound."""


class Refused(Exception):
    """The SL refuses the session or has ended it. The client is told why."""


class Aborted(Exception):
    """The client could not use a merged model and has given up. It awaits no answer."""


class LostTrack(Exception):
    """Where the next message begins is not known any more: the FIFOs are made anew."""


class Left(Exception):
    """The ML process is gone."""


class OutOfTurn(Exception):
    """What came does not belong to the exchange: another ML process has taken the place of the one before."""
