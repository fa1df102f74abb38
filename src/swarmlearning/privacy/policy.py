"""A site's privacy lock as its policy states it. Pure: no files, no clocks.

What is protected is the site's *whole change* of a round: what it gives less the round's base, over all floating-point
values as one vector. It is clipped to the L2 norm `norm`, and Gaussian noise of standard deviation `noise`·`norm` is
added to each value. ε says how well an observer who knows all else can tell the change from no change at all
(sensitivity `norm`). To tell two changes apart, which may differ by twice the norm, counts as half the noise. Not
protected are losses, metrics, weights and all else that the script reports, nor single records of the site's data: that
takes DP-SGD in the script.
"""

from dataclasses import dataclass, field

from swarmlearning.ledger.bodies import Privacy


@dataclass(frozen=True)
class Lock:
    """`noise`: 0 for none. `epsilon`: the budget of all that is given with noise, at `delta`. `contributors`: the least
    number in a round, this site included. `initial`: digests of models that may be given as they are, where a round has
    no base."""

    norm: float
    noise: float = 0.0
    epsilon: float = 0.0
    delta: float = 0.0
    contributors: int = 1
    initial: frozenset[str] = field(default_factory=frozenset)

    def statement(self, epsilon: float = 0.0, releases: int = 0) -> Privacy:
        """What the ledger gets to know with a model: `epsilon` after so many `releases` with noise."""
        return Privacy(self.norm, self.noise, self.delta, epsilon, releases, self.contributors)

    @property
    def text(self) -> str:
        """What people are told."""
        noise = (
            f"with Gaussian noise of {self.noise:g} times that: ε up to {self.epsilon:g} in all, δ = {self.delta:g}"
            if self.noise
            else "without noise, so without a bound on ε"
        )
        least = f"; models are served to {self.contributors} contributors or more" if self.contributors > 1 else ""
        return (
            f"this site's whole change of a round is clipped to L2 norm {self.norm:g}, {noise}{least}. Losses, metrics "
            "and weights that the script reports are outside this, and single records are not protected one by one"
        )
