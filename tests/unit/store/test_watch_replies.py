"""The messages a watch is told events in: of a bearable size, and never half a revision."""

from __future__ import annotations

import itertools

from orchestrator.store import Batch, Event
from orchestrator.store.key_value_answers import REPLY_BYTES
from orchestrator.store.key_value_door import _replies
from orchestrator.store.v1 import store_pb2 as pb


def test_a_long_batch_is_divided_between_revisions_only() -> None:
    value = bytes(REPLY_BYTES // 3)
    revisions = [2, 3, 3, 3, 3, 3, 4, 5, 6, 7, 7]
    batch = Batch(Event(f"/{number}", value, revision, None) for number, revision in enumerate(revisions))
    told = [pb.WatchReply.FromString(reply) for reply in _replies(batch)]
    assert [event.revision for reply in told for event in reply.events] == revisions
    assert len(told) > 2
    for reply, following in itertools.pairwise(told):
        assert reply.events[-1].revision == reply.progress < following.events[0].revision
    assert told[-1].progress == 7
