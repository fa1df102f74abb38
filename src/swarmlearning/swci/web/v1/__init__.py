"""`/v1`: what the ledger shows, by `views/`, and operators' acts on it, by `operator/`, as JSON for programs."""

from fastapi import APIRouter

from swarmlearning.swci.web.v1 import contracts, logs, nodes, proposals, taskrunners, tasks

router = APIRouter(prefix="/v1")
for resource in (nodes, contracts, tasks, taskrunners, proposals, logs):
    router.include_router(resource.router)
