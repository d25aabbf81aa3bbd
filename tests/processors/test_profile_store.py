"""Every part counts once, whoever writes, merges, reads or is killed, and in whatever order."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from windvane.errors import ProfileError
from windvane.profiles import DatasetProfile
from windvane_processors import profile_store
from windvane_processors.profile_store import GRACE, Part, ProfileStore

DAY = datetime(2026, 11, 2, tzinfo=UTC)


def part(number: int, *, minute: int = 0, rows: int = 1, model: str = "m", chunk: int = 0) -> Part:
    """A chunk of a profile with some rows, told apart by its number."""
    start = DAY + timedelta(minutes=minute)
    profile = DatasetProfile(dataset_timestamp=start)
    profile.track({"x": [float(number)] * rows})
    return Part(model, "1", int(start.timestamp()), 300, f"{number:032x}", chunk, profile.serialize())


def rows(store: ProfileStore, begin: datetime | None = None, end: datetime | None = None) -> int:
    profile = store.read("m", "1", begin, end)
    return profile.columns["x"].counts.n if profile else 0


def files(root: Path) -> list[str]:
    return sorted(path.name for path in root.rglob("*") if path.is_file())


def age(root: Path, to: datetime) -> None:
    """Have every file be as old as if it had been written then."""
    for path in root.rglob("*"):
        os.utime(path, (to.timestamp(), to.timestamp()))


def test_a_part_that_comes_twice_counts_once(tmp_path: Path) -> None:
    """Before it is merged, after, and after it was removed."""
    store = ProfileStore(tmp_path)
    later = DAY + timedelta(hours=3)
    for number in range(3):
        store.put(part(number))
        store.put(part(number))
    assert rows(store) == 3
    assert store.compact(later) == 1
    store.put(part(1))
    assert rows(store) == 3
    age(tmp_path, later - GRACE * 2)
    store.compact(later)
    assert len(files(tmp_path)) == 1
    store.put(part(1))
    assert rows(store) == 3
    assert rows(ProfileStore(tmp_path)) == 3
    store.compact(later)
    assert len(files(tmp_path)) == 1


def test_parts_become_hours_and_hours_a_day(tmp_path: Path) -> None:
    """And what comes late joins them; counts never change on the way."""
    store = ProfileStore(tmp_path)
    for number in range(60):
        store.put(part(number, minute=number * 5))
    assert store.compact(DAY + timedelta(hours=2, minutes=30)) == 1
    assert next(window.duration for window in store.windows("m", "1")) == timedelta(hours=1)
    assert len(store.windows("m", "1")) == 49
    assert store.compact(DAY + timedelta(hours=7)) == 4
    assert [window.start.hour for window in store.windows("m", "1")] == list(range(5))
    assert rows(store) == 60
    age(tmp_path, DAY)
    assert store.compact(DAY + timedelta(days=3)) == 1
    assert store.windows("m", "1") == [(DAY, timedelta(days=1))]
    age(tmp_path, DAY)
    store.compact(DAY + timedelta(days=3))
    assert len(files(tmp_path)) == 1
    store.put(part(100, minute=7))
    assert rows(store) == 61
    assert store.compact(DAY + timedelta(days=4)) == 1
    assert rows(store) == 61
    merged = store.read("m", "1")
    assert merged is not None
    assert dict(merged.metadata) == {}
    assert merged.dataset_timestamp == DAY


def test_a_time_is_read_by_the_windows_that_overlap_it(tmp_path: Path) -> None:
    """Begin included, end not."""
    store = ProfileStore(tmp_path)
    for number in range(4):
        store.put(part(number, minute=number * 5))
    ten = DAY + timedelta(minutes=10)
    assert rows(store, end=ten) == 2
    assert rows(store, begin=ten) == 2
    assert rows(store, begin=ten - timedelta(seconds=1)) == 3
    assert store.read("m", "1", begin=DAY + timedelta(days=1)) is None
    assert store.read("m", "2") is None


def test_models_have_folders_of_their_own(tmp_path: Path) -> None:
    """Also where a name looks like a path."""
    store = ProfileStore(tmp_path / "deep" / "store")
    for model in ("a/b", "a", "a..", "m"):
        store.put(part(1, model=model))
    assert store.models() == [("a", "1"), ("a..", "1"), ("a/b", "1"), ("m", "1")]
    assert rows(store) == 1


def test_retention_removes_whole_days(tmp_path: Path) -> None:
    """Those that ended before, and no other."""
    store = ProfileStore(tmp_path)
    store.put(part(1))
    store.put(part(2, minute=24 * 60))
    assert store.delete_before(DAY + timedelta(hours=23)) == 0
    assert store.delete_before(DAY + timedelta(days=1)) == 1
    assert rows(store) == 1


def test_an_object_store_works_alike() -> None:
    """Through fsspec's own file system in memory."""
    store = ProfileStore("memory://profiles-of-a-test")
    for number in range(5):
        store.put(part(number, minute=number))
    store.probe()
    assert store.compact(DAY + timedelta(hours=5)) == 1
    assert rows(store) == 5
    assert store.models() == [("m", "1")]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    """In reading and in merging; other days are merged all the same."""
    store = ProfileStore(tmp_path)
    store.put(part(1))
    store.put(part(2))
    for number in (3, 4):
        store.put(part(number, minute=24 * 60))
    damaged = next(tmp_path.rglob(f"*{1:032x}-0.bin"))
    damaged.write_bytes(damaged.read_bytes()[:-20])
    with pytest.raises(ProfileError, match=damaged.name):
        store.read("m", "1")
    with pytest.raises(ProfileError, match="restore it or remove it"):
        store.compact(DAY + timedelta(days=9))
    assert any(name.endswith(".merged") for name in files(tmp_path))


