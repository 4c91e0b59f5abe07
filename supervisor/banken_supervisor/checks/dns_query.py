"""One question to the DNS, by dnspython."""

from __future__ import annotations

import contextlib

from dns import asyncresolver, exception, resolver

from banken_supervisor.checks.tcp import Endpoint


async def ask(name: str, kind: str, server: Endpoint | None, limit: float) -> tuple[str | None, list[str]]:
    """What is wrong, or None and the records as dig shows them, texts without quotes. TimeoutError."""
    try:
        asker = asyncresolver.Resolver(configure=server is None)
        if server is not None:
            asker.nameservers, asker.port = [server.host], server.port
        asker.lifetime = limit
        asker.timeout = max(limit / 3, 0.1)
        answer = await asker.resolve(name, kind, search=False)
    except resolver.NXDOMAIN:
        return f"{name} does not exist", []
    except resolver.NoAnswer:
        return f"{name} has no record of type {kind}", []
    except resolver.NoNameservers as fault:
        return f"no server gave a good answer: {_said(fault)}", []
    except resolver.LifetimeTimeout:
        raise TimeoutError from None
    except exception.DNSException as fault:
        return f"the answer is no good: {type(fault).__name__}: {fault}", []
    return None, sorted(_shown(each.to_text()) for each in answer)


def _said(fault: resolver.NoNameservers) -> str:
    """What each server did."""
    words = []
    for error in fault.kwargs.get("errors", ()):
        with contextlib.suppress(Exception):
            words.append(f"{error[0]}: {error[3]}")
    return "; ".join(words) or str(fault)


def _shown(record: str) -> str:
    return record[1:-1] if record.startswith('"') and record.endswith('"') and record.count('"') == 2 else record
