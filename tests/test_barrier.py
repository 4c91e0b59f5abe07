"""The hold between a suspicion and a verdict."""

from __future__ import annotations

from banken_supervisor.engine.barrier import PATIENCE, PROBES_LOST_MAX, READ_BYTES, TRIPS_MAX, Barrier


def test_a_verdict_waits_for_the_probe() -> None:
    """No horizon before the probe is back; then the time of the suspicion, once."""
    hold = Barrier()
    number = hold.suspect(5.0)
    assert number is not None
    assert hold.horizon() is None
    assert hold.suspect(5.1) is None
    assert hold.came_back(number, 5.2) is None
    assert hold.horizon() == 5.0
    assert hold.horizon() is None


def test_another_probe_follows_while_much_was_read() -> None:
    """A trip that brought more than one read can hold proves nothing; the trips are bounded."""
    hold = Barrier()
    number = hold.suspect(5.0)
    trips = 0
    while number is not None:
        hold.read(READ_BYTES + 1)
        trips += 1
        number = hold.came_back(number, 5.0 + trips / 1000)
    assert trips == TRIPS_MAX
    assert hold.horizon() == 5.0


def test_one_probe_is_enough_where_it_proves_all() -> None:
    """Of a source that gives it back only when all that came before has been read, however much that was."""
    hold = Barrier(exact=True)
    number = hold.suspect(5.0)
    assert number is not None
    hold.read(100 * READ_BYTES)
    assert hold.came_back(number, 5.1, complete=False) is None
    assert hold.horizon() == 5.0


def test_an_old_probe_proves_nothing() -> None:
    """Only the last one sent counts."""
    hold = Barrier()
    first = hold.suspect(5.0)
    assert first is not None
    second = hold.suspect(5.0 + PATIENCE)
    assert second is not None
    hold.came_back(first, 5.3)
    assert hold.horizon() is None
    hold.came_back(second, 5.3)
    assert hold.horizon() == 5.0


def test_lost_probes_do_not_suspend_justice() -> None:
    """After a bounded number of lost probes the verdict may fall, and they are counted."""
    hold = Barrier()
    now = 5.0
    assert hold.suspect(now) is not None
    for _ in range(PROBES_LOST_MAX):
        now += PATIENCE
        assert hold.horizon() is None
        assert hold.suspect(now) is not None
    assert hold.suspect(now + PATIENCE / 2) is None
    assert hold.horizon() is None
    hold.suspect(now + PATIENCE)
    assert hold.horizon() == 5.0
    assert hold.lost == PROBES_LOST_MAX + 1


def test_patience_is_the_time_left_to_the_probe() -> None:
    """What the loop may wait for the probe before it asks again."""
    hold = Barrier()
    assert hold.patience(1.0) is None
    hold.suspect(1.0)
    assert hold.patience(1.0) == PATIENCE
    assert hold.patience(9.0) == 0.0
