"""Faults to put into the code of outer steps and of error feedback, one at a time (`mutants.py`).

The simulation names models and does not compute: it can find those of which model is made of which, and of which
residual counts. Those of arithmetic only tests can find.
"""

from typing import Final

from simulation.mutations import CONTRACT, faults_in

STEP_FAULTS: Final = (
    *faults_in(
        f"{CONTRACT}/steps.py",
        (
            "a step begins with the momentum of another round",
            "return state.steps.get(model, NO_STEP).momentum",
            "return state.taken[-1].step.momentum if state.taken else ''",
        ),
        (
            "the momentum of the base is forgotten where its result is void",
            "models |= {state.round.base} if state.round else set()",
            "models |= set()",
        ),
        (
            "a momentum is kept of every model there ever was",
            "if each.result in models and each.result != result)",
            "if each.result != result)",
        ),
        (
            "a result may leave its momentum out",
            "if is_due(state, current, body.result) != (step is not None):",
            "if False:",
        ),
        ("an unchanged base is stepped", " and current.base != result", ""),
        (
            "a step without a base",
            "state.terms.outer is not None and bool(current.base)",
            "state.terms.outer is not None",
        ),
    ),
    *faults_in(
        f"{CONTRACT}/recovery.py",
        (
            "the momentum of a void result is kept",
            "next_term(with_steps(msgspec.structs.replace(state, members=members, round=again)))",
            "next_term(msgspec.structs.replace(state, members=members, round=again))",
        ),
    ),
    *faults_in(
        "rounds/facts.py",
        ("a result without its momentum counts as held", "dropped = lacking & self.held", "dropped = set[str]()"),
    ),
    *faults_in(
        "rounds/sharing.py",
        (
            "what slices give is published as the result",
            'base = current.base if takes_steps(self._facts.training, current) else ""',
            'base = ""',
        ),
    ),
    *faults_in(
        "rounds/feedback.py",
        (
            "the residual of what was left out of a round counts",
            'self._after.get(result.closed.base, "") if named is None else named',
            'next(reversed(self._given), "") if named is None else named',
        ),
        (
            "who was left out of a round has no residual any more",
            'self._after.get(result.closed.base, "") if named is None else named',
            'named or ""',
        ),
        (
            "what counted after a void result counts on",
            'return self._after.get(base, "")',
            'return next(reversed(self._after.values()), "")',
        ),
        (
            "a residual is added that does not count",
            'return self._after.get(base, "")',
            'return next(reversed(self._given), "")',
        ),
        (
            "a restarted site knows no residual",
            "        for done in released:\n            self.given(done)",
            "        list(released)",
        ),
        (
            "a site that has given nothing begins anew",
            "named = next((digest for digest in own if digest in self._given), None)",
            "named = next((digest for digest in own if digest in self._given), '')",
        ),
    ),
    *faults_in(
        "rounds/releasing.py",
        ("no residual is added", "residual = self._feedback.residual_at(current.base)", 'residual = ""'),
    ),
    *faults_in(
        "rounds/machine.py",
        (
            "a change that is merged is not known as its model",
            "self._carrying.known_as(event.digest, self._releasing.made_of(event.digest))",
            "pass",
        ),
    ),
    *faults_in(
        "merge/outer.py",
        ("the step goes the wrong way", "d = np.subtract(m, x)", "d = np.subtract(x, m)"),
        ("a step is taken twice", "np.where(step == d, m, x + step)", "np.where(step == d, m, x + step + step)"),
        (
            "the step uses the momentum before it",
            "step = _direction(outer, d, rounded)",
            "step = _direction(outer, d, before)",
        ),
        (
            "a step is computed from what was not rounded",
            "rounded = [widen(kept, each) for each in after]",
            "rounded = _forward(outer, d, before)",
        ),
        (
            "the first momentum is that of the change alone",
            "return [outer.momentum * before[0] + d]",
            "return [outer.momentum * before[0] + (1 - outer.momentum) * d]",
        ),
    ),
    *faults_in(
        "merge/encoding.py",
        ("what was left out is taken away again", "change += before", "change -= before"),
        ("what was left out is added twice", "change += before", "change += before + before"),
        (
            "what is left out has the wrong sign",
            "left = np.subtract(change, decoded)",
            "left = np.subtract(decoded, change)",
        ),
        (
            "a residual does not have the one before in it",
            "left = np.subtract(change, decoded)",
            "left = np.subtract(change if before is None else change - before, decoded)",
        ),
    ),
    *faults_in(
        "sl/outersteps.py",
        (
            "what a site makes is not compared with the ledger",
            "if made.result == result and (made.step or step).momentum == step.momentum:",
            "if True:",
        ),
    ),
    *faults_in(
        "sl/changes.py",
        ("the residual named by a change is not added", "self._residual(task.residual, coding.residual_size)", "None"),
    ),
)
