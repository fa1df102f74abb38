"""Settings from the environment, by the names that users of the original know."""

from pathlib import Path
from typing import Annotated, Literal, TypeAlias

from pydantic import BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings

from swarmlearning.ledger.bodies import InitialSync
from swarmlearning.node.errors import NodeError
from swarmlearning.rounds.settings import OnNonFinite

KeepBest: TypeAlias = Annotated[
    Literal["", "true", "metric", "loss"],
    BeforeValidator(lambda text: {"1": "true", "0": "", "false": ""}.get(text.lower(), text.lower())),
]


class Environment(BaseSettings):
    """Settings whose variables are named in upper case. Raises `NodeError`, which names each that is wrong."""

    def __init__(self) -> None:
        try:
            super().__init__()
        except ValidationError as error:
            faults = (f"{str(each['loc'][0]).upper()}={each['input']}: {each['msg']}" for each in error.errors())
            raise NodeError("; ".join(faults)) from None


class SlEnvironment(Environment):
    """One SL's settings.

    SL_MAKE_ME_ADMIN                  whether this node may lead a round
    SL_WAIT_FOR_FULL_QUORUM_SECONDS   how long a leader waits for the other members after minPeers are in
    SL_LEADER_FAILURE_BASE_TIMEOUT    seconds after which a leader that is alive but makes no progress is replaced at
                                      the latest in a round's first term (see `rounds/settings.py`; a dead one is
                                      noticed by its lease)
    SL_MODEL_PARAMS_COMPRESSION_THRESHOLD_MB
                                      models smaller than this many MB are sent compressed, where the link is so
                                      slow that it pays; 0: never
    SL_INITIAL_SYNC                   what all start from: `merged`, or `one`, a single contributor's model (ours)
    SL_NON_FINITE                     what a model with NaN or infinity, anybody's, means for this site's training:
                                      `exclude`, it goes on without that model, or `fail`, it ends (ours)
    SL_SLICES                         whether this site merges slices of rounds for all: `auto`, if others can connect
                                      to it, or `never`; where no site does, leaders merge alone (ours)
    SL_VERIFY                         whether this site merges its part of each result again that several sites have
                                      merged, to see whether they did it rightly: `auto`, or only on `swarm
                                      verify-round`: `ask` (ours)
    SL_KEEP_BEST                      keep the model of the best round beside the last one: `metric`, that with the
                                      highest mean metric; `loss`, with the lowest mean loss; `true`, by the metric
                                      where sites report one, else by the loss (ours)
    SL_UID                            the UID of this node, where a SWOP has chosen one (ours)
    SL_ORIGIN                         the task for which a SWOP has started this node: the JSON of the
                                      ledger's `Origin` (ours)
    SL_REQUEST_CHANNEL, SL_RESPONSE_CHANNEL
                                      the FIFOs between this node and the original's client; set, they start the bridge
    SL_RAM_INTENSIVE                  accepted, without effect: the original merged in memory or from files; here
                                      merging reads files, at the speed of memory, in a few tens of MB
    """

    sl_make_me_admin: bool = True
    sl_wait_for_full_quorum_seconds: float = Field(default=30.0, ge=0)
    sl_leader_failure_base_timeout: float = Field(default=600.0, gt=0)
    sl_model_params_compression_threshold_mb: float = Field(default=250.0, ge=0)
    sl_initial_sync: InitialSync = "merged"
    sl_non_finite: OnNonFinite = "exclude"
    sl_slices: Literal["auto", "never"] = "auto"
    sl_verify: Literal["auto", "ask"] = "ask"
    sl_keep_best: KeepBest = ""
    sl_uid: str = ""
    sl_origin: str = ""
    sl_request_channel: str = ""
    sl_response_channel: str = ""
    sl_ram_intensive: str = ""


class SwciEnvironment(Environment):
    """SWCI's settings.

    USR_DIR                           folder with scripts and task files; --usr-dir overrides it
    SWCI_STARTUP_SCRIPT               script in that folder that runs first (without: swci-init, where there is one)
    SWCI_MODE                         CLI, or WEB: the script, then commands over HTTPS
    SWCI_WEB_PORT                     port of the mode WEB
    SWCI_RUN_TASK_MAX_WAIT_TIME       minutes that WAIT FOR TASKRUNNER waits for a RUN_SWARM
    SWCI_GENERIC_TASK_MAX_WAIT_TIME   the same for other types of tasks
    SWCI_TASK_MAX_WAIT_TIME           the same for both, where these are not set (releases before 2.3)
    """

    usr_dir: Path | None = None
    swci_startup_script: str = ""
    swci_mode: str = "CLI"
    swci_web_port: int = Field(default=30306, ge=0, lt=65536)
    swci_run_task_max_wait_time: int | None = Field(default=None, ge=1, lt=10**6)
    swci_generic_task_max_wait_time: int | None = Field(default=None, ge=1, lt=10**6)
    swci_task_max_wait_time: int = Field(default=120, ge=1, lt=10**6)

    @property
    def run_task_minutes(self) -> int:
        """Minutes to wait for a RUN_SWARM."""
        return self.swci_run_task_max_wait_time or self.swci_task_max_wait_time

    @property
    def other_task_minutes(self) -> int:
        """Minutes to wait for a task of another type."""
        return self.swci_generic_task_max_wait_time or self.swci_task_max_wait_time
