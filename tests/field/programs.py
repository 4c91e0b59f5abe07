"""The programs, how each is started, and every way in which it ends in order."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial

from field.kit import App, Field, ended, get

Start = Callable[[Field], App]
End = Callable[[Field, App], None]


def signalled(number: int, statuses: tuple[int, ...], field: Field, app: App) -> None:
    """Its main process gets a signal, and ends with one of these statuses."""
    os.kill(app.process.pid, number)
    assert ended(field, app.process) in statuses, field.report()


term = partial(signalled, signal.SIGTERM, (0, -signal.SIGTERM))
interrupted = partial(signalled, signal.SIGINT, (0, -signal.SIGINT))


def asked(field: Field, app: App) -> None:
    """It has an end of its own, for which it waits."""
    (field.place.place / "finish").touch()
    assert app.process.stdin is not None
    app.process.stdin.write(b"\n")
    app.process.stdin.flush()
    assert ended(field, app.process) == 0, field.report()


def replaced(field: Field, app: App, what: str) -> None:
    """Wait until none of the processes that were seen lives, and as many others feed."""
    old = set(app.seen.values())

    def others() -> bool:
        now = field.pids(app.names)
        return len(now) >= app.count and not old & set(now.values())

    field.until(others, what)
    app.seen = field.pids(app.names)


def hup(field: Field, app: App) -> None:
    """Its workers are replaced while it runs on; then it ends."""
    os.kill(app.process.pid, signal.SIGHUP)
    replaced(field, app, "its workers are others")
    term(field, app)


def max_requests(field: Field, app: App) -> None:
    """Its workers end by themselves after a number of requests, and are replaced."""
    old = set(app.seen.values())

    def requested() -> bool:
        get(field)
        return not old & set(field.pids(app.names).values())

    field.until(requested, "its workers are others")
    term(field, app)


def upgraded(field: Field, app: App) -> None:
    """A new main process beside the old one, which then ends: gunicorn's USR2."""
    os.kill(app.process.pid, signal.SIGUSR2)
    second = field.place.place / "web.pid.2"
    field.until(lambda: second.exists() and second.read_text().strip(), "the new main process is there")
    new = int(second.read_text())
    field.until(lambda: len(_below(new)) >= 2 and set(field.pids(app.names).values()) & _below(new), "it works")
    os.kill(app.process.pid, signal.SIGTERM)
    ended(field, app.process)
    field.until(lambda: get(field), "the new one answers")
    os.kill(new, signal.SIGTERM)
    field.until(lambda: not os.path.exists(f"/proc/{new}"), "the new one ends")


def upgrade_taken_back(field: Field, app: App) -> None:
    """The same, but the new one ends again: the old one has its names back and serves on."""
    os.kill(app.process.pid, signal.SIGUSR2)
    second = field.place.place / "web.pid.2"
    field.until(lambda: second.exists() and second.read_text().strip(), "the new main process is there")
    new = int(second.read_text())
    field.until(lambda: len(_below(new)) >= 2 and set(field.pids(app.names).values()) & _below(new), "it works")
    os.kill(new, signal.SIGTERM)
    field.until(lambda: not os.path.exists(f"/proc/{new}"), "the new one ends")

    def back() -> bool:
        get(field)
        return field.pids(app.names) == app.seen

    field.until(back, "the old workers own their names")
    term(field, app)


