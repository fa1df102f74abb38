"""The life cycle of a callback: what happens at each hook, whatever the machine-learning platform.

    on_train_begin   one sync, so that all sites start from the same parameters
    on_batch_end     a sync after every `syncFrequency` batches
    on_epoch_end     counts
    on_train_end     the last sync: sends what this site continues to contribute, waits until training is over
                     everywhere, and leaves the final model in place

A sync comes at the end of batch N, 2N, 3N, … exactly (the original product's first one came at the end of batch N+1);
each sync may name another interval for the next. An adapter for a platform writes the four abstract methods at the
end of `SwarmCallbackBase`.
"""

import itertools
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np

from swarmlearning.channel.messages import Fixed, Open, TensorSpec
from swarmlearning.client import environment, parameters
from swarmlearning.client.arrays import array_of
from swarmlearning.client.errors import SwarmError
from swarmlearning.client.local_layers import OPTION, local_names
from swarmlearning.client.log import Logger, failing_with, log_box, logger_for
from swarmlearning.client.narration import log_evaluation, log_parameters, warn_of_non_finite
from swarmlearning.client.pace import Pace
from swarmlearning.client.patterns import checked
from swarmlearning.client.session import HOW_TO_START, RECONNECT_SECONDS, Evaluation, Exchanges, OnIdle, Session
from swarmlearning.tensors.file import Array, Tensor, read, read_header, require_mergeable
from swarmlearning.tensors.structure import NO_ROLES, Roles, Spec, describe_difference, labels

FINAL_SHAPE = (
    "Its entries have to keep their names, dtypes and shapes. Where the first batch sets them, as in "
    "quantization-aware training, run one batch through it before making the callback"
)
OVER_BEFORE_LOCAL = "Swarm training is over before local training. Exit gracefully."

LATE_MERGES = 3  # after the end of local training: more than sites have that end nearly together
STILL_COUNTS = (
    "Other sites are still training. This site's own last parameters still count in each of their merges, unchanged, "
    "and draw the model towards them (checkinModelOnTrainEnd='snapshot'). Where sites train for different "
    "times, 'inactive' leaves such a site out"
)


