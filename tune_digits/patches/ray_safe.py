"""A Ray of our own that nobody else can reach: it listens on 127.0.0.1 alone, and asks for a token.

Whoever reaches one of Ray's ports, and has its token, runs code as the user who started it. Ray listens on all
addresses of the machine, and where it is told to listen on 127.0.0.1 it takes the machine's own address for it. Its
token for local clusters lies in a file that other users of the machine may be able to read; ours is a new one in each
session, in the environment of its processes alone.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any

from tune_digits.patches import enabled

LOOPBACK = "127.0.0.1"
MODE, TOKEN, TOKEN_FILE = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"


@contextlib.contextmanager
def on_loopback() -> Iterator[dict[str, Any]]:
    """Options of `ray.init`, within the block, with which a new Ray listens on 127.0.0.1 alone."""
    services = _services() if enabled() else None
    if services is None:
        yield {}
        return
    resolve = services.resolve_ip_for_localhost
    services.resolve_ip_for_localhost = lambda host: host
    try:
        yield {"_node_ip_address": LOOPBACK}
    finally:
        services.resolve_ip_for_localhost = resolve


def _services() -> Any:
    """Ray's module with `resolve_ip_for_localhost`, None where this Ray has it elsewhere."""
    with contextlib.suppress(ImportError):
        from ray._private import services

        return services if hasattr(services, "resolve_ip_for_localhost") else None
    return None


def ask_for_token() -> None:
    """Before a Ray is started or joined: without a token nobody gets in, unless RAY_AUTH_MODE says otherwise."""
    os.environ.setdefault(MODE, "token")
    _read_environment_again()


def new_token() -> None:
    """Before a Ray of our own is started: a token of its own, unless the environment has one."""
    if (
        os.environ.get(MODE, "").lower() == "token"
        and TOKEN not in os.environ
        and TOKEN_FILE not in os.environ
    ):
        os.environ[TOKEN] = secrets.token_hex(32)
    _read_environment_again()


def _read_environment_again() -> None:
    """Ray reads mode and token when it is imported, which somebody may have done before."""
    with contextlib.suppress(ImportError):
        from ray._private.authentication import authentication_token_setup as setup

        setup.Config.initialize("")  # type: ignore[attr-defined]  # Ray imports both there from its compiled part
        setup.AuthenticationTokenLoader.instance().reset_cache()  # type: ignore[attr-defined]
