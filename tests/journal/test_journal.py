"""The journal: what is recorded is there, once and unchanged; what cannot be kept is counted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from journal_kit import NOW, WAIT, Opening, dump, opened, until, write

from banken.protocol.incidents import Cause
from banken.protocol.messages import Declaration, Exit, Feeders, Kind, ProcessIdentity
from banken_supervisor.engine.policy import By
from banken_supervisor.engine.snapshot import NumbersHeard, PastMember
from banken_supervisor.engine.states import State
from banken_supervisor.journal import (
    Cleared,
    Condition,
    Declared,
    Entry,
    EventSeen,
    EvidenceTaken,
    IncidentClosed,
    IncidentRecord,
    Limits,
    Rank,
    Released,
    StepNotBegun,
    StepRun,
    checking,
    reading,
    restore,
    squeeze,
    tables,
)
from banken_supervisor.journal.reading import plain
from banken_supervisor.journal.values import EVIDENCE_MAX, parse_owner, unsqueeze
from banken_supervisor.journal.write_queue import WriteQueue

# -- what is kept -------------------------------------------------------------------------------------


def test_every_kind_of_entry_comes_back_as_it_was_recorded(path: str) -> None:
    """Registry, incidents, steps, evidence and events: written, closed, opened again, the same."""
    owner = ProcessIdentity(b"bootboot", 4711, 99, b"nonc")
    declaration = Declaration(2.5, 1.0, 9.0, Feeders.ANY, "page", 60.0, Exit.NEVER, (-10, 3))
    record = Declared(
        "w", declaration, 0.05, owner, State.PAUSED, NOW + 60, by=By.OPERATOR, incidents=3, changed=NOW
    )
    verdict = opened(1, reason="why", status="busy", progress=7, pid=4711, level="warning")
    step = StepRun(verdict.id, 0, 1, "dump", NOW + 1, ok=True, text="12 threads")
    found = {"headline": "MainThread in fetch", "threads": [1, 2]}
    event = EventSeen(5, NOW + 1, "expired", "w", {"incident": verdict.id, "silence": 1.5})
    end = IncidentClosed(verdict.id, NOW + 9, "fed", 4)
    write(path, record, verdict, step, EvidenceTaken(verdict.id, NOW + 2, squeeze(found)), event, end)

    assert restore(path).registry == [record]
    story = reading.incident(path, verdict.id)
    assert story is not None
    assert story.incident == replace(verdict, closed=NOW + 9, how="fed", runs=4)
    assert story.steps == [step]
    assert story.evidence == [EvidenceTaken(verdict.id, NOW + 2, squeeze(found))]
    assert story.evidence[0].data == found
    assert story.events == [replace(event, run="run-1", incident=verdict.id)]
    assert story.problems == []
    assert checking.check(path) == []


def test_a_process_without_a_nonce_comes_back(path: str) -> None:
    """One that MAINPID of sd_notify named has none: its watchdog comes back as any other."""
    owner, member = ProcessIdentity(b"bootboot", 4711, 99, b""), ProcessIdentity(b"bootboot", 4712, 100, b"nonc")
    record = Declared(
        "w", Declaration(2.5), 0.0, owner, State.PAUSED, NOW + 60, by=By.OPERATOR, changed=NOW,
        members=(PastMember(member, 1), PastMember(owner)),
    )  # fmt: skip
    write(path, record)
    left = restore(path)
    assert (left.registry, left.problems) == ([record], [])


@pytest.mark.parametrize("extended", [None, (), ((0, 0.0),), ((0, 1e9), (1, 0.1))])
def test_which_processes_are_extended_comes_back(path: str, extended: tuple[tuple[int, float], ...] | None) -> None:
    """None of them is not the same as no word of it, which means all."""
    members = tuple(PastMember(ProcessIdentity(b"bootboot", 1 + each, 99, b"nonc"), each) for each in range(3))
    record = Declared(
        "w", Declaration(2.5, feeders=Feeders.EACH), 0.0, members[0].process, State.ALIVE, NOW + 60, changed=NOW,
        members=members, extended=extended and tuple((members[each].process, by) for each, by in extended),
    )  # fmt: skip
    write(path, record)
    left = restore(path)
    assert (left.registry, left.problems) == ([record], [])


@pytest.mark.parametrize("heard", [None, (((ProcessIdentity(b"bootboot", 1, 99, b"nonc"), Kind.FAIL), 7),)])
def test_which_words_were_heard_comes_back(path: str, heard: NumbersHeard | None) -> None:
    record = Declared("w", Declaration(2.5), 0.0, None, State.PAUSED, None, changed=NOW, heard=heard and heard * 2)
    write(path, record)
    left = restore(path)
    assert (left.registry, left.problems) == ([record], [])


@pytest.mark.parametrize("nonce", ["00", "00" * 3, "00" * 5, "x"])
def test_a_nonce_of_another_size_is_refused(nonce: str) -> None:
    """What no process says of itself is no identity."""
    with pytest.raises(ValueError, match="nonce|hexadecimal"):
        parse_owner(f"{b'bootboot'.hex()}-4711-99-{nonce}")


_text = st.text(st.characters(codec=None), max_size=40) | st.sampled_from(
    ["\udc80", "a\0b", "", "番犬", "x" * 9000]
)
_number = st.integers(-(2**70), 2**70)
_real = st.floats()


@settings(max_examples=200, deadline=None)
@given(_text, _real, st.none() | _number | _real | _text, _number, st.none() | _text)
def test_whatever_a_worker_says_is_a_sound_row_when_it_is_read(
    text: str, real: float, progress: Any, number: int, maybe: str | None
) -> None:
    """Through SQLite and back the checksum is right: else one odd text would make every file a damaged one."""
    verdict = IncidentRecord(text, "w", Cause.FAILED, real, real, real, maybe, maybe, progress, number, maybe)
    data = {text: progress, "incident": maybe}
    entries = {
        tables.REGISTRY: Declared(
            "w", Declaration(callback="tell"), real, None, State.ALIVE, real, changed=real, incidents=number
        ),
        tables.INCIDENTS: replace(verdict, closed=real, how=text, runs=number),
        tables.STEPS: StepRun(text, number, number, text, real, None, text),
        tables.EVIDENCE: EvidenceTaken(text, real, squeeze({text: [progress, {"x": real}]})),
        tables.EVENTS: EventSeen(number, real, text, None if maybe is None else "w", data, text, maybe),
    }
    connection = sqlite3.connect(":memory:")
    for table, entry in entries.items():
        connection.execute(table.create)
        connection.execute(table.insert("IGNORE"), table.row(entry))
        (read,) = connection.execute(table.select).fetchall()
        assert table.intact(read), (table.name, entry, read)
        plain(table.entry(read[:-1]))
    connection.close()


def test_what_is_too_long_is_cut_and_says_so() -> None:
    """Evidence and event data are bounded, whatever was collected."""
    packed = unsqueeze(squeeze({"headline": "h", "stack": ["x" * 100] * 50_000}))
    assert packed["headline"] == "h"
    assert "at most" in packed["cut"]
    event = EventSeen(1, NOW, "x", None, {"long": "x" * 100_000, "short": 1, "deep": [[[]]] * 50_000})
    data = tables.EVENTS.entry(tables.EVENTS.row(event)[:-1]).data
    assert data.pop("cut")
    assert data == {"short": 1}
    loop: dict[str, Any] = {}
    loop["self"] = loop
    assert len(squeeze(loop)) < 1000


def test_evidence_that_unpacks_without_end_is_not_unpacked() -> None:
    """A row whose sum is right may still be hostile: another program may have written it."""
    import zlib

    bomb = zlib.compress(b'"' + b"a" * (EVIDENCE_MAX * 20) + b'"')
    with pytest.raises(ValueError, match="longer than"):
        unsqueeze(bomb)
    with pytest.raises(ValueError, match="unpacked"):
        unsqueeze(b"garbage")


# -- recording twice, and in any order ------------------------------------------------------------------


def test_recording_everything_twice_changes_nothing(path: str) -> None:
    """After kill -9 the caller does not know what was written, and records it again."""
    entries: list[Entry] = []
    for number in range(50):
        verdict = opened(number, f"w-{number}")
        entries += [
            Declared(verdict.name, Declaration(), incidents=1),
            verdict,
            StepRun(verdict.id, 0, 1, "dump", NOW),
            StepRun(verdict.id, 0, 1, "dump", NOW, True, "done"),
            EvidenceTaken(verdict.id, NOW, squeeze({"n": number})),
            EventSeen(number, NOW, "expired", verdict.name, {"incident": verdict.id}),
            IncidentClosed(verdict.id, NOW + 100, "fed", 2),
        ]
    write(path, *entries)
    before = dump(path)
    assert len(before) == 50 * 5
    write(path, *entries)
    assert dump(path) == before
    for at in range(0, len(entries), 7):  # and in other batches
        write(path, *entries[at : at + 5])
    assert dump(path) == before


def test_the_first_end_of_an_incident_stands_and_nothing_opens_it_again(path: str) -> None:
    """An id is used once."""
    write(path, opened(1), IncidentClosed("r-00001", NOW + 2, "fed", 3))
    write(path, IncidentClosed("r-00001", NOW + 5, "released", 9), opened(1, reason="again"))
    (record,) = reading.incidents(path)
    assert (record.closed, record.how, record.runs, record.reason) == (NOW + 2, "fed", 3, None)
    assert reading.incidents(path, open_only=True) == []


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_what_was_handed_over_and_came_back_is_open(path: str, batches: int) -> None:
    """Of a cluster's members one may lead, then another one, then the first one again."""
    began = opened(1, pid=7)
    entries = [
        began, opened(2), IncidentClosed(began.id, NOW + 2, "handed-over"),
        replace(began, opened=NOW + 9, pid=None, silence=9.0),
    ]  # fmt: skip
    for batch in {1: [entries], 2: [entries[:2], entries[2:]], 3: [entries[:3], entries[3:]]}[batches]:
        write(path, *batch)
    assert reading.incident(path, began.id).incident == began  # type: ignore[union-attr]
    assert {each.id for each in reading.incidents(path, open_only=True)} == {began.id, "r-00002"}
    write(path, IncidentClosed(began.id, NOW + 20, "fed", 4))
    (one,) = (each for each in reading.incidents(path) if each.id == began.id)
    assert (one.closed, one.how, one.runs) == (NOW + 20, "fed", 4)