@pytest.mark.parametrize("listed", ["", "[]", '{"a": 1}', "{", '{"00000000000000000000000000000001": [7]}'])
def test_a_merged_file_that_does_not_list_its_parts_is_refused(tmp_path: Path, listed: str) -> None:
    """Rather than counted twice."""
    store = ProfileStore(tmp_path)
    for number in range(2):
        store.put(part(number))
    store.compact(DAY + timedelta(hours=5))
    merged = next(tmp_path.rglob("*.merged"))
    profile = DatasetProfile.deserialize(merged.read_bytes())
    merged.write_bytes(profile.select(profile.columns, metadata={"windvane.parts": listed}).serialize())
    with pytest.raises(ProfileError, match=merged.name):
        ProfileStore(tmp_path).read("m", "1")


def test_an_address_that_cannot_be_is_refused() -> None:
    """With its name."""
    with pytest.raises(ProfileError, match="nosuch"):
        ProfileStore("nosuch://x")


def test_what_a_killed_writer_left_half_written_goes(tmp_path: Path) -> None:
    """Once it is old enough that nobody can still be writing it."""
    store = ProfileStore(tmp_path)
    store.put(part(1))
    leftover = next(tmp_path.rglob("*.bin")).with_name(".0123456789abcdef")
    leftover.write_bytes(b"half")
    assert rows(store) == 1
    now = datetime.now(UTC)
    store.compact(now)
    assert leftover.exists()
    store.compact(now + GRACE * 2)
    assert not leftover.exists()


class Killed(BaseException):
    """The process ends in mid-work."""


class Steps:
    """Lets a store do so many writes and removals, and then kills it."""

    def __init__(self, store: ProfileStore, allowed: int) -> None:
        self._store = store
        self._left = allowed
        self._write, self._remove = store._write, store._remove

    def _step(self) -> None:
        if not self._left:
            raise Killed
        self._left -= 1

    def write(self, *arguments: Any) -> None:
        self._step()
        self._write(*arguments)

    def remove(self, *arguments: Any) -> None:
        self._step()
        self._remove(*arguments)


