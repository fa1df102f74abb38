"""Settings from the environment, by the names that users of the original know."""

from pydantic import Field
from pydantic_settings import BaseSettings

from swarmlearning.ledger.bodies import InitialSync


class SlEnvironment(BaseSettings):
    """One SL's settings.

    SL_MAKE_ME_ADMIN                  whether this node may lead a round
    SL_WAIT_FOR_FULL_QUORUM_SECONDS   how long a leader waits for the other members after minPeers are in
    SL_LEADER_FAILURE_BASE_TIMEOUT    seconds after which a leader that is alive but makes no progress is replaced at
                                      the latest in a round's first term (see `rounds/settings.py`; a dead one is
                                      noticed by its lease)
    SL_INITIAL_SYNC                   what all start from: `merged`, or `one`, a single contributor's model (ours)
    """

    sl_make_me_admin: bool = True
    sl_wait_for_full_quorum_seconds: float = Field(default=30.0, ge=0)
    sl_leader_failure_base_timeout: float = Field(default=600.0, gt=0)
    sl_initial_sync: InitialSync = "merged"