class SwarmCallbackBase(ABC):
    """Joins a training script to the SL node beside it.

    Environment: `SWARM_CHANNEL` is the path of the SL node's Unix socket (`swarm run` and `swarm sl` set it);
    `SWARM_LOOPBACK=True` trains without a swarm: parameters are checked, nothing else happens;
    `SWARM_START_SECONDS` is how long an SL node that is not there yet is waited for (0; a SWOP sets it),
    `SWARM_RECONNECT_SECONDS` one that went away (600; 0: not at all).

    Every method raises `SwarmError` when training cannot go on. One training session: after
    `on_train_end` the callback is used up.
    """

    ml_platforms: ClassVar[tuple[str, ...]]
    """Accepted values of `ml_platform`; the first is the default."""
    platform_keywords: ClassVar[frozenset[str]] = frozenset()
    """Keyword arguments that this platform knows beside the common ones."""

    def __init__(
        self,
        syncFrequency: Any = None,  # noqa: N803 - required, but a misspelt name gets an error of its own
        minPeers: Any = None,  # noqa: N803
        trainingContract: Any = parameters.DEFAULT_CONTRACT,  # noqa: N803
        **keywords: Any,
    ) -> None:
        options = self._configure(syncFrequency, minPeers, trainingContract, keywords)
        with failing_with():
            self._refuse_methods_of_the_original()
            self._prepare(options)
        self._join()

    def _configure(
        self, sync_frequency: Any, min_peers: Any, training_contract: Any, keywords: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Checks and keeps what all platforms have in common; returns `keywords` under their documented spelling."""
        self.logger = logger_for(keywords.get("logger"))
        self._session: Exchanges | None = None
        self._merged: dict[str, Array] | None = None  # the last merged model
        self._begun = False
        self._training_over = False
        self._merged_while_training = False
        self._since_sync = 0
        self._loopback = environment.loopback()
        self._local: frozenset[str] = frozenset()  # names of tensors that are not merged
        with failing_with():
            options = parameters.known(keywords, self.platform_keywords)
            self._local_patterns = checked(OPTION, options.get(OPTION))
            self._parameters = parameters.check(
                sync_frequency, min_peers, training_contract, options, self.ml_platforms
            )
            self._interval = self._parameters.sync_frequency
            self._pace = Pace(self._parameters.total_epochs)
            log_parameters(self.logger, self._parameters, options, self.ml_platforms)
            if self._loopback:
                log_box(self.logger, f"{environment.LOOPBACK} is set: training runs alone, nothing is merged")
        return options

    def _join(self) -> None:
        """Opens the session, unless training goes on alone: then what has to fit the model is checked all the same."""
        if self._loopback and self._local_patterns:
            with failing_with():
                self._local = local_names(self._local_patterns, self._model_tensors().keys(), self._tied())
        if not self._loopback:
            self._session = self._open()
            weakref.finalize(self, _warn_if_left_open, self._session, self.logger, os.getpid())

    @property
    def training_over(self) -> bool:
        """True once the swarm's training is over: later batches are not merged any more, a script may stop early."""
        return self._training_over

    def on_train_begin(self, logs: Any = None) -> None:
        """Call once before the first batch: merges the sites' initial parameters and loads the result."""
        if self._session is None:
            self.logger.debug("%s: no merge at the beginning", environment.LOOPBACK)
            self._pace.resume()
            return
        self._begun = True
        self._sync(self._session)

    def on_batch_end(self, batch: Any = None, logs: Any = None) -> None:
        """Call after every batch (after the optimizer's step). A sync when it is due, else only a count.

        `logs` may contain the number of samples in the batch, `{"size": 32}`, to show how many are trained a second.
        """
        self._advance(self._batches(batch), logs.get("size", 0) if isinstance(logs, Mapping) else 0)

    def on_epoch_end(self, epoch: Any = None, logs: Any = None) -> None:
        """Call after every epoch; counts it."""
        self._pace.epoch()

    def on_train_end(self, logs: Any = None) -> None:
        """Call once after the last batch: returns with the swarm's final model loaded.

        What this site contributes to the rounds of those still training is up to `checkinModelOnTrainEnd`.
        """
        if self._session is None:
            self.logger.debug("%s: no merge at the end", environment.LOOPBACK)
            return
        self._require_begun("on_train_end")
        self.logger.info("Finished local training !!!")
        if not self._merged_while_training:
            self.logger.warning(
                "No user merge done during swarm training. syncFrequency=%d may be high.",
                self._parameters.sync_frequency,
            )
        self.logger.info("Swarm training may continue till trainings in min peers are done!")
        if self._training_over:
            self._leave(self._session)
        else:
            self._finish(self._session)
        self._merged = None
        self.logger.info("All peers and Swarm training rounds finished. Final Swarm model was loaded.")

    def abandon(self, reason: str) -> None:
        """Leaves without waiting for the swarm, because training failed here; the swarm goes on without this site.

        A script that simply ends by an exception need not call it. Never raises.
        """
        if self._session is not None:
            with suppress(SwarmError):  # it is over already, or the SL has left
                self._session.kill(ok=False, message=reason)

    def _refuse_methods_of_the_original(self) -> None:
        found = [name for name in parameters.METHODS_OF_THE_ORIGINAL if hasattr(self, name)]
        if found:
            raise SwarmError(
                f"{type(self).__name__} has {', '.join(found)}, which nothing calls here: override on_batch_end and "
                "the other hooks, or derive it from swarmlearning.client.swarm.SwarmCallbackBase"
            )

    # --- the exchanges with the SL node

    def _open(self) -> Exchanges:
        with failing_with("the swarm session cannot be opened: "):
            tensors = self._model_tensors()
            if not tensors:
                raise SwarmError("the model has no parameters to merge")
            self._local = local_names(self._local_patterns, tensors.keys(), self._tied())
            if self._local:
                self.logger.info("%s: these entries stay this site's own: %s", OPTION, labels(sorted(self._local)))
            tensors = self._without_local(tensors)
            self._structure = _specs(tensors)
            require_mergeable(self._structure)
            warn_of_non_finite(self.logger, tensors)
            known = self._parameters
            request = Open(
                training_contract=known.training_contract,
                sync_frequency=known.sync_frequency,
                min_peers=known.min_peers,
                merge_method=known.merge_method,
                checkin_model_on_train_end=known.checkin_model_on_train_end,
                node_weightage=known.node_weightage,
                use_adaptive_sync=known.use_adaptive_sync,
                total_epochs=known.total_epochs,
                ml_platform=known.ml_platform,
                training_samples=known.training_samples,
                outer=known.outer,
                structure=self._with_roles(),
            )
            return self._connect(request)

    def _without_local(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for name, tensor in tensors.items() if name not in self._local}

    def _with_roles(self) -> tuple[TensorSpec, ...]:
        roles = self._roles()
        return tuple(TensorSpec(*spec, role=roles.get(spec[0], "")) for spec in self._structure)

    def _connect(self, request: Open, on_idle: OnIdle = lambda: None) -> Exchanges:
        channel = os.getenv(environment.CHANNEL)
        if not channel:
            raise SwarmError(f"environment variable {environment.CHANNEL} is not set. {HOW_TO_START}")
        request = msgspec.structs.replace(request, fixed=self._fixed())
        patience = environment.patience(RECONNECT_SECONDS)
        return Session(Path(channel), request, self.logger.info, patience.reconnect, on_idle, patience.start)

    def _batches(self, batch: Any) -> int:
        """Returns the number of batches done since the last call of the hook."""
        return 1

    def _advance(self, batches: int, samples: int) -> None:
        """Counts batches that were done, with their samples (0: unknown), and syncs when that is due."""
        self._pace.step(samples, batches)
        if self._session is None or self._training_over:
            return
        self._require_begun("on_batch_end")
        self._since_sync += batches
        beyond = self._since_sync - self._interval
        if beyond < 0:
            with failing_with("training cannot go on in the swarm: "):
                self._session.progress(self._pace)
            return
        self._sync(self._session)
        self._merged_while_training = True
        self._since_sync = beyond % self._interval  # of several batches done together, some belong to the next sync

    def _sync(self, session: Exchanges) -> None:
        self.logger.info("Starting Swarm merging round ...")
        with failing_with("the merge failed: "):
            interval, self._training_over = session.sync(self._local_model(), self._accept)
        self.logger.info("Merge Done: RVInt [cur: %d Nxt: %d]", self._interval, interval)
        self._interval, self._since_sync = interval, 0
        if self._pace.steps:
            self.logger.info("Local training: %s", self._pace)
        self._pace.resume()
        if self._training_over:
            self._on_training_over()

    def _finish(self, session: Exchanges) -> None:
        """Ends local training: contributes by the check-in mode and follows the swarm to its end."""
        mode = self._parameters.checkin_model_on_train_end
        self.logger.info("Final merging starts at training end. Waiting for other peers to complete ...")
        last, merges = self._merged, itertools.count(1)

        def accept(path: Path) -> Evaluation:
            if next(merges) == LATE_MERGES and mode == "snapshot":
                self.logger.warning(STILL_COUNTS)
            return self._accept(path)

        with failing_with("training could not end with the swarm's model: "):
            session.close(self._merged_model() if mode == "active" else self._local_model(), accept)
            if self._merged is last:  # none came since: it is the swarm's model, ours may be a best one of the script's
                self._load_last_merged()

    def _leave(self, session: Exchanges) -> None:
        """Ends when training is over everywhere else: the swarm's model replaces what was trained here since."""
        self.logger.warning(OVER_BEFORE_LOCAL)
        self.logger.info("Loading the last merged swarm model")
        with failing_with("training could not end with the swarm's model: "):
            self._load_last_merged()
        self.logger.info("Informing SL to shutdown gracefully")
        try:
            session.kill(ok=True, message=OVER_BEFORE_LOCAL)
        except SwarmError as error:
            self.logger.warning("%s", error)

    def _accept(self, path: Path) -> Evaluation:
        """Loads and evaluates a merged model. It has exactly the entries of ours, or it is refused."""
        difference = describe_difference(self._structure, read_header(path).specs)
        if difference:
            raise SwarmError(f"it does not fit the model: {difference}")
        self._merged = read(path)
        self._load(self._merged)
        try:
            loss, metric = self._evaluate()
        except SwarmError:
            raise
        except Exception as error:  # whatever the framework raises
            raise SwarmError(f"on the validation data, {type(error).__name__}: {error}") from error
        log_evaluation(self.logger, loss, metric)
        return Evaluation(loss, metric, self._pace.epochs, self._pace.total_epochs)

    def _load_last_merged(self) -> None:
        if self._merged is None:
            raise SwarmError("the SL node never sent a merged model; the model is the locally trained one")
        self._load(self._merged)

    def _load(self, merged: Mapping[str, Array]) -> None:
        """Loads merged values; what is local is loaded with its own, so that each platform gets a whole model."""
        tensors = self._model_tensors() if self._local else {}  # from a GPU that would cost a copy of all
        own = {name: array_of(tensor) for name, tensor in tensors.items() if name in self._local}
        self._load_tensors({**merged, **own})

    def _local_model(self) -> dict[str, Tensor]:
        tensors = self._without_local(self._model_tensors())
        difference = describe_difference(self._structure, _specs(tensors))
        if difference:
            raise SwarmError(f"the model changed after the callback was made: {difference}. {FINAL_SHAPE}")
        return tensors

    def _merged_model(self) -> dict[str, Tensor]:
        if self._merged is None:
            return self._local_model()
        return {
            name: Tensor(dtype, shape, self._merged[name].reshape(-1).view(np.uint8).data)
            for name, dtype, shape in self._structure
        }

    def _require_begun(self, hook: str) -> None:
        with failing_with():
            if not self._begun:
                raise SwarmError(f"{hook}() was called before on_train_begin()")

    # --- what an adapter for a platform writes

    @abstractmethod
    def _prepare(self, options: Mapping[str, Any]) -> None:
        """Checks and keeps the platform's keyword arguments, called once, before anything else of these four.

        `options` holds the keyword arguments given, the common ones (`adsValData`, …) included. Raises `SwarmError`.
        """

    @abstractmethod
    def _model_tensors(self) -> dict[str, Tensor]:
        """All entries of the model by name. Memory may be shared with the model: it is written out at once.

        Names, dtypes and shapes stay the same for the whole session. Raises `SwarmError` or `TensorFileError`.
        """

    @abstractmethod
    def _load_tensors(self, arrays: Mapping[str, Array]) -> None:
        """Copies the values into the model: exactly the names and shapes of `_model_tensors`.

        BF16 comes as uint16 arrays of the same bits. The arrays are kept by the caller and must
        not be changed.
        """

    @abstractmethod
    def _evaluate(self) -> tuple[float | None, float | None]:
        """Loss (smaller is better) and metric of the model on the validation data; None where there is none.

        Nothing that training depends on may change: modes, random numbers, gradients.
        """

    def _tied(self) -> Collection[frozenset[str]]:
        """Groups of names, each of one tensor: either all or none of a group can be local."""
        return ()

    def _roles(self) -> Roles:
        """The role of each tensor of `_model_tensors` by its name, as they are when the session is opened; empty: the
        platform does not know, and what depends on roles cannot be used."""
        return NO_ROLES

    def _fixed(self) -> Fixed:
        """Digests of what is not merged but has to be the same at all sites; sites that differ are refused."""
        return Fixed()

    def _on_training_over(self) -> None:
        """Called once, where training is over everywhere else: a platform that runs the loop ends it."""
        self.logger.info("Swarm training is over. The batches that follow are not merged any more")


def _warn_if_left_open(session: Exchanges, logger: Logger, pid: int) -> None:
    """Logs a warning at the end of a callback or its script, but not of a process forked from it (another PID)."""
    if not session.over and os.getpid() == pid:
        logger.warning("on_train_end() was not called: the swarm considers this site's training interrupted")


def _specs(tensors: Mapping[str, Tensor]) -> list[Spec]:
    """Returns the specifications of the tensors, sorted by name."""
    return [(name, tensors[name].dtype, tensors[name].shape) for name in sorted(tensors)]
