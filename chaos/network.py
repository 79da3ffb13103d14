"""What a worker reaches the server by, and how that is disturbed: a proxy, or a host of its own with a real network.

Hosts are network namespaces without names: the kernel takes each down, with its links, when the last process in it has
ended, however that ended. Nothing is made in the network of the machine itself.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from chaos.plan import Kind
from chaos.proxy import Mode, Proxy
from pgsched.embedded.home import PORT

if TYPE_CHECKING:
    from chaos.server import Server

ADDRESS = "10.0.0.1"
SUBNET = "10.0.0.0/24"
"""Of the server's host, which nobody else can reach."""

BRIDGE = (
    "ip link add br0 type bridge",
    f"ip address add {ADDRESS}/24 dev br0",
    "ip link set br0 up",
)

MODES = {Kind.CUT: Mode.REFUSE, Kind.SWALLOW: Mode.SWALLOW, Kind.DELAY: Mode.DELAY}

SLOW = (
    "netem delay 100ms 20ms loss 2%",
    "tbf rate 200kbit burst 1600 latency 1s",
)
"""Late and lossy; or a narrow line, where the kernel has no netem."""

CLONE_NEWNET = 0x40000000


class Line(Protocol):
    """From one worker to the server."""

    address: str
    port: int

    def command(self, command: list[str]) -> list[str]:
        """How to run this at the worker's end."""

    def disturb(self, kind: Kind) -> None: ...

    def restore(self) -> None: ...

    def close(self) -> None: ...


class ProxyLine:
    """Through a proxy on the loopback."""

    address = "127.0.0.1"

    def __init__(self, server: Server) -> None:
        self._proxy = Proxy(server.socket)
        self._kind = Kind.DELAY
        self.port = self._proxy.port

    def command(self, command: list[str]) -> list[str]:
        return command

    def disturb(self, kind: Kind) -> None:
        self._kind = kind
        self._proxy.set(MODES[kind], delay_s=0.1)
        if kind is Kind.CUT:
            self._proxy.cut()

    def restore(self) -> None:
        if self._kind is Kind.SWALLOW:
            self._proxy.cut()
        self._proxy.set(Mode.FORWARD)

    def close(self) -> None:
        self._proxy.close()


LINK_UP_TRIES = 50
LINK_UP_TRY_S = 0.1


class HostLine:
    """From a host of the worker's own, by a cable to the switch in the server's host, which we are in."""

    address = ADDRESS
    port = PORT

    def __init__(self, number: int) -> None:
        # Ends when we do, however that comes: then nobody holds its standard input any more.
        self._holder = subprocess.Popen(
            ["cat"],
            stdin=subprocess.PIPE,
            start_new_session=True,
            preexec_fn=_unshare_network,  # noqa: PLW1509 no thread of ours holds a lock that this needs
        )
        self._plug = f"v{number}"
        _do(f"ip link add {self._plug} type veth peer name eth0 netns {self._holder.pid}")
        _do(f"ip link set {self._plug} master br0 up")
        self._do("ip link set lo up")
        self._do(f"ip address add 10.0.0.{number + 2}/24 dev eth0")
        self._do("ip link set eth0 up")

    def command(self, command: list[str]) -> list[str]:
        return ["nsenter", f"--net=/proc/{self._holder.pid}/ns/net", *command]

    def disturb(self, kind: Kind) -> None:
        """Cut: it has no network, and knows. Silent: the switch drops what comes and goes, connections stay open."""
        if kind is Kind.CUT:
            self._do("ip link set eth0 down")
        elif kind is Kind.SWALLOW:
            _do(f"bridge link set dev {self._plug} state 0")
        else:
            self._slow_down()

    def restore(self) -> None:
        self._do("ip link set eth0 up")
        _patiently(f"bridge link set dev {self._plug} state 3")  # refused until the link is up
        with suppress(OSError):  # there is none unless it was slow
            self._do("tc qdisc del dev eth0 root")
            _do(f"tc qdisc del dev {self._plug} root")

    def close(self) -> None:
        assert self._holder.stdin is not None
        self._holder.stdin.close()
        self._holder.wait(timeout=10)

    def _slow_down(self) -> None:
        try:
            self._discipline(SLOW[0])
        except OSError:
            self._discipline(SLOW[1])

    def _discipline(self, how: str) -> None:
        """In both directions."""
        self._do(f"tc qdisc add dev eth0 root {how}")
        _do(f"tc qdisc add dev {self._plug} root {how}")

    def _do(self, command: str) -> None:
        _run(self.command(command.split()))


def enter_server_host() -> None:
    """Move this process, and all that it will start, into a host of its own with a switch. Raises: OSError."""
    # First where it harms nobody: by halves we would be in neither network.
    trial = " && ".join((*BRIDGE, "ip link add v0 type veth peer name eth0"))
    _run(["unshare", "--net", "sh", "-c", trial])
    _unshare_network()
    for command in BRIDGE:
        _do(command)


def _unshare_network() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _do(command: str) -> None:
    _run(command.split())


def _patiently(command: str) -> None:
    for _ in range(LINK_UP_TRIES):
        with suppress(OSError):
            return _do(command)
        time.sleep(LINK_UP_TRY_S)
    return _do(command)


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        complaint = done.stderr.strip() or f"{' '.join(command)}: exit status {done.returncode}"
        raise OSError(complaint.splitlines()[-1])