def test_a_result_is_not_overwritten_by_the_beginning(path: str) -> None:
    """What is recorded before an action is known to be over when its result is there."""
    begun = StepRun("r-00001", 2, 1, "signal", NOW)
    write(path, opened(1), begun, replace(begun, ok=False, text="gone"))
    write(path, begun)
    story = reading.incident(path, "r-00001")
    assert story is not None
    assert [(each.ok, each.text) for each in story.steps] == [(False, "gone")]


@pytest.mark.parametrize("batches", [1, 2, 3])
def test_a_step_that_was_not_begun_is_due_again(path: str, batches: int) -> None:
    """And where it was begun later, it is not."""
    runs = [StepRun("r-00001", 0, number, "signal", NOW) for number in (1, 2, 3)]
    entries = [
        [opened(1), *runs],
        [StepNotBegun("r-00001", 0, 2), StepNotBegun("r-00001", 0, 3)],
        [replace(runs[2], started=NOW + 5)],
    ]
    if batches == 1:
        entries = [[*entries[0], *entries[1], *entries[2]]]
    elif batches == 2:
        entries = [entries[0], [*entries[1], *entries[2]]]
    for batch in entries:
        write(path, *batch)
    story = reading.incident(path, "r-00001")
    assert story is not None
    assert [each.run for each in story.steps] == [1, 3]


