"""The event socket: events go out to subscribers, subscriptions come in."""

from __future__ import annotations

from collections import Counter
from itertools import islice

from banken.protocol.limits import NAME_MAX
from banken_supervisor.sources.connections import Connection, Connections, Door
from banken_supervisor.sources.zmtp import Terms, frame

SUBSCRIPTIONS_PER_TURN = 200

TOPIC_MAX = NAME_MAX + 1
"""Bytes of the longest topic: a name and its zero byte."""

TERMS = Terms(b"XPUB", frozenset((b"SUB", b"XSUB")), 1 + TOPIC_MAX, 64 * 1024)

TOPICS_MAX, TOPICS_ALL_MAX = 1_000, 100_000
"""Topics that are remembered, of one subscriber and of all. Who subscribes to more hears all events; a SUB socket
leaves out what it was not asked for. Each takes 400 bytes, and what is made beside 10,000 of them keeps the memory
that they leave."""

NEW_MAX = 1_000
"""Topics that wait until their open incidents are told. Of who subscribes to more, no more is read until then."""

UNREAD_MAX = 4 * 1024 * 1024
"""Bytes that wait for the subscribers of one process (or user) that do not read; further events are lost to them.
One that has read those that waited is told the open incidents of what it lost events of, as if it had subscribed
anew."""

UNREAD_ALL_MAX = 64 * 1024 * 1024
"""The same of all, and of replies."""

_MORE = 1


class EventSocket:
    """Bound at construction."""

    def __init__(self, connections: Connections, path: str) -> None:
        self._connections = connections
        self._by_topic: dict[bytes, dict[Connection, None]] = {}
        self._topics: dict[Connection, set[bytes]] = {}
        self._count = 0
        """topics, each as often as it is subscribed to"""
        self._greedy: set[Connection] = set()
        """those that hear all events, for they subscribed to too much"""
        self._lengths: Counter[int] = Counter()
        """how many topics have this length"""
        self._new: dict[bytes, None] = {}
        """those that were subscribed to since they were asked for, or that a subscriber lost an event of"""
        self._resting: dict[Connection, None] = {}
        """those that are not read, since too many are new"""
        self._missed: dict[Connection, set[bytes]] = {}
        """topics, to which it subscribed, of the events that are lost to it, until it has read the others"""
        self.door = Door(path, TERMS, handler=self)
        connections.open(self.door)

    @property
    def has_subscribers(self) -> bool:
        """Whether anybody subscribed to any event."""
        return bool(self._by_topic)

    @property
    def has_subscriptions(self) -> bool:
        """Whether there are some that ``subscriptions`` has not told yet, or that it is to have read."""
        return bool(self._new or self._resting)

    def publish(self, topic: bytes, body: bytes) -> None:
        """Tell whoever subscribed; a reader that is too slow loses events, never holds them up."""
        found: dict[Connection, None] = {}
        for length in self._lengths:
            found |= self._by_topic.get(topic[:length], {})
        if not found:
            return
        data = frame(topic, _MORE) + frame(body)
        for connection in found:
            if connection.unsent and (
                self._connections.unsent_of_holder(connection) + len(data) > UNREAD_MAX
                or self._connections.unsent + len(data) > UNREAD_ALL_MAX
            ):
                self._connections.refuse("unread", f"{connection} does not read: an event is lost to it")
                if topic in self._topics[connection]:
                    self._missed.setdefault(connection, set()).add(topic)
            else:
                self._connections.write(connection, data)

    def subscriptions(self) -> list[bytes]:
        """Topics whose state is to be told: those that were subscribed to since the last call, and those that
        ``sent`` has found. A bounded number, repeated ones once."""
        new = list(islice(self._new, SUBSCRIPTIONS_PER_TURN))
        for topic in new:
            del self._new[topic]
        if len(self._new) <= NEW_MAX:
            for connection in self._resting:
                self._connections.read(connection, on=True)
            self._resting.clear()
        return new

    def take(self, connection: Connection, messages: list[bytes]) -> None:
        """Subscriptions have come: 1 or 0, then the topic. Anything else is nothing."""
        for message in messages:
            topic = message[1:]
            if len(topic) > TOPIC_MAX:
                continue
            if message[:1] == b"\1":
                self._subscribe(connection, topic)
            elif message[:1] == b"\0":
                self._cancel(connection, topic)
        if len(self._new) > NEW_MAX:
            self._resting[connection] = None
            self._connections.read(connection, on=False)

    def sent(self, connection: Connection) -> None:
        """It has read all. Of what was lost to it, it has to hear again."""
        for topic in self._missed.pop(connection, ()):
            if topic in self._by_topic:
                self._new[topic] = None

    def gone(self, connection: Connection) -> None:
        """It is closed."""
        self._greedy.discard(connection)
        self._missed.pop(connection, None)
        self._resting.pop(connection, None)
        for topic in list(self._topics.get(connection, ())):
            self._cancel(connection, topic)

    def _subscribe(self, connection: Connection, topic: bytes) -> None:
        topics = self._topics.setdefault(connection, set())
        if topic in topics:
            return
        if connection in self._greedy:
            self._new[topic] = None
            return
        if len(topics) >= TOPICS_MAX or self._count >= TOPICS_ALL_MAX:
            self._connections.refuse(
                "subscriptions",
                f"{connection} hears all events: it subscribes to {len(topics)} topics, and all to {self._count}; "
                f"at most {TOPICS_MAX} and {TOPICS_ALL_MAX} are remembered",
            )
            new = [each for each in self._new if each in topics] + [topic]
            self.gone(connection)
            self._greedy.add(connection)
            self._new.update(dict.fromkeys(new))
            topics, topic = self._topics.setdefault(connection, set()), b""
        topics.add(topic)
        self._count += 1
        if topic not in self._by_topic:
            self._by_topic[topic] = {}
            self._lengths[len(topic)] += 1
        self._by_topic[topic][connection] = None
        self._new[topic] = None

    def _cancel(self, connection: Connection, topic: bytes) -> None:
        topics = self._topics.get(connection, set())
        if topic not in topics:
            return
        topics.remove(topic)
        self._count -= 1
        if not topics:
            del self._topics[connection]
        subscribers = self._by_topic[topic]
        del subscribers[connection]
        if not subscribers:
            del self._by_topic[topic]
            self._new.pop(topic, None)
            self._lengths[len(topic)] -= 1
            if not self._lengths[len(topic)]:
                del self._lengths[len(topic)]
