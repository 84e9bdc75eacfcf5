"""Many independent writes in one request: they run side by side, so that the store commits them together.

Each has its own outcome; one that fails does not touch the others.
"""

from __future__ import annotations

import asyncio

from orchestrator.api import errors
from orchestrator.api.status import to_status
from orchestrator.api.v1 import BatchRequest, Operation
from orchestrator.server.caller import Caller
from orchestrator.server.encoding import batch_result
from orchestrator.server.registry import Registry

MAX_OPERATIONS = 1000


async def carry_out(registry: Registry, caller: Caller, request: BatchRequest) -> bytes:
    """A serialized BatchReply with a result for each operation, in order. Raises RequestEntityTooLarge."""
    if len(request.operations) > MAX_OPERATIONS:
        raise errors.RequestEntityTooLarge(
            f"a batch may have at most {MAX_OPERATIONS} operations, this one has {len(request.operations)}"
        )
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(_result(registry, caller, each)) for each in request.operations]
    return b"".join(task.result() for task in running)


async def _result(registry: Registry, caller: Caller, operation: Operation) -> bytes:
    try:
        match operation.WhichOneof("operation"):
            case "create":
                return batch_result((await registry.create(caller, operation.create)).stored)
            case "update":
                return batch_result((await registry.update(caller, operation.update)).stored)
            case "patch":
                return batch_result((await registry.patch(caller, operation.patch)).stored)
            case "delete":
                return batch_result(await registry.delete(caller, operation.delete))
            case _:
                raise errors.BadRequest("the operation is empty, or one this version does not know")
    except errors.ApiError as error:
        return batch_result(to_status(error))