def test_within_one_batch_the_last_word_on_a_name_counts(path: str, opening: Opening) -> None:
    """Declared, released and declared again; and a registry that begins anew."""
    journal = opening()
    for entry in (
        Declared("old", Declaration()),
        Declared("kept", Declaration()),
        Released("kept"),
        Declared("kept", Declaration(5.0)),
        Declared("gone", Declaration()),
        Released("gone"),
    ):
        journal.record(entry)
    assert journal.flush(WAIT)
    assert {each.name: each.declaration.timeout for each in restore(path).registry} == {"old": 60.0, "kept": 5.0}


def test_what_was_recorded_before_all_is_recorded_anew_goes_when_that_is_done(path: str, opening: Opening) -> None:
    """Not at its beginning: whoever is killed in between would leave an empty registry."""
    journal = opening()
    for name, boot, ticks in (("old", "b", 1.0), ("before-the-boot", "a", 9.0), ("kept", "b", 1.0)):
        journal.record(Declared(name, Declaration(), boot=boot, ticks=ticks))
    assert journal.flush(WAIT)
    journal.record(Declared("kept", Declaration(), boot="b", ticks=5.0))
    assert journal.flush(WAIT)
    assert {each.name for each in restore(path).registry} == {"old", "before-the-boot", "kept"}
    journal.record(Cleared("b", 5.0))
    journal.record(Declared("new", Declaration(), boot="b", ticks=6.0))
    assert journal.flush(WAIT)
    assert {each.name for each in restore(path).registry} == {"kept", "new"}