def _below(pid: int) -> set[int]:
    """The children of a process."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            return set(map(int, file.read().split()))
    except OSError:
        return set()


def uvicorn(app: str, *options: str, count: int = 1) -> Start:
    """One server, or several."""

    def start(field: Field) -> App:
        process = field.start("-m", "uvicorn", f"web:{app}", "--uds", "web.sock", "--no-access-log", *options)
        if app == "without_lifespan":
            field.until(lambda: get(field), "it serves")
        return App(process, "api-*", count)

    return start


def gunicorn(watched: str, **settings: str) -> Start:
    """Two sync workers, each with a watchdog of its own, or one watchdog for both."""

    def start(field: Field) -> App:
        process = field.start(
            "-m", "gunicorn", "-c", "python:gunicorn_conf", "web:wsgi", WATCHED=watched, **settings
        )
        return App(process, "web*", 2 if watched == "each" else 1)

    return start


def pool(kind: str, method: str, names: str, count: int) -> Start:
    """Children of multiprocessing."""
    return lambda field: App(field.start("pools.py", kind, method), names, count)


def rq(field: Field) -> App:
    """A worker that forks a process for each job; its third job runs."""
    process = field.start("rq_jobs.py", field.redis())
    field.until(lambda: len(field.told("job")) == 3, "the third job runs")
    return App(process, "job", 1)


def celery(tasks: int | str, *options: str) -> Start:
    """A worker with two processes of its own, which has done its tasks."""

    def start(field: Field) -> App:
        command = ("-m", "celery", "-A", "celery_jobs", "worker", "-c", "2", "--without-gossip", "--without-mingle")
        process = field.start(*command, *options, REDIS=field.redis(), TASKS=str(tasks))
        field.until(lambda: tasks == "hang" or len(field.told("job")) == tasks, "its tasks are done")
        return App(process, "celery-*", 2)

    return start


def dramatiq(field: Field) -> App:
    """Two processes, whose jobs are done."""
    command = ("-m", "dramatiq", "dramatiq_jobs", "--processes", "2", "--threads", "1")
    process = field.start(*command, REDIS=field.redis())
    field.until(lambda: len(field.told("job")) >= 2, "its jobs are done")
    return App(process, "dramatiq-*", 2)


def huey(field: Field) -> App:
    """Two processes, whose tasks are done."""
    process = field.start("-m", "huey.bin.huey_consumer", "huey_jobs.huey", "-k", "process", "-w", "2")
    field.until(lambda: len(field.told("job")) >= 2, "its tasks are done")
    return App(process, "huey-*", 2)


def apscheduler(kind: str, names: str, count: int) -> Start:
    """A scheduler whose jobs run in threads, or in processes."""
    return lambda field: App(field.start("schedule.py", kind), names, count)


PROGRAMS: dict[str, tuple[Start, dict[str, End]]] = {
    "uvicorn with lifespan": (uvicorn("with_lifespan"), {"TERM": term, "INT": interrupted}),
    "uvicorn without lifespan": (uvicorn("without_lifespan", "--lifespan", "off"), {"TERM": term}),
    "uvicorn, two workers": (uvicorn("with_lifespan", "--workers", "2", count=2), {"TERM": term, "HUP": hup}),
    "gunicorn": (
        gunicorn("each"),
        {"TERM": term, "HUP": hup, "USR2": upgraded, "USR2 taken back": upgrade_taken_back},
    ),
    "gunicorn, max_requests": (gunicorn("each", GUNICORN_MAX_REQUESTS="5"), {"five requests": max_requests}),
    "gunicorn, one name": (gunicorn("any"), {"TERM": term, "HUP": hup}),
    "Pool, fork": (pool("pool", "fork", "ForkPool*", 2), {"exit": asked}),
    "Pool, spawn": (pool("pool", "spawn", "SpawnPool*", 2), {"exit": asked}),
    "Pool, forkserver": (pool("pool", "forkserver", "ForkServerPool*", 2), {"exit": asked}),
    "daemonic Process": (pool("daemon", "fork", "ForkProcess-*", 1), {"exit": asked}),
    "ProcessPoolExecutor, fork": (pool("executor", "fork", "ForkProcess*", 2), {"exit": asked}),
    "ProcessPoolExecutor, spawn": (pool("executor", "spawn", "SpawnProcess*", 2), {"exit": asked}),
    "data loader": (pool("loader", "fork", "loader-*", 2), {"exit": asked}),
    "RQ": (rq, {"exit": asked}),
    "Celery": (celery(2), {"TERM": term}),
    "Celery, max_tasks_per_child": (celery(9, "--max-tasks-per-child", "3"), {"TERM": term}),
    "dramatiq": (dramatiq, {"TERM": term, "HUP": hup}),
    "huey": (huey, {"INT": interrupted, "TERM": term}),
    "APScheduler, threads": (apscheduler("threads", "scheduler", 1), {"TERM": term}),
    "APScheduler, processes": (apscheduler("processes", "job-*", 2), {"TERM": term}),
}
