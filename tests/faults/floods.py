"""One process at full speed, for each kind of message and of misuse of the sockets."""

from __future__ import annotations

from random import Random

from .fault import Seconds, fault
from .place import Place


def _attack(name: str, what: str, test: str, **more: object) -> None:
    def harm(place: Place, chance: Random, seconds: float) -> Seconds:
        with place.attacked(name):
            yield seconds

    harm.__name__ = name
    fault(2, f"at full speed: {what}", test, **more)(harm)


QUOTAS, BOUNDS, LISTENER = "test_quotas.py", "process/test_bounds_real.py", "test_listener.py"
FLOOD = "process/test_flood_real.py::test_a_verdict_does_not_wait_for_what_another_process_sent_before"
GARBAGE = "process/test_garbage.py::test_random_bytes_and_mutated_frames_never_stop_the_loop"
UNREAD = "test_control_and_events.py::test_a_subscriber_that_does_not_read_loses_events_and_holds_nobody_up"

for _name, _what, _test, _more in (
    ("feed", "feeds", "test_waiting.py::test_known_feeds_are_taken_in_a_flood", {}),
    ("status", "feeds with another status each", FLOOD, {}),
    ("section", "sections", FLOOD, {}),
    ("extend", "extensions", FLOOD, {}),
    ("pause", "pauses", FLOOD, {}),
    ("fail", "failures", FLOOD, {}),
    ("declare", "declarations", "test_waiting.py::test_a_flood_delays_an_honest_process_by_one_round", {}),
    ("garbage", "garbage", GARBAGE, {}),
    ("bulk", "15 kB of garbage", GARBAGE, {}),
    ("requests", "requests with patterns", f"{BOUNDS}::test_one_odd_request_or_feed_does_not_end_banken_run", {}),
    ("connects", "connections that come and go",
     f"{LISTENER}::test_who_has_most_connections_gives_way_to_who_has_fewer", {}),
    ("unfinished", "messages without an end",
     f"{LISTENER}::test_an_oversized_message_is_cut_and_one_that_never_ends_costs_nothing", {}),
    ("parts", "a request of parts without an end",
     f"{BOUNDS}::test_a_request_of_very_many_parts_holds_no_turn_and_nothing_gets_out_of_step", {}),
    ("unread", "requests whose replies are not read",
     f"{BOUNDS}::test_an_asker_that_does_not_read_costs_a_bounded_number_of_bytes", {}),
    ("subscribers", "events for subscribers that do not read", UNREAD, {}),
    ("vanished", "subscribers that come and go",
     "process/test_garbage.py::test_garbage_on_the_events_socket_changes_nothing", {}),
    ("subscriptions", "subscriptions", f"{BOUNDS}::test_others_are_heard_while_many_subscribe", {}),
    ("silent", "20,000 silent connections",
     "process/test_connections_real.py::"
     "test_a_low_limit_of_descriptors_and_a_flood_of_connections_end_nothing", {}),
    ("half", "half handshakes", f"{LISTENER}::test_who_does_not_finish_the_handshake_is_closed_in_time", {}),
    ("noise", "random bytes on each socket",
     "process/test_garbage.py::test_bytes_that_are_no_zeromq_hurt_nobody", {}),
    ("processes", "identities of one process",
     f"{QUOTAS}::test_a_process_has_few_identities_whatever_it_says", {"leaves": True}),
    ("names", "new names",
     f"{QUOTAS}::test_one_process_has_so_many_names_and_others_have_theirs", {"leaves": True}),
):  # fmt: skip
    _attack(_name, _what, _test, **_more)
