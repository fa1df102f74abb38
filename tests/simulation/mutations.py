"""Faults to put into the code of slices, one at a time (`mutants.py`)."""

from typing import Final, NamedTuple

CONTRACT: Final = "ledger/contracts/training"


class Fault(NamedTuple):
    """In this file (below the package) `sound` is replaced by `faulty`."""

    name: str
    file: str
    sound: str
    faulty: str


def faults_in(file: str, *faults: tuple[str, str, str]) -> list[Fault]:
    """Faults by name, with the sound text and the faulty one."""
    return [Fault(name, file, sound, faulty) for name, sound, faulty in faults]


FAULTS: Final = (
    *faults_in(
        f"{CONTRACT}/slices.py",
        (
            "the first of two contradicting mergers is believed",
            'return "" if others and others[0][1] == count else first',
            "return first",
        ),
        ("whoever has stated anything holds the slice", "if stated == root).union(", "if stated).union("),
        ("slices overlap", "            start = stop\n", "            start = stop - 1\n"),
        ("one that says so merges nearly all", "most = Fraction(LARGEST_SHARE, len(found))", "most = Fraction(1)"),
        ("a slow site merges as much as others", "(speed * seconds - 1) / (sites - 2)", "Fraction(1, len(speeds))"),
    ),
    *faults_in(
        f"{CONTRACT}/recipes.py",
        ("who is left out stays in the recipe", ".union(each.uid for each in excluded)", ""),
        (
            "coefficients of others go on to hold",
            "if slicing and [_model(one) for one in slicing.weighed] == [_model(one) for one in parts]:",
            "if slicing and slicing.weighed:",
        ),
        ("models without weight are merged", "if one.weight > 0 and uid not in out]", "if uid not in out]"),
        (
            "one who is to merge all is enough to cut",
            "if len({each.merger for each in slices}) < 2:",
            "if False:",
        ),
        (
            "the same member merges the same part for ever",
            "turn = current.number % len(able) if able else 0",
            "turn = 0",
        ),
    ),
    *faults_in(
        f"{CONTRACT}/assigning.py",
        ("what only the leader holds is published", "or (others and not live_holders(each, others))", ""),
        (
            "one leader makes a merger silent",
            "in slicing.taken_from.items() if then < term}",
            "in slicing.taken_from.items()}",
        ),
        (
            "who cannot merge a slice keeps it",
            "if each.merger in there and each.merger not in unable:",
            "if each.merger in there:",
        ),
        (
            "a lost merger keeps its slices",
            "if each.merger in there and each.merger not in unable:",
            "if each.merger not in unable:",
        ),
        ("mergers that contradict each other decide by themselves", " | slicing.slices[index].contradicted", ""),
        (
            "a fault that concerns all slices concerns one",
            "fault.slice == index or fault.exclusion.reason not in OF_A_SLICE",
            "fault.slice == index",
        ),
        ("a leader passes a slice on as often as it likes", "if found.passed > term:", "if False:"),
        (
            "a leader gives itself what it takes from others",
            "[uid for uid in able if uid != leader] if set(fresh) - {leader} else fresh",
            "able",
        ),
        ("whoever has least to do reads a whole model", "self._reads_all(found, uid), uid in last", "uid in last"),
        (
            "who could not have a model once never merges again",
            "or _not_asked(state, slicing, index, again)",
            "or [uid for uid in again if uid not in again]",
        ),
        (
            "nobody decides where nobody is left to ask",
            "slicing = slicing.with_slice(index, _ruled(state, each, able))",
            "pass",
        ),
        (
            "who had a slice before is forgotten",
            "former = tuple(sorted({*found.former, found.merger} - {uid}))",
            "former = ()",
        ),
        ("slices are given to members that nobody can reach", "sorted(reachable or able,", "sorted(able,"),
        (
            "who was left out as unreachable merges on",
            "for uid in _able(state) if uid not in out]\n    reachable",
            "for uid in _able(state)]\n    reachable",
        ),
    ),
    *faults_in(
        f"{CONTRACT}/publishing.py",
        (
            "a leader publishes coefficients of its own",
            "if terms_of(state).merge_method == SURVEYED and wrong:",
            "if False:",
        ),
        (
            "a leader publishes before slices are held",
            "if lacking := not_held(state, slicing, uid):",
            "if lacking := []:",
        ),
        ("a leader leaves out whom it likes", "!= {part.uid for part in slicing.excluded} - kept:", "== {'nobody'}:"),
    ),
    *faults_in(
        f"{CONTRACT}/slicing.py",
        ("anybody states what it was not to merge", "if uid not in found.readers:", "if False:"),
        (
            "a merger changes its word",
            "if uid in found.roots or uid in found.statistics:\n        raise",
            "if False:\n        raise",
        ),
        ("coefficients are stated of what nobody has surveyed", "if lacking := sum(", "if lacking := 0 * sum("),
        (
            "anybody weighs models",
            "round_led(state, body.round, body.term, uid)\n"
            "    slicing, _ = _slice(state, current.number, body.recipe, 0)",
            "round_led(state, body.round, body.term, state.round.leader if state.round else uid)\n"
            "    slicing, _ = _slice(state, current.number, body.recipe, 0)",
        ),
        ("models are surveyed for ever", "if body.again and slicing.survey == MOST_SURVEYS:", "if False:"),
        (
            "coefficients are forgotten with a new recipe or leader",
            "kept = slicing.weighed if slicing.weighed == recipe.contributors else ()",
            "kept = ()",
        ),
        ("copies of other bytes count", "if body.roots != roots_of(before.slices, body.slices):", "if False:"),
        ("anybody reports faults in slices of others", "if uid != found.merger:", "if False:"),
        ("faults of strangers are noted", "if body.exclusion.uid not in {", "if False and body.exclusion.uid not in {"),
        ("faults of who is left out count on", "if each.uid in contributors)", "if True)"),
        (
            "who has read what is forgotten with the recipe",
            "each.merger, each.former, passed=each.passed",
            "each.merger",
        ),
        (
            "a statement is thrown away with every new recipe or term",
            "    if recipe.name != known.recipe:\n        present = ",
            "    if True:\n        present = ",
        ),
        (
            "the word of one leaves a contributor out",
            "    return are_enough(state, uid, organisations)",
            "    return bool(organisations)",
        ),
        ("where all accuse somebody else nobody is left out", " or _blocking(state, slicing)", ""),
        (
            "too few contributors make a result",
            "if not enough(state, there) or not (current.base",
            "if not (current.base",
        ),
        (
            "slices of a standing result are forgotten",
            "    if slicing.over or not all_hold(state):",
            "    if slicing.over:",
        ),
        (
            "slices are cut for another recipe than is merged",
            "    if recipe.name != known.recipe:",
            "    if False:",
        ),
    ),
    *faults_in(
        "rounds/sharing.py",
        (
            "what was fetched is stated as merged",
            "if index in known.merged:",
            "known.merged |= known.here\n            if index in known.merged:",
        ),
        (
            "slow mergers keep their slices",
            "                facts.send(Reassign(current.number, current.term, slicing.recipe, some))",
            "                pass",
        ),
        (
            "nobody holds copies",
            "            facts.send(Held(slicing.round, slicing.recipe, tuple(new), roots_of(slicing.slices, new)))",
            "            pass",
        ),
        ("faults are not reported", "            elif index in known.found and not", "            elif False and not"),
        (
            "the leader does not wait until slices are held",
            "if known.result and not self._not_held(current, slicing):",
            "if known.result:",
        ),
        (
            "a result of slices that do not count is published",
            "known.roots, known.result = roots, None",
            "known.roots = roots",
        ),
        ("recipes are tidied away", "return recipes.union(", "return set().union("),
    ),
    *faults_in(
        "rounds/collecting.py",
        (
            "a holder that drips is waited for",
            "known.turns[index] = known.turns.get(index, 0) + 1",
            "known.turns[index] = 0",
        ),
        (
            "slices of a lost merger are asked of nobody else",
            "others = () if holders - known.unresponsive else _in_turn(facts, there - holders, index)",
            "others = ()",
        ),
    ),
    *faults_in(
        f"{CONTRACT}/checks.py",
        ("mergers check their own slices", "if first < last and not own:", "if first < last:"),
        ("some check more than others", "UNITS * (at + 1) // len(members)", "UNITS * (at + 2) // len(members)"),
        ("who checks may read all of a model", "if len(read[part.uid]) < UNITS)", "if read)"),
    ),
    *faults_in(
        f"{CONTRACT}/checking.py",
        ("who checks reads before it has said so", " and part.uid in checks.begun]", "]"),
        ("checks go on for ever", 'return current is None or current.phase != "frozen"', "return True"),
        ("anybody states what it has found", "if uid not in checks.begun:", "if False:"),
        ("who has checked takes its word back", "if uid in checks.found:", "if False:"),
        (
            "slices of others are called wrong",
            "if list(body.wrong) != sorted(",
            "if False and list(body.wrong) != sorted(",
        ),
        (
            "parts are assigned anew with every block",
            "if slicing is None or (state.checks is not None and _are_of(state.checks, result)):",
            "if slicing is None:",
        ),
    ),
    *faults_in(
        "rounds/checking.py",
        ("what was found is stated of another part", "self._done[1]))", "()))"),
        ("a check begins before the ledger shows it", "if facts.uid not in checks.begun:", "if False:"),
    ),
    *faults_in(
        "rounds/known.py",
        (
            "a fetch that fails ends the merge",
            'return f"{recipe}/{index}/{kind.__name__}"',
            'return f"{recipe}/{index}"',
        ),
        (
            "a slice with another digest is taken for it",
            'return here != "" and (here == found.root or here in found.statistics.values())',
            "return index in known.here",
        ),
    ),
    *faults_in(
        "rounds/surveying.py",
        ("the leader weighs before all is surveyed", "if whole and not", "if known.here and not"),
        (
            "who does not give its statistics is asked for ever",
            "list(offers)[known.missed[index] % len(offers)]",
            "list(offers)[0]",
        ),
        (
            "what nobody has stated is weighed",
            "facts.work.want(WeighModels(recipe_of(facts.training, current, slicing), weights, roots), facts.now)",
            "recipe = recipe_of(facts.training, current, slicing)\n        "
            'facts.work.want(WeighModels(recipe, weights, ("0" * 64, *roots[1:])), facts.now)',
        ),
    ),
    *faults_in(
        "rounds/facts.py",
        (
            "contributions are given up as the result stands",
            "if result and ((sliced := open_slicing(training, result.closed.number)) or is_open(training)):",
            "if False and result and (sliced := None):",
        ),
    ),
    *faults_in(
        "rounds/watching.py",
        (
            "a leader whose members move on counts as quiet",
            'said = f"{facts.leader_height}/{statements}"',
            'said = f"{facts.leader_height}"',
        ),
    ),
    *faults_in(
        "rounds/leading.py",
        ("a leader with a full disk leads on", "if of_round or isinstance(task, Merge)", "if isinstance(task, Merge)"),
        (
            "the leader reads whole models before the freeze",
            "if not frozen and is_to_be_sliced(self._facts.training, current.number):",
            "if False:",
        ),
    ),
    *faults_in(
        f"{CONTRACT}/serving.py",
        ("anybody reads any slice", "if not each.readers.isdisjoint(readers)]", "]"),
        (
            "nobody reads slices of the standing result",
            "for each in (state.round, state.result and state.result.closed) if each]",
            "for each in (state.round,) if each]",
        ),
    ),
)
