"""The members and the condition of a store, as the messages of `store.proto` and back."""

from __future__ import annotations

from orchestrator.store.interface import StoreStatus
from orchestrator.store.membership import MemberList, MemberStatus
from orchestrator.store.v1 import store_pb2 as pb


def list_reply(members: MemberList) -> pb.ListMembersReply:
    return pb.ListMembersReply(
        cluster=members.cluster,
        members=[
            pb.StoreMember(
                name=member.name,
                address=member.address,
                learner=member.learner,
                leader=member.leader,
                match_index=member.match_index,
                reachable=member.reachable,
            )
            for member in members.members
        ],
    )


def member_list(reply: pb.ListMembersReply) -> MemberList:
    return MemberList(
        reply.cluster,
        [
            MemberStatus(
                member.name, member.address, member.learner, member.leader, member.match_index, member.reachable
            )
            for member in reply.members
        ],
    )


def status_reply(status: StoreStatus, members: MemberList) -> pb.StatusReply:
    """`members`: as far as this member knows."""
    return pb.StatusReply(
        cluster=members.cluster,
        member=status.member,
        leader=status.leader or "",
        term=status.term,
        revision=status.revision,
        compacted_revision=status.compacted_revision,
        keys=status.keys,
        db_size=status.db_size,
        history_size=status.history_size,
        log_size=status.log_size,
        commit_index=status.commit_index,
        applied_index=status.applied_index,
        last_index=status.log_last_index,
        snapshot_index=status.snapshot_index,
        watchers=status.watchers,
        alarms=[*status.alarms, *([status.failure] if status.failure else [])],
        snapshot_age=status.snapshot_age,
        learner=any(member.learner for member in members.members if member.name == status.member),
    )
