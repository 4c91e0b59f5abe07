"""``banken demo``: one supervisor, four workers, and what becomes of them."""

from __future__ import annotations

import click


@click.command(short_help="See it work: a supervisor and four workers, in ten seconds.")
@click.option(
    "--seconds",
    type=click.IntRange(5, 600),
    default=10,
    show_default=True,
    metavar="N",
    help="How long the workers work.",
)
def command(seconds: int) -> int:
    """Start a supervisor and four workers, each a process of its own: one is steady, one hangs, one is killed,
    one recovers. Show live what the supervisor notices and how late, and at the end what was measured.

    Exit code 0 only if the hang, the kill and the recovery were noticed and nobody was accused who had fed. It
    leaves no process and no file behind, after Ctrl-C neither.
    """
    from banken_supervisor.cli.demo_play import Demo

    return Demo(seconds).run()