@pytest.mark.parametrize("old", [False, True], ids=["young", "old"])
@pytest.mark.parametrize("allowed", range(8))
def test_a_kill_at_any_step_of_merging_loses_nothing(tmp_path: Path, allowed: int, old: bool) -> None:  # noqa: FBT001
    """Neither what was to be merged, nor what was to be removed after it; the next round does the rest."""
    for number in range(9):
        ProfileStore(tmp_path).put(part(number, minute=number * 10))
    now = DAY + timedelta(hours=4)
    for _ in range(3):
        store = ProfileStore(tmp_path)
        steps = Steps(store, allowed)
        store._write, store._remove = steps.write, steps.remove  # type: ignore[method-assign]
        with contextlib.suppress(Killed):
            store.compact(now)
        if old:
            age(tmp_path, now - GRACE * 2)
        assert rows(ProfileStore(tmp_path)) == 9
    ProfileStore(tmp_path).compact(now)
    assert rows(ProfileStore(tmp_path)) == 9
    assert [window.duration for window in ProfileStore(tmp_path).windows("m", "1")] == [timedelta(hours=1)] * 2


class Interleavings(RuleBasedStateMachine):
    """Two services share a store; parts come once or twice, at any time; either is killed at any step."""

    @initialize()
    def begin(self) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._root = Path(self._folder.name)
        self._stores = [ProfileStore(self._root), ProfileStore(self._root)]
        self._put: set[int] = set()
        self._now = DAY + timedelta(hours=1)

    @rule(who=st.integers(0, 1), number=st.integers(0, 7))
    def put(self, who: int, number: int) -> None:
        self._stores[who].put(part(number, minute=number * 10))
        self._put.add(number)

    @rule(hours=st.sampled_from([3, 26]))
    def wait(self, hours: int) -> None:
        self._now += timedelta(hours=hours)

    @rule()
    def grow_old(self) -> None:
        age(self._root, self._now - GRACE * 2)

    @rule(who=st.integers(0, 1))
    def compact(self, who: int) -> None:
        self._stores[who].compact(self._now)

    @rule(who=st.integers(0, 1), allowed=st.integers(0, 3))
    def compact_and_be_killed(self, who: int, allowed: int) -> None:
        store = self._stores[who]
        steps = Steps(store, allowed)
        store._write, store._remove = steps.write, steps.remove  # type: ignore[method-assign]
        with contextlib.suppress(Killed):
            store.compact(self._now)
        self._stores[who] = ProfileStore(self._root)

    @precondition(lambda self: self._put)
    @rule(data=st.data())
    def compact_what_was_listed_before(self, data: st.DataObject) -> None:
        """The other one merges between the listing and the merging of this one."""
        first, second = self._stores
        seen = first._files
        listed: list[bool] = []

        def files_then_the_other(folder: str) -> Any:
            found = seen(folder)
            if not listed:
                listed.append(True)
                number = data.draw(st.integers(0, 7))
                second.put(part(number, minute=number * 10))
                self._put.add(number)
                second.compact(self._now)
            return found

        first._files = files_then_the_other  # type: ignore[method-assign]
        first.compact(self._now)
        self._stores[0] = ProfileStore(self._root)

    @invariant()
    def each_part_counts_once(self) -> None:
        if not hasattr(self, "_root"):
            return
        for store in (*self._stores, ProfileStore(self._root)):
            profile = store.read("m", "1")
            assert (profile.columns["x"].counts.n if profile else 0) == len(self._put)

    def teardown(self) -> None:
        if hasattr(self, "_folder"):
            self._folder.cleanup()


TestInterleavings = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=40, stateful_step_count=25)


def test_names_follow_from_what_files_hold(tmp_path: Path) -> None:
    """Two services that merge the same parts write the same file."""
    for folder in ("a", "b"):
        store = ProfileStore(tmp_path / folder)
        for number in (range(4), reversed(range(4)))[folder == "b"]:
            store.put(part(number))
        store.compact(DAY + timedelta(hours=5))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    listed = DatasetProfile.deserialize(next((tmp_path / "a").rglob("*.merged")).read_bytes())
    assert json.loads(listed.metadata["windvane.parts"]) == {f"{number:032x}": [0] for number in range(4)}


def test_a_slow_merge_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it was told of may be gone by the time it is done."""
    store = ProfileStore(tmp_path)
    for number in range(2):
        store.put(part(number))
    monkeypatch.setattr(profile_store, "GRACE", timedelta(seconds=-1))
    assert store.compact(DAY + timedelta(hours=5)) == 0
    assert rows(store) == 2
