"""A canary for what shuts others out of a Ray of our own: it listens on 127.0.0.1, and asks for its token."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tune_digits.patches import ray_safe

CLIENT = """
import sys
from ray._raylet import GcsClient
try:
    print("in", len(GcsClient(address=sys.argv[1]).get_all_node_info(timeout=20)))
except BaseException as error:
    print("refused", type(error).__name__, error)
"""
START = """
import json, os, subprocess, sys
import psutil
import ray  # before the token is there: somebody else may have imported it
from tune_digits.config import Resources
from tune_digits.execute.on_ray import start_ray
start_ray(Resources(max_concurrent=2))
assert ray.get(ray.remote(num_cpus=1)(lambda: 7).remote()) == 7
me = psutil.Process()
own = {me.pid, *(p.pid for p in me.children(recursive=True))}
ports = [c.laddr.ip for c in psutil.net_connections("inet") if c.status == "LISTEN" and c.pid in own]
outside = [ip for ip in ports if ip.removeprefix("::ffff:") not in ("127.0.0.1", "::1")]
address = ray.get_runtime_context().gcs_address
bare = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH") and k != "HOME"}
clients = {
    "without": {**bare, "RAY_AUTH_MODE": "disabled", "HOME": "/nowhere"},
    "wrong": {**bare, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64, "HOME": "/nowhere"},
    "right": {**bare, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": os.environ["RAY_AUTH_TOKEN"]},
}
said = {}
for name, environment in clients.items():
    done = subprocess.run([sys.executable, "-c", sys.argv[1], address], env=environment, capture_output=True, text=True)
    said[name] = done.stdout
session = ray._private.worker._global_node.get_session_dir_path()
print(json.dumps({"ports": len(ports), "outside": outside, "said": said, "session": session}))
"""


def started(tmp_path: Path, **environment: str) -> Any:
    kept = {k: v for k, v in os.environ.items() if not k.startswith("RAY_AUTH")}
    done = subprocess.run(
        [sys.executable, "-c", START, CLIENT],
        env={**kept, **environment},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_ray_of_our_own_lets_nobody_in_without_its_token(tmp_path: Path) -> None:
    seen = started(tmp_path)
    assert seen["ports"] >= 4 and seen["outside"] == []
    assert seen["said"]["right"] == "in 1\n"
    assert seen["said"]["without"].startswith("refused ") and seen["said"]["wrong"].startswith("refused ")
    assert "/tune_digits-" in seen["session"]


def test_the_place_of_the_patch_is_there_and_is_left_as_it_was() -> None:
    from ray._private import services

    before = services.resolve_ip_for_localhost
    with ray_safe.on_loopback() as options:
        assert options == {"_node_ip_address": "127.0.0.1"}
        assert services.resolve_ip_for_localhost("127.0.0.1") == "127.0.0.1"
    assert services.resolve_ip_for_localhost is before


def test_without_patches_ray_listens_where_it_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNE_DIGITS_PATCHES", "off")
    with ray_safe.on_loopback() as options:
        assert options == {}


def test_each_session_has_a_token_of_its_own_unless_one_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(
        ray_safe, "_read_environment_again", lambda: read.append(os.environ.get(ray_safe.TOKEN))
    )
    for name in (ray_safe.MODE, ray_safe.TOKEN, ray_safe.TOKEN_FILE):
        monkeypatch.setenv(name, "")  # so that what is set below is taken back
        monkeypatch.delenv(name)
    ray_safe.ask_for_token()
    ray_safe.new_token()
    first = os.environ[ray_safe.TOKEN]
    assert os.environ[ray_safe.MODE] == "token" and len(first) == 64 and read == [None, first]
    monkeypatch.delenv(ray_safe.TOKEN)
    ray_safe.new_token()
    assert os.environ[ray_safe.TOKEN] != first
    monkeypatch.setenv(ray_safe.TOKEN, "given")
    ray_safe.new_token()
    assert os.environ[ray_safe.TOKEN] == "given"
    monkeypatch.delenv(ray_safe.TOKEN)
    monkeypatch.setenv(ray_safe.MODE, "disabled")
    ray_safe.ask_for_token()
    ray_safe.new_token()
    assert os.environ[ray_safe.MODE] == "disabled" and ray_safe.TOKEN not in os.environ
