"""The faults of a host's network are real ones, and a clock that is made wrong is wrong: what chaos stands on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chaos.clock import WrongClock

ROOT = Path(__file__).parents[2]

ON_HOSTS = """
import socket, subprocess, sys, threading
from chaos.network import ADDRESS, HostLine, enter_server_host
from chaos.plan import Kind

try:
    enter_server_host()
except OSError as error:
    sys.exit(f"no hosts: {error}")

def echo(connection):
    while data := connection.recv(65536):
        connection.sendall(data)

def serve(listening):
    while True:
        threading.Thread(target=echo, args=[listening.accept()[0]], daemon=True).start()

listening = socket.create_server((ADDRESS, 0))
threading.Thread(target=serve, args=[listening], daemon=True).start()
line = HostLine(0)
command = [sys.executable, "-c", sys.argv[1], ADDRESS, str(listening.getsockname()[1])]
client = subprocess.Popen(line.command(command), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

def ask(*words):
    for word in words:
        print(word, file=client.stdin, flush=True)
        print(word, client.stdout.readline().strip(), flush=True)

ask("connect", "say", "hear")
for kind in Kind.SWALLOW, Kind.CUT:
    line.disturb(kind)
    print(kind.name, flush=True)
    ask("say", "hear", "connect")
    line.restore()
    print("restored", flush=True)
    ask("listen", "connect", "say", "hear")
line.disturb(Kind.DELAY)
print("DELAY", flush=True)
ask("race")
line.restore()
ask("race")
client.stdin.close()
client.wait()
line.close()
"""

CLIENT = """
import socket, sys, time
where, line = (sys.argv[1], int(sys.argv[2])), None

def connect():
    global line
    fresh = socket.create_connection(where, timeout=0.3)
    line = fresh

def say():
    line.sendall(b"hello")

def hear(timeout_s=0.3):
    line.settimeout(timeout_s)
    return line.recv(65536).decode()

def listen():
    return hear(5)

def race():
    since = time.monotonic()
    line.settimeout(5)
    line.sendall(bytes(10_000))
    left = 10_000
    while left:
        left -= len(line.recv(65536))
    return "slow" if time.monotonic() - since > 0.15 else "fast"

for word in sys.stdin:
    try:
        answer = globals()[word.strip()]() or "done"
    except OSError as error:
        answer = error.strerror or str(error)
    print(answer, flush=True)
"""

WELL = ["connect done", "say done", "hear hello"]


def test_a_host_is_cut_off_silenced_and_slowed_down() -> None:
    """Silence leaves the connection open: what was said into it arrives afterwards."""
    done = subprocess.run(
        [sys.executable, "-c", ON_HOSTS, CLIENT],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.stderr.startswith("no hosts: "):
        pytest.skip(done.stderr.strip())
    assert done.stdout.splitlines() == [
        *WELL,
        "SWALLOW",
        *["say done", "hear timed out", "connect timed out"],
        "restored",
        *["listen hello", *WELL],
        "CUT",
        *["say done", "hear timed out", "connect Network is unreachable"],
        "restored",
        *["listen hello", *WELL],
        "DELAY",
        *["race slow", "race fast"],
    ], done.stderr


def test_a_clock_is_an_hour_ahead_and_jumps_while_time_goes_by_as_ever(tmp_path: Path) -> None:
    try:
        clock = WrongClock(tmp_path)
    except OSError as error:
        pytest.skip(f"no wrong clock: {error}")
    code = (
        "import sys, time\n"
        "for _ in sys.stdin:\n"
        "    time.sleep(0.1)\n"
        "    print(time.time(), time.monotonic(), flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env={**os.environ, **clock.environment},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def off() -> tuple[int, int]:
            assert process.stdin
            assert process.stdout
            before = time.time(), time.monotonic()
            print(file=process.stdin, flush=True)
            wall, monotonic = map(float, process.stdout.readline().split())
            return round((wall - before[0]) / 60), round((monotonic - before[1]) / 60)

        assert off() == (60, 0)
        clock.jump(0.25)
        assert off() == (-60, 0)
        assert process.stdin
        process.stdin.close()
