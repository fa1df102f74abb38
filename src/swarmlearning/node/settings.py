"""Settings from the environment, by the names that users of the original know."""

from pydantic_settings import BaseSettings


class SlEnvironment(BaseSettings):
    """`SL_MAKE_ME_ADMIN`: whether this node may lead a round. `SL_WAIT_FOR_FULL_QUORUM_SECONDS`: how long a leader
    waits for all members after minPeers are in."""

    sl_make_me_admin: bool = True
    sl_wait_for_full_quorum_seconds: float = 30.0
