"""Many independent writes in one request: they run side by side, so that the store commits them together.

Each has its own outcome; one that fails does not touch the others. The reply is bounded too: when small patches of
large objects have filled it, the operations that have not begun are refused, each in its own result.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from orchestrator.api import errors
from orchestrator.api.status import to_status
from orchestrator.api.v1 import BatchRequest, Operation
from orchestrator.server.caller import Caller
from orchestrator.server.encoding import batch_result
from orchestrator.server.registry import Registry

MAX_OPERATIONS = 1000
MAX_REPLY_BYTES = 32 << 20
SIDE_BY_SIDE = 64


async def carry_out(registry: Registry, caller: Caller, request: BatchRequest) -> bytes:
    """A serialized BatchReply with a result for each operation, in order. Raises RequestEntityTooLarge."""
    if len(request.operations) > MAX_OPERATIONS:
        raise errors.RequestEntityTooLarge(
            f"a batch may have at most {MAX_OPERATIONS} operations, this one has {len(request.operations)}"
        )
    results = [b""] * len(request.operations)
    waiting = iter(enumerate(request.operations))
    async with asyncio.TaskGroup() as tasks:
        for _ in range(min(SIDE_BY_SIDE, len(results))):
            tasks.create_task(_work(registry, caller, waiting, results))
    return b"".join(results)


async def _work(
    registry: Registry, caller: Caller, waiting: Iterator[tuple[int, Operation]], results: list[bytes]
) -> None:
    """Carry out operations until none is waiting."""
    for index, operation in waiting:
        if sum(map(len, results)) > MAX_REPLY_BYTES:
            full = errors.RequestEntityTooLarge("not carried out: the reply to this batch is too large already")
            results[index] = batch_result(to_status(full))
        else:
            results[index] = await _result(registry, caller, operation)
            await asyncio.sleep(0)  # what wrote nothing has not waited for anything: others get their turn


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