def test_an_entry_that_is_none_holds_up_no_other(path: str, opening: Opening) -> None:
    """Its recorder's fault: counted, with the reason."""
    journal = opening()
    journal.record(opened(1))
    journal.record(IncidentRecord(None, "w", Cause.TIMEOUT, NOW))  # type: ignore[arg-type]
    journal.record(EventSeen("x", NOW, "t"))  # type: ignore[arg-type]
    journal.record(IncidentClosed("nobody", NOW, "fed"))
    journal.record(EvidenceTaken("r-00001", NOW, b"x" * (EVIDENCE_MAX + 1)))
    journal.record(opened(2))
    assert journal.flush(WAIT)
    assert journal.state()["state"] == "ok"
    assert journal.state()["refused"] == 4
    assert journal.state()["refusal"]
    assert [each.id for each in reading.incidents(path)] == ["r-00002", "r-00001"]


def test_what_is_told_as_committed_is_there(path: str, opening: Opening) -> None:
    """At the moment of the call another connection already sees it; tickets only rise."""
    missing: list[int] = []
    told: list[int] = []

    def committed(ticket: int) -> None:
        told.append(ticket)
        if len(reading.incidents(path, limit=10_000)) < ticket:
            missing.append(ticket)

    journal = opening(committed=committed)
    for number in range(2_000):
        assert journal.record(opened(number)) == number + 1
        if number % 400 == 0:
            assert journal.flush(WAIT)
    assert journal.flush(WAIT)
    assert journal.close(WAIT)  # the last call is over
    assert told == sorted(told)
    assert told[-1] == journal.durable == 2_000
    assert len(told) > 3
    assert missing == []


def test_one_attempt_is_made_at_the_end_whatever_the_time(path: str, opening: Opening) -> None:
    """As of a process that was stopped while it ended: its time is over when it goes on, and the disk is well."""
    journal = opening()
    assert journal.flush(WAIT)
    for number in range(2_000):
        journal.record(opened(number))
    assert journal.close(0.0)
    assert len(reading.incidents(path, limit=10_000)) == 2_000


def test_callbacks_that_raise_do_not_end_the_writer(path: str, opening: Opening) -> None:
    """They are the caller's; the entries are ours."""

    def raises(_: Any) -> None:
        raise RuntimeError("the loop is gone")

    journal = opening(committed=raises, changed=raises)
    for number in range(3):
        journal.record(opened(number))
        assert journal.flush(WAIT)
    assert len(reading.incidents(path)) == 3
    assert "the loop is gone" in journal.state()["refusal"]


# -- the queue -----------------------------------------------------------------------------------------


