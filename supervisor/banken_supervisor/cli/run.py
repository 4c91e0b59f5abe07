"""``banken run``: the standalone supervisor."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import TYPE_CHECKING, Any

import click

from banken.address import option_for
from banken_supervisor.cli import exit_codes
from banken_supervisor.cli.group import Failure
from banken_supervisor.cli.options import address_option, allow_empty_option, json_logs_option
from banken_supervisor.cli.web_options import WebOptions, check, web_options

if TYPE_CHECKING:
    from banken_supervisor.cli.web_child import WebChild
    from banken_supervisor.config.models import SupervisorTable
    from banken_supervisor.coordination.settings import UpwardSettings
    from banken_supervisor.runtime.loop import Loop
    from banken_supervisor.runtime.runtime_config import RuntimeConfig
    from banken_supervisor.runtime.upward import Upward


@click.command(short_help="Supervise, in the foreground.")
@address_option
@click.option(
    "-c",
    "--config",
    metavar="FILE",
    help="The config file.  [default: the first that there is of $BANKEN_CONFIG, ./banken.toml, "
    "$XDG_CONFIG_HOME/banken/banken.toml, /etc/banken/banken.toml; none is needed]",
)
@click.option(
    "--journal",
    metavar="FILE",
    help="Where incidents are kept.  [default: journal.db in the address's directory; for /run/banken in "
    "/var/lib/banken, for $XDG_RUNTIME_DIR/banken in $XDG_STATE_HOME/banken, which outlive a reboot]",
)
@click.option(
    "--no-journal", is_flag=True, help="Keep nothing on disk: incidents are forgotten with the supervisor."
)
@click.option(
    "--listen",
    multiple=True,
    metavar="tcp://HOST:PORT",
    help="Let workers of other hosts come in there, too, with keys (`banken keys`); tcp://0.0.0.0:7767 is each "
    "address of this host. PORT is for feeds, the next two for commands and events. May be given several times.",
)
@click.option(
    "--keys",
    metavar="DIR",
    help="Where the keys are.  [default: /etc/banken/keys for root, else $XDG_CONFIG_HOME/banken/keys]",
)
@allow_empty_option
@json_logs_option
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"], case_sensitive=False),
    default="info",
    show_default=True,
    help="The least important lines that are logged.",
)
@click.option(
    "--web",
    metavar="HOST:PORT",
    help="Serve the page there too, by a `banken web` beside it (127.0.0.1:7768). The next five are its options.",
)
@web_options
@click.option(
    "--init", is_flag=True, help="Stop the programs, in their order, before it ends.  [default: as pid 1 only]"
)
def command(
    address: str | None,
    config: str | None,
    journal: str | None,
    no_journal: bool,
    listen: tuple[str, ...],
    keys: str | None,
    allow_empty: bool,
    json_logs: bool,
    log_level: str,
    web: str | None,
    init: bool,
    **for_web: Any,
) -> None:
    """Supervise, in the foreground, until SIGTERM or Ctrl-C.

    Those end it in order, within five seconds even when callbacks hang, with exit code 0; a second one, 0.2 s
    later or more, ends it at once. SIGHUP, or `banken reload`, reads the config file again; a bad or an empty one
    is reported, and the old one stays in force. Other signals that would end it, such as SIGUSR1, are only logged.
    Without a terminal it does not start with an empty config file (exit code 2).

    Programs run on when the supervisor ends, and the next one adopts them; as pid 1 of a container, or with --init,
    it stops them first, in their order, for nothing adopts them there. Orphans that come to it are collected. The
    log goes to stderr; it does not matter if nobody reads it. One supervisor per address: a second one exits with 5
    and says who holds it.
    """
    import zmq

    from banken.address import resolve
    from banken.errors import BankenError
    from banken_supervisor.cli import logs, process
    from banken_supervisor.config.finding import find
    from banken_supervisor.operator_client.state_directory import make_state_directory
    from banken_supervisor.runtime.supervisor import Supervisor

    if journal is not None and no_journal:
        raise click.UsageError(
            "--journal says where to keep incidents, --no-journal to keep none: give one of them"
        )
    for_page = None if web is None else WebOptions(web, **for_web)
    if for_page is not None:
        check(for_page)  # now, for the web process would be started again and again
    elif (given := next((name for name, value in for_web.items() if value), None)) is not None:
        raise click.UsageError(f"--{given.replace('_', '-')} is for the page: it needs --web HOST:PORT")
    process.hold_standard_descriptors()
    manager, no_manager = process.service_manager()  # first: nothing that is started may speak to it
    log_settings: dict[str, Any] = {"level": log_level, "as_json": json_logs}
    path = find(config)
    setup = None if path is None else _load(path, log_settings)
    if setup is not None and not allow_empty and not process.at_terminal():
        setup.config.refuse_empty()
    settings = None if setup is None else setup.config.settings
    if settings is not None:
        address = address or os.environ.get("BANKEN_ADDRESS") or settings.address
        listen = listen or tuple(settings.listen)
        if keys is None and settings.keys is not None and not listen:
            from banken_supervisor.keys.needed_keys import KEYS_ALONE

            raise Failure(f"{path}: supervisor.keys: {KEYS_ALONE}", exit_codes.USAGE)
        journal, keys = journal or settings.journal, keys or settings.keys
    if keys is not None and not listen:
        raise click.UsageError("--keys is for workers of other hosts: it needs --listen tcp://HOST:PORT")

    class Announced(Supervisor):
        """Says where it listens once it does."""

        standalone = True

        _upward: Upward | None = None

        def _opened(self) -> None:
            if feeds is not None:
                self._upward = self._begin_upward(feeds)
            line = _settings_line(config, path, settings, self.address.text, journal, web)
            _announce(self.address.text, listen, line)
            if beside is not None:
                beside.start()

        def _begin_upward(self, settings: UpwardSettings) -> Upward:
            from banken_supervisor.observability.guard import Place
            from banken_supervisor.runtime.upward import Upward, counts_of

            loop = self._loop
            assert loop is not None
            made = Upward(
                settings, lambda: counts_of(loop.driver, loop.metrics.turns), self._mailbox.post, loop.publish,
                loop.fault_elsewhere(Place.UPWARD),
            )  # fmt: skip
            loop.upward = made.state
            made.start()
            return made

        def _shut_down(self, loop: Loop) -> None:
            if self._upward is not None:
                self._upward.close(min(1.0, 0.3 * self._stop_limit()))
            super()._shut_down(loop)

        def warn(self, text: str) -> None:
            """Log it, from a signal handler."""
            self._mailbox.post(lambda: self._log_queue.line(logging.WARNING, text, {}))

    process.prepare()
    logs.to_stderr(**log_settings)
    if not no_journal and journal is None:
        state = make_state_directory(resolve(address))
        journal = None if state is None else os.path.join(state, "journal.db")
    journal = None if no_journal else journal
    more: dict[str, Any] = {} if settings is None else {
        "defaults": settings.for_undeclared,
        "callback_limit": settings.callback_limit,
        "callback_threads": settings.callback_threads,
        "cluster": None if setup is None else setup.config.cluster,
    }  # fmt: skip
    feeds = None if setup is None else setup.config.upward
    beside = None if for_page is None else _web_child(for_page, resolve(address).text, json_logs=json_logs)
    supervisor = Announced(address, journal=journal, listen=listen, keys=keys, **more)
    process.disregard_signals(supervisor.warn)
    supervisor.service_manager = manager
    if no_manager:
        supervisor.warn(no_manager)
    if setup is not None and setup.config.cluster is not None:
        from banken_supervisor.config import certificates

        for key, why in certificates.faults(setup.config.cluster):
            supervisor.warn(f"[cluster] {key}: {why}")
    supervisor.ends_programs = init or os.getpid() == 1
    if setup is not None:
        first = [setup]
        supervisor.configure(lambda: first.pop() if first else _load(setup.config.source, log_settings))
    try:
        supervisor.run()
    except (OSError, zmq.ZMQError, RuntimeError) as fault:  # RuntimeError: the system gives no threads
        if supervisor._loop is not None or isinstance(fault, BankenError):
            raise  # it ran: this is no matter of the address; or it says itself what is wrong
        from banken_supervisor.runtime.listen_addresses import listen_fault

        where = " or ".join((supervisor.address.text, *listen))
        raise Failure(
            f"cannot listen at {where}: {listen_fault(fault, listen)}", exit_codes.ADDRESS_REFUSED
        ) from None
    finally:
        if beside is not None:
            beside.stop()


def _web_child(options: WebOptions, address: str, *, json_logs: bool) -> WebChild:
    """The web process, not started yet."""
    from banken_supervisor.cli.web_child import WebChild

    more = ["--json-logs"] if json_logs else []
    return WebChild(["--address", address, *options.arguments(), *more])


def _load(path: str | os.PathLike[str], log_settings: dict[str, Any]) -> RuntimeConfig:
    """The config file, read; ConfigFaults lists all that is wrong with it. Callbacks log as the supervisor does."""
    from banken_supervisor.cli import logs
    from banken_supervisor.config import load
    from banken_supervisor.runtime.runtime_config import RuntimeConfig

    return RuntimeConfig(load(path), (f"{logs.__name__}:{logs.to_stderr.__name__}", log_settings))


def _announce(address: str, listen: tuple[str, ...], settings: str) -> None:
    """One line on stdout, past its buffer: if nobody takes it, nothing remains to be complained about."""
    text = (
        f"banken supervises at {' and '.join((address, *listen))} (pid {os.getpid()}); {settings}. "
        f"Feed it with: banken feed NAME --timeout 30s{option_for(address)}\n"
    )
    with contextlib.suppress(OSError):
        os.write(1, text.encode("utf-8", "backslashreplace"))


def _settings_line(
    given: str | None,
    path: os.PathLike[str] | None,
    settings: SupervisorTable | None,
    address: str,
    journal: str | os.PathLike[str] | None,
    web: str | None,
) -> str:
    """What is in force, and where it comes from."""
    from banken.address import resolve

    config = "config none" if path is None else f"config {os.path.abspath(path)}"
    if path is not None and given is None and not os.environ.get("BANKEN_CONFIG"):
        config += f" ({os.path.join('.', path) if not os.path.isabs(path) else 'a usual place'} was taken)"
    other = None if settings is None or settings.address is None else resolve(settings.address).text
    if other not in (None, address):
        config += f", but not its address {other}: --address or $BANKEN_ADDRESS says another one"
    page = "no page" if web is None else f"page http://{web}"
    return f"{config}; journal {journal or 'none'}; {page}"
