"""The weighted arithmetic mean: the coefficients are the weights."""

from functools import partial

from swarmlearning.merge.arithmetic import weighted_mean
from swarmlearning.merge.streaming import Models, Plan


def mean(models: Models) -> Plan:
    return Plan(partial(weighted_mean, coefficients=models.weights), models.weights)
