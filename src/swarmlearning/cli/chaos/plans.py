"""The plans that come with `swarm chaos`."""

from swarmlearning.cli.chaos.plan import Phase, Plan, Recipe

ALL_PHASES: tuple[Phase, ...] = ("collecting", "merging", "publishing", "distributing")
QUICK = (0.2, 4.0)
"""Seconds until a killed process is started again: some before its lease is over, some after."""

_PLANS = (
    Plan(
        name="leader-kill",
        about="10 times SIGKILL of the leader while it merges; how soon another publishes that merge",
        recipes=(Recipe("kill", "leader", ("merging",)),),
    ),
    Plan(
        name="leader-freeze",
        about="SIGSTOP of the leader in each phase for longer than its lease; it comes back with a stale term",
        faults=8,
        recipes=(Recipe("freeze", "leader", ALL_PHASES),),
    ),
    Plan(
        name="follower-kill",
        about="10 times SIGKILL of an SL that does not lead",
        recipes=(Recipe("kill", "follower"),),
    ),
    Plan(
        name="ml-kill",
        about="10 times SIGKILL of a training script; its SL stays",
        recipes=(Recipe("kill", "ml", seconds=(0.5, 3.0)),),
    ),
    Plan(
        name="sn-kill",
        about="5 times SIGKILL of the SN, which keeps the ledger: rounds wait, and go on",
        faults=5,
        recipes=(Recipe("kill", "sn", seconds=(0.5, 5.0)),),
    ),
    Plan(
        name="partition",
        about="6 times one site is cut off from all others, the leader or another",
        faults=6,
        recipes=(Recipe("partition", "leader", ("collecting", "merging")), Recipe("partition", "follower")),
    ),
    Plan(
        name="slow-link",
        about="4 times one site has only 1 MB/s for 20 s",
        faults=4,
        recipes=(
            Recipe("slow-link", "leader", seconds=(20.0, 20.0)),
            Recipe("slow-link", "follower", seconds=(20.0, 20.0)),
        ),
    ),
    Plan(
        name="corrupt-file",
        about="6 times a byte of a stored model is flipped: a follower's own, or the leader's result",
        faults=6,
        recipes=(
            Recipe("corrupt-file", "follower", ("collecting",)),
            Recipe("corrupt-file", "leader", ("distributing",)),
        ),
    ),
    Plan(
        name="mixed",
        about="24 faults of all kinds",
        faults=24,
        recipes=(
            Recipe("kill", "leader", ALL_PHASES),
            Recipe("freeze", "leader", ALL_PHASES),
            Recipe("kill", "follower", seconds=QUICK),
            Recipe("kill", "ml", seconds=(0.5, 3.0)),
            Recipe("freeze", "ml"),
            Recipe("kill", "sn", seconds=QUICK),
            Recipe("freeze", "sn"),
            Recipe("partition", "leader"),
            Recipe("partition", "follower"),
            Recipe("slow-link", "follower", seconds=(8.0, 8.0)),
            Recipe("corrupt-file", "follower", ("collecting",)),
        ),
    ),
    Plan(
        name="hundred-kills",
        about="100 times SIGKILL: leaders in three phases, followers, scripts, the SN",
        faults=100,
        pause_rounds=(1, 1),
        recipes=(
            Recipe("kill", "leader", ("collecting", "merging", "distributing"), seconds=QUICK),
            Recipe("kill", "follower", seconds=QUICK),
            Recipe("kill", "ml", seconds=(0.2, 1.0)),
            Recipe("kill", "sn", seconds=(0.2, 1.0)),
        ),
    ),
)

READY = {plan.name: plan for plan in _PLANS}
"""By name."""
