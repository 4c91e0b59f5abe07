"""Metrics for Prometheus: the answer to the request ``metrics``, in its text format or in OpenMetrics.

``METRICS`` lists every metric; docs/metrics.md has the same table, and a test compares both with real output. Label
values come from fixed or bounded sets: what a worker writes (status, reason, progress) never becomes one.

    args = question(names)                       # names: a pattern, None, or "" for no series of single watchdogs
    try:
        answer = control.request("metrics", **args)
    except (Unreachable, RequestFailed):
        answer = None                            # rendered as banken_up 0: a scrape never fails
    body, content_type = render(answer, accept)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from operator import itemgetter
from typing import Any, Literal

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from banken_supervisor.text import upward_text
from banken_supervisor.text.sanitize import ODD

Answer = Mapping[str, Any]
Sample = tuple[tuple[str, ...], Any]
"""Label values, and the number (of a histogram: the map that the supervisor sends); None: there is none."""

JOURNAL_STATES = ("off", "opening", "ok", "lagging", "failing", "moved-aside")


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name and meaning, and how its samples are found in the supervisor's answer."""

    name: str
    """without the ``_total`` of a counter"""
    kind: Literal["gauge", "counter", "histogram"]
    meaning: str
    source: str | Callable[[Answer], Iterable[Sample]]
    """where its number is, keys joined by dots; with a label a map from the label's values to the numbers"""
    labels: tuple[str, ...] = ()

    @property
    def full_name(self) -> str:
        """As it stands in the output."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    def collect(self, answer: Answer) -> Metric:
        """Its samples, as the registry collects them."""
        samples = [(labels, value) for labels, value in self._samples(answer) if value is not None]
        if self.kind == "histogram":
            histogram = HistogramMetricFamily(self.name, self.meaning, labels=self.labels)
            for labels, value in samples:
                histogram.add_metric(labels, _buckets(value), value["sum"])
            return histogram
        plain = GaugeMetricFamily if self.kind == "gauge" else CounterMetricFamily
        family = plain(self.name, self.meaning, labels=self.labels)
        for labels, value in samples:
            family.add_metric(labels, float(value))
        return family

    def _samples(self, answer: Answer) -> Iterable[Sample]:
        if not isinstance(self.source, str):
            return self.source(answer)
        found: Any = answer
        for key in self.source.split("."):
            found = None if found is None else found[key]  # there is no journal, or the system does not tell
        if self.labels and found is not None:
            return [((str(key),), count) for key, count in found.items()]
        return [((), found)]


def _buckets(histogram: Mapping[str, Any]) -> list[tuple[str, float]]:
    """As Prometheus wants them: each with all below it."""
    names = [*(repr(float(bound)) for bound in histogram["bounds"]), "+Inf"]
    return list(zip(names, map(float, accumulate(histogram["counts"])), strict=True))


def _journal_state(answer: Answer) -> Iterable[Sample]:
    journal = answer["journal"]
    state = "off" if journal is None else journal["state"]
    return [((each,), each == state) for each in JOURNAL_STATES]


def _under_way(kind: str) -> Callable[[Answer], Iterable[Sample]]:
    return lambda answer: [((state,), answer[kind][state]) for state in ("running", "queued", "stuck")]


def _callback_results(answer: Answer) -> Iterable[Sample]:
    results = ("done", "failed", "stuck", "skipped")
    return [((result,), answer["events"][f"callback-{result}"]) for result in results]


def _of_cluster(answer: Answer, number: Callable[[Answer], bool]) -> Iterable[Sample]:
    cluster = answer.get("cluster")
    return [] if cluster is None else [((), number(cluster))]


def _of_upward(value: Callable[[Answer], Any]) -> Callable[[Answer], Iterable[Sample]]:
    return lambda answer: [
        ((each["address"],), value(each)) for each in (answer.get("upward") or {"destinations": ()})["destinations"]
    ]


def _of_rows(place: int) -> Callable[[Answer], Iterable[Sample]]:
    return lambda answer: [((row[0],), row[place]) for row in answer["rows"]]


METRICS = (
    Family("banken_up", "gauge", "1: the supervisor answered; 0: it did not, and there are no other metrics.",
         lambda answer: [((), 1)]),
    Family("banken_build_info", "gauge", "Always 1; the label says which version of banken supervises.",
         lambda answer: [((str(answer["version"]),), 1)], ("version",)),
    Family("banken_start_time_seconds", "gauge", "When the supervisor started, in seconds since 1970.", "started"),
    Family("banken_supervisor_cpu_seconds", "counter", "CPU time that the supervisor's process has used.", "cpu"),
    Family("banken_supervisor_resident_memory_bytes", "gauge", "Resident memory of the supervisor's process.",
         "memory"),

    Family("banken_watchdogs", "gauge", "Watchdogs by state; those expired or given up have an open incident.",
         "states", ("state",)),
    Family("banken_incidents", "counter", "Incidents opened, by cause.", "incidents", ("cause",)),
    Family("banken_verdict_latency_seconds", "histogram",
         "From a deadline to the handing out of its callback; time that the supervisor itself lost is not in it.",
         "lateness"),
    Family("banken_feed_gap_seconds", "histogram",
         "Gaps between a watchdog's feeds: at high rates one in a timeout, else all.", "gaps"),
    Family("banken_messages", "counter", "Messages read from workers, with refused ones and own probes.",
         "messages"),
    Family("banken_refused", "counter", "Messages and requests that were not taken, by reason.",
         "refused", ("reason",)),
    Family("banken_web_refused", "counter",
         "Requests that the page's service refused, by reason; counted where the page's service answers.",
         "web_refused", ("reason",)),
    Family("banken_waiting_bytes", "gauge",
         "Messages that wait because their processes send too much; nobody else's do.", "waiting"),
    Family("banken_events", "counter", "Events published, by type.", "events", ("type",)),
    Family("banken_connections", "gauge", "Connections of workers, commands and listeners.", "connections"),
    Family("banken_connections_max", "gauge", "Connections that there may be.",
         "connections_max"),

    Family("banken_loop_turn_seconds", "histogram", "Turns of the supervisor's loop, without their waits.",
         "turn_seconds"),
    Family("banken_loop_slowest_turn_seconds", "gauge", "The longest turn since the start.", "slowest_turn"),
    Family("banken_stalls", "counter", "Times that the supervisor was stopped or starved.", "stalls"),
    Family("banken_credited_seconds", "counter", "Time lost in stalls; it counts towards no timeout.", "lost"),
    Family("banken_overloads", "counter", "Turns that could not read all messages that were there.", "overloads"),
    Family("banken_probes_lost", "counter", "Probes before a verdict that never came back.", "probes_lost"),
    Family("banken_log_lines_dropped", "counter", "Log lines dropped, because the log is read too slowly.",
         "log_lines_dropped"),
    Family("banken_deadman_requests", "counter",
         "Requests to the deadman's address; withheld: none was made, for the supervisor does not do its work.",
         lambda answer: [((result,), n) for result, n in (answer.get("deadman") or {}).items()], ("result",)),
    Family("banken_hardware_watchdog_feeds", "counter", "Writes to the hardware's watchdog device.",
         lambda answer: [((), answer.get("hardware_watchdog_feeds"))]),
    Family("banken_internal_errors", "counter",
         "Faults of the supervisor's own, by place: what they struck was dropped, and it went on.",
         "internal_errors", ("place",)),

    Family("banken_callbacks", "gauge", "Callbacks by what they do now.", _under_way("callbacks"), ("state",)),
    Family("banken_callbacks_ended", "counter",
         "What became of callbacks. A stuck one that ends after all counts again.", _callback_results, ("result",)),
    Family("banken_actions", "gauge", "Actions of ladders by what they do now.", _under_way("actions"), ("state",)),
    Family("banken_actions_ended", "counter",
         "What became of actions; observed: would have been done. A stuck one that ends after all counts again.",
         lambda answer: [((name, result), count) for name, result, count in answer["acted"]], ("action", "result")),
    Family("banken_programs", "gauge", "Programs by state.", "program_states", ("state",)),
    Family("banken_processes_watched", "gauge", "Processes whose end would be noticed at once.",
         "processes_watched"),
    Family("banken_processes_unseen", "gauge",
         "Processes judged by silence alone: no descriptor is left to notice their end.", "processes_unseen"),

    Family("banken_descriptors", "gauge", "Descriptors that the supervisor's process has open.", "descriptors"),
    Family("banken_descriptors_max", "gauge", "How many it may have; from 80 % on the event resources tells.",
         "descriptors_max"),
    Family("banken_memory_short", "gauge", "1: new names are refused for want of memory; 0: they are taken.",
         "memory_short"),

    Family("banken_journal_state", "gauge", "1 for the state that the journal is in, 0 for the others.",
         _journal_state, ("state",)),
    Family("banken_journal_lag_seconds", "gauge", "Age of the oldest entry that is not on disk yet; 0: all are.",
         "journal.lag"),
    Family("banken_journal_queue_entries", "gauge", "Entries that wait to be written.", "journal.queued"),
    Family("banken_journal_queue_bytes", "gauge", "About the memory that they take.", "journal.queued_bytes"),
    Family("banken_journal_dropped", "counter", "Entries lost for want of room, by rank.",
         "journal.dropped", ("rank",)),
    Family("banken_journal_refused", "counter", "Entries that the database refused.", "journal.refused"),
    Family("banken_journal_size_bytes", "gauge", "Size of the journal's file.", "journal.size"),
    Family("banken_journal_last_commit_timestamp_seconds", "gauge",
         "When the journal was last written to, in seconds since 1970.", "journal.last_commit"),

    Family("banken_cluster_leads", "gauge", "1: this member leads its cluster; 0: it does not.",
         lambda answer: _of_cluster(answer, lambda cluster: cluster["role"] == "leader")),
    Family("banken_cluster_has_leader", "gauge", "1: this member knows who leads; 0: it does not.",
         lambda answer: _of_cluster(answer, lambda cluster: cluster["leader"] is not None)),
    Family("banken_cluster_store_up", "gauge", "1: the cluster's store answered this member last; 0: it did not.",
         lambda answer: _of_cluster(answer, lambda cluster: cluster["away"] is None)),
    Family("banken_cluster_store_seconds", "gauge", "How long the store's last answer took.", "cluster.seconds"),
    Family("banken_cluster_member_up", "gauge", "1: another member answered this one last; 0: it did not.",
         "cluster.members", ("member",)),
    Family("banken_cluster_claims_waiting", "gauge", "Claims that wait to be written to the store.",
         "cluster.claims_waiting"),
    Family("banken_cluster_verdicts_held", "gauge", "Verdicts that wait until this member leads.", "cluster.held"),
    Family("banken_cluster_acquitted", "counter", "Workers that another member heard, and this one did not.",
         "cluster.acquitted"),
    Family("banken_cluster_actions_braked", "gauge", "Actions that wait because most workers fell silent at once.",
         "cluster.braked"),
    Family("banken_cluster_actions_held_back", "counter", "Actions that were dropped because another one led.",
         "cluster.held_back"),

    Family("banken_upward_up", "gauge", "1: this supervisor above takes the feeds of this one; 0: it does not.",
         _of_upward(upward_text.takes), ("address",)),
    Family("banken_upward_dropped", "counter", "Feeds of this supervisor that one above did not take.",
         _of_upward(itemgetter("dropped")), ("address",)),

    Family("banken_checks", "gauge", "Checks by their last result; none: not run yet, or its program is down.",
         "checks.last", ("result",)),
    Family("banken_check_results", "counter", "Results of checks.", "checks.results", ("result",)),
    Family("banken_check_duration_seconds", "histogram", "How long runs of checks took.", "checks.took"),
    Family("banken_check_runner_up", "gauge",
         "1: the process that runs the checks is heard; 0: it is not, and no check is judged.", "checks.runner_up"),

    Family("banken_watchdog_up", "gauge", "0: it has an open incident, given up or not; 1: else, paused included.",
         lambda answer: [((row[0],), row[1] not in ("expired", "given-up")) for row in answer["rows"]], ("name",)),
    Family("banken_watchdog_state", "gauge", "1, with the state that it is in; other states have no series.",
         lambda answer: [((row[0], row[1]), 1) for row in answer["rows"]], ("name", "state")),
    Family("banken_watchdog_silence_seconds", "gauge", "How long ago it was last fed, or declared.",
         _of_rows(2), ("name",)),
    Family("banken_watchdog_left_seconds", "gauge",
         "Until it is due; negative: late. Only while it is waiting or alive.", _of_rows(3), ("name",)),
    Family("banken_watchdog_timeout_seconds", "gauge", "Its timeout in force.", _of_rows(4), ("name",)),
    Family("banken_watchdog_incidents", "counter", "Its incidents since it is watched.", _of_rows(5), ("name",)),
    Family("banken_watchdogs_unlisted", "gauge",
         "Watchdogs without series of their own: there are more than 1,000, or the request asked for others.",
         lambda answer: [((), answer["watchdogs"] - len(answer["rows"]))]),
)  # fmt: skip


class _Supervisor(Collector):
    """One answer, as a registry collects it."""

    def __init__(self, answer: Answer | None) -> None:
        self._answer = answer

    def collect(self) -> Iterator[Metric]:
        if self._answer is None:
            yield GaugeMetricFamily(METRICS[0].name, METRICS[0].meaning, value=0)
            return
        for each in METRICS:
            try:
                family = each.collect(self._answer)
            except ODD:  # a supervisor of another version does not know this one
                continue
            if family.samples:
                yield family


def question(names: str | None = None) -> dict[str, Any]:
    """The arguments of the request. ``names``: a pattern of those that get series of their own; "": none.

    None: all, where there are not more than 1,000.
    """
    if names is None:
        return {}
    return {"name": names} if names else {"limit": 0}


def render(answer: Answer | None, accept: str = "") -> tuple[bytes, str]:
    """The body and its content type. ``answer`` None: the supervisor is down. ``accept``: the header's value."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Supervisor(answer))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type
