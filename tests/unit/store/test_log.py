"""The log on the disk: what was flushed comes back, whatever the power left behind it; damage is refused."""

from __future__ import annotations

import errno
import itertools
from pathlib import Path

import pytest

from orchestrator.store.errors import StoreCorrupt, StoreUnavailable
from orchestrator.store.files import DiskFiles
from orchestrator.store.giving_up import NO_OP
from orchestrator.store.log import Base, Log, LogEntry
from orchestrator.store.segment import recover
from orchestrator.store.tail import SECTOR
from tests.unit.store.disk import FaultyFiles

FILES = DiskFiles()


def open_log(directory: Path, base: Base | None = None, segment_size: int = 1 << 20) -> Log:
    return Log.open(FILES, directory, base or Base(), segment_size=segment_size)


class OneFile(DiskFiles):
    """A directory with one file, in memory."""

    def __init__(self, name: str, data: bytes) -> None:
        self._name, self._data = name, data

    def names(self, directory: Path) -> list[str]:
        return [self._name]

    def read(self, path: Path) -> bytes:
        return self._data


def write(log: Log, count: int, term: int = 1) -> list[LogEntry]:
    """Append entries, each flushed on its own."""
    for _ in range(count):
        index = log.next_index
        log.append(b"command %d " % index + bytes(index % 7), index, term)
        log.flush()
    return list(log.entries)


def only_segment(directory: Path) -> Path:
    (path,) = directory.glob("log-*")
    return path