def test_what_is_given_up_goes_from_the_least_important_upwards() -> None:
    """Events, registry, evidence, steps, incidents; a newer event or state pushes out the oldest of its kind."""
    kinds: dict[Rank, Callable[[int], Entry]] = {
        Rank.EVENT: lambda n: EventSeen(n, NOW, "t"),
        Rank.REGISTRY: lambda n: Declared(f"w-{n}", Declaration()),
        Rank.EVIDENCE: lambda n: EvidenceTaken("i", n, b""),
        Rank.STEP: lambda n: StepRun("i", 0, n, "a", NOW),
        Rank.INCIDENT: lambda n: opened(n),
    }
    queue = WriteQueue(10, 10**9)
    for rank in (Rank.INCIDENT, Rank.STEP, Rank.EVIDENCE, Rank.REGISTRY, Rank.EVENT):
        for number in range(2):
            assert queue.put(kinds[rank](number)) is not None
    assert queue.put(kinds[Rank.EVENT](2)) is not None
    assert queue.dropped == {Rank.EVENT: 1}
    lost: list[dict[Rank, int]] = []
    for number in range(2, 12):
        ticket = queue.put(kinds[Rank.INCIDENT](number))
        assert (ticket is None) == (number >= 10)
        lost.append(dict(queue.dropped))
    assert lost[1] == {Rank.EVENT: 3}
    assert lost[3] == {Rank.EVENT: 3, Rank.REGISTRY: 2}
    assert lost[5] == {Rank.EVENT: 3, Rank.REGISTRY: 2, Rank.EVIDENCE: 2}
    assert lost[-1] == {Rank.EVENT: 3, Rank.REGISTRY: 2, Rank.EVIDENCE: 2, Rank.STEP: 2, Rank.INCIDENT: 2}
    assert queue.put(kinds[Rank.EVENT](9)) is None
    assert queue.lagging
    assert [entry for _, entry in queue.take(100, 10**9)] == [opened(number) for number in range(10)]
    queue.settled()
    assert not queue.lagging


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.sampled_from("peitg"), st.integers(1, 40)), max_size=60), st.integers(1, 30))
def test_the_queue_keeps_order_and_bounds(steps: list[tuple[str, int]], most: int) -> None:
    """Whatever is put, taken and given back: tickets rise, nothing is doubled, none is lost uncounted."""
    queue = WriteQueue(most, 64 * 1024)
    put = refused = taken = 0
    hand: list[tuple[int, Entry]] = []
    for step, size in steps:
        if step == "t":
            queue_hand = queue.take(size, 8 * 1024)
            taken += len(hand)  # what was in hand is written
            hand = queue_hand
        elif step == "g":
            queue.give_back(hand)
            hand = []
        else:
            entry = EventSeen(put, NOW, "t", None, {"text": "x" * size * 100}) if step == "e" else opened(put)
            refused += queue.put(entry) is None
            put += 1
        assert len(queue) <= most
        assert 0 <= queue.bytes <= 64 * 1024
        assert put == taken + len(hand) + len(queue) + sum(queue.dropped.values())
    tickets = [ticket for ticket, _ in hand + queue.take(10**6, 10**9)]
    assert tickets == sorted(set(tickets))
    assert queue.bytes == 0


def test_a_full_queue_is_shown_and_the_registry_asked_for_again(path: str, opening: Opening) -> None:
    """While another process holds the file locked: bounded, counted, lagging; afterwards resync."""
    conditions: list[Condition] = []
    journal = opening(limits=Limits(queue_max=100), changed=conditions.append)
    assert journal.flush(WAIT)
    until(lambda: journal.condition.state == "ok", "it opens")
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN EXCLUSIVE")
    for number in range(300):
        journal.record(Declared(f"w-{number}", Declaration()))
    until(lambda: journal.condition.state == "failing", "it says that it is locked out")
    assert "locked" in journal.state()["reason"]
    assert journal.state()["dropped"]["registry"] == 200
    for number in range(50):
        assert journal.record(opened(number)) is not None
    assert journal.state()["queued"] <= 100
    blocker.execute("ROLLBACK")
    blocker.close()
    assert journal.flush(WAIT)
    until(lambda: journal.condition.state == "ok", "it has caught up")
    assert [each.resync for each in conditions if each.state == "ok"] == [False, True]
    assert len(reading.incidents(path)) == 50
    assert sorted(each.name for each in restore(path).registry) == [f"w-{number}" for number in range(250, 300)]