def test_an_empty_directory_is_an_empty_log(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    assert (log.entries, log.next_index, log.term, log.voted_for, log.commit) == ([], 1, 0, None, 0)


def test_entries_term_vote_and_commit_come_back(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    log.vote(3, "n1")
    log.append(b"a", 1, 3)
    log.commit = 1
    log.append(b"b", 2, 3)
    log.flush()
    log.close()
    again = open_log(tmp_path)
    assert again.entries == [(b"a", 1, 3), (b"b", 2, 3)]
    assert (again.term, again.voted_for, again.commit) == (3, "n1", 1)


def test_truncated_entries_stay_gone(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    write(log, 5)
    log.truncate(3)
    log.append(b"other", 3, 2)
    log.flush()
    log.close()
    again = open_log(tmp_path)
    assert again.entries == log.entries
    assert [entry[1:] for entry in again.entries] == [(1, 1), (2, 1), (3, 2)]


def test_a_tail_cut_at_any_byte_loses_only_the_unfinished_frame(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    write(log, 3)
    path = only_segment(tmp_path)
    ends = [log.size]
    for _ in range(3):
        write(log, 1)
        ends.append(log.size)
    whole, entries = path.read_bytes(), log.entries
    log.close()
    for size in range(ends[0], ends[-1] + 1):
        path.write_bytes(whole[:size])
        recovered = open_log(tmp_path)
        kept = 3 + sum(end <= size for end in ends[1:])
        assert recovered.entries == entries[:kept], f"cut at {size}"
        rest = path.read_bytes()[ends[kept - 3] :]
        assert not any(rest), "the torn bytes must be gone before anything follows them"
        after = write(recovered, 1)
        recovered.close()
        again = open_log(tmp_path)
        assert again.entries == after
        again.close()


@pytest.mark.parametrize("garbage", [b"\x00" * 100, b"\x05\x00\x00\x00"], ids=["reserved", "half a head"])
def test_what_is_no_frame_and_was_never_acknowledged_does_not_count(tmp_path: Path, garbage: bytes) -> None:
    log = open_log(tmp_path)
    entries = write(log, 3)
    size = log.size
    log.close()
    path = only_segment(tmp_path)
    path.write_bytes(path.read_bytes()[:size] + garbage)
    assert open_log(tmp_path).entries == entries


def test_a_write_of_which_any_sectors_are_missing_is_cut(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    entries = write(log, 3)
    before = log.size
    log.append(bytes(range(1, 251)) * 12, log.next_index, 1)
    log.flush()
    path = only_segment(tmp_path)
    whole, after = path.read_bytes(), log.size
    log.close()
    edges = [before, *(edge for edge in range(0, after, SECTOR) if edge > before), after]
    sectors = list(itertools.pairwise(edges))
    assert len(sectors) > 5
    for missing in range(1, 1 << len(sectors)):
        data = bytearray(whole)
        for position, (begin, end) in enumerate(sectors):
            if missing >> position & 1:
                data[begin:end] = bytes(end - begin)
        path.write_bytes(data)
        recovered = open_log(tmp_path)
        assert recovered.entries == entries[:3], f"missing {missing:b}"
        recovered.close()


@pytest.mark.parametrize("confirmed", [False, True], ids=["killed", "closed"])
@pytest.mark.parametrize("last", [bytes(range(256)) * 3, bytes(2000), b"short"], ids=["bytes", "zeros", "short"])
def test_a_flipped_bit_anywhere_is_refused_and_nothing_is_changed(tmp_path: Path, last: bytes, confirmed: bool) -> None:
    log = open_log(tmp_path)
    write(log, 4)
    log.append(last, log.next_index, 1)
    log.flush()
    path = only_segment(tmp_path)
    if confirmed:
        log.confirm()
    end = log.size
    data = bytearray(path.read_bytes()[: end + 2000])
    log.close()
    for offset in range(end):
        damaged = data.copy()
        damaged[offset] ^= 1 << (offset % 8)
        with pytest.raises(StoreCorrupt, match=r"log-0000000001 is damaged at offset \d+"):
            recover(OneFile(path.name, bytes(damaged)), tmp_path)
    damaged = data.copy()
    damaged[end - 1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(StoreCorrupt, match="Nothing was changed"):
        open_log(tmp_path)
    assert path.read_bytes() == damaged


def test_more_than_a_bit_wrong_in_the_last_frame_is_refused_when_all_its_sectors_were_written(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    write(log, 4)
    before = log.size
    log.append(bytes(range(1, 251)) * 4, log.next_index, 1)
    log.flush()
    path = only_segment(tmp_path)
    data = bytearray(path.read_bytes())
    log.close()
    data[before + 40] ^= 0xFF
    data[before + 700] ^= 0x0F
    path.write_bytes(data)
    with pytest.raises(StoreCorrupt, match="bytes were written: some were changed later"):
        open_log(tmp_path)
    data[before : before + 16] = b"\xff" * 16
    path.write_bytes(data)
    with pytest.raises(StoreCorrupt, match="not the beginning of anything"):
        open_log(tmp_path)


def test_a_lost_sector_of_the_last_write_is_noticed_once_the_log_was_quiet(tmp_path: Path) -> None:
    """Without the empty frame behind it, it would look like a write that the power cut short."""
    log = open_log(tmp_path)
    write(log, 4)
    before = log.size
    write(log, 1)
    log.confirm()
    size = log.size
    log.confirm()
    assert log.size == size, "once is enough"
    path = only_segment(tmp_path)
    data = bytearray(path.read_bytes())
    log.close()
    data[before : size - 16] = bytes(size - 16 - before)
    path.write_bytes(data)
    with pytest.raises(StoreCorrupt, match="whole records follow"):
        open_log(tmp_path)


def test_damage_at_the_end_of_a_finished_segment_is_refused(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_size=200)
    write(log, 20)
    log.close()
    first = min(tmp_path.glob("log-*"))
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(StoreCorrupt, match="finished segment"):
        open_log(tmp_path)


def test_a_missing_segment_is_noticed(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_size=200)
    write(log, 40)
    log.close()
    segments = sorted(tmp_path.glob("log-*"))
    assert len(segments) > 4
    segments[2].unlink()
    with pytest.raises(StoreCorrupt, match="missing"):
        open_log(tmp_path)
    assert segments[0].exists()


def test_segments_follow_each_other_and_go_once_a_snapshot_covers_them(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_size=200)
    log.vote(7, "n1")
    entries = write(log, 40, term=7)
    log.forget_entries(30)
    log.remove_segments(30)
    log.close()
    assert min(tmp_path.glob("log-*")).name > "log-0000000004"
    with pytest.raises(StoreCorrupt, match="but the snapshot ends at entry 0"):
        open_log(tmp_path)
    again = open_log(tmp_path, Base(30, 7), segment_size=200)
    assert again.entries == [(NO_OP, 30, 7), *entries[30:]]
    assert (again.term, again.voted_for) == (7, "n1"), "the vote outlives the segment it was written to"
    assert again.commit >= 30


def test_leftovers_of_an_interrupted_removal_do_no_harm(tmp_path: Path) -> None:
    log = open_log(tmp_path, segment_size=200)
    entries = write(log, 40)
    log.close()
    segments = sorted(tmp_path.glob("log-*"))
    segments[1].unlink()
    again = open_log(tmp_path, Base(30, 1), segment_size=200)
    assert again.entries[1:] == entries[30:]
    assert not segments[0].exists()


def test_a_log_that_ends_before_its_snapshot_is_refused(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    write(log, 5)
    log.close()
    with pytest.raises(StoreCorrupt, match="before the snapshot's entry 9"):
        open_log(tmp_path, Base(9, 1))


def test_a_segment_that_did_not_get_its_name_is_ignored(tmp_path: Path) -> None:
    log = open_log(tmp_path)
    entries = write(log, 3)
    log.close()
    (tmp_path / "log-0000000002.new").write_bytes(b"half a header")
    assert open_log(tmp_path).entries == entries


@pytest.mark.parametrize("fault", ["fail_syncs", "fail_writes"])
def test_after_a_failed_write_or_fsync_nothing_is_tried_again(tmp_path: Path, fault: str) -> None:
    disk = FaultyFiles()
    log = Log.open(disk, tmp_path, Base())
    write(log, 2)
    setattr(disk, fault, True)
    log.append(b"lost", 3, 1)
    with pytest.raises(StoreUnavailable, match="cannot be written any more"):
        log.flush()
    setattr(disk, fault, False)
    before = list(disk.events)
    log.append(b"refused", 4, 1)
    with pytest.raises(StoreUnavailable, match="cannot be written any more"):
        log.flush()
    assert disk.events == before
    assert log.failure is not None
    assert errno.errorcode[errno.EIO if fault == "fail_syncs" else errno.ENOSPC]
    log.close()


def test_everything_collected_goes_to_the_disk_as_one_frame_with_one_sync(tmp_path: Path) -> None:
    disk = FaultyFiles()
    log = Log.open(disk, tmp_path, Base())
    write(log, 1)
    disk.events.clear()
    for index in range(2, 50):
        log.append(b"x" * 100, index, 1)
    log.flush()
    assert disk.events == ["append", "sync"]
    log.close()
