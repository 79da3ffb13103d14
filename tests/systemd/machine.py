"""The units under a real systemd: a worker is installed in a virtual machine as the how-to says, and treated badly.

`python -m tests.systemd.machine`, as root on an amd64 Linux with qemu, debootstrap and e2fsprogs: prints a line a check
and exits with 0 or 1, or with 77 where it can't run. Debian and its packages are fetched once, to .cache/systemd.
What is checked is in `inside.py`, which runs in the machine. No systemd ever runs outside of it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).parent
CACHE = ROOT / ".cache/systemd"

SKIPPED = 77
SET_UP_S = 1200
RUN_S = 2400
"""Without KVM, on two busy cores, a run takes 12 minutes, most of them spent on starting Python."""

UP = "the machine is up"


class Accelerator(NamedTuple):
    """What runs the machine's instructions, and how long it may take to boot."""

    name: str
    options: str
    boot_s: float


ACCELERATORS = (
    # Some hypervisors do not let their guests pass on this one feature.
    Accelerator("kvm", "-accel kvm -cpu host,-arch-capabilities", 40),
    Accelerator("tcg", "-accel tcg,thread=multi -cpu max", 180),
)

SUITE = "bookworm"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
FIRST = "systemd systemd-sysv dbus udev kmod procps linux-image-cloud-amd64 initramfs-tools ca-certificates"
THEN = "python3 python3-venv sudo postgresql libnss-systemd"

GUEST = """\
[Unit]
Description=What is to be checked
After=dbus.service
SuccessAction=poweroff-force
FailureAction=poweroff-force
[Service]
ExecStartPre=/bin/mount -o ro /dev/vdb /mnt
ExecStart=/usr/bin/python3 -u /mnt/inside.py
StandardOutput=file:/dev/ttyS1
StandardError=inherit
[Install]
WantedBy=multi-user.target
"""

FILES = {
    # Nothing is started while Debian is put together: it would run on this machine, not in that one.
    "usr/sbin/policy-rc.d": "#!/bin/sh\nexit 101\n",
    "etc/postgresql-common/createcluster.conf": "create_main_cluster = false\n",
    "etc/apt/apt.conf.d/few": 'APT::Install-Recommends "false";\n',
    "etc/hosts": "127.0.0.1 localhost machine db.internal\n",
    "etc/hostname": "machine\n",
    # What the how-to gets from the internet is this checkout and what it needs.
    "etc/pip.conf": "[global]\nno-index = true\nfind-links = /mnt/wheels\n",
    "etc/systemd/system/checks.service": GUEST,
}


class System(NamedTuple):
    """What a machine boots from."""

    disk: Path
    kernel: Path
    initrd: Path


def main() -> int:
    if lacking := _lacking():
        print(f"skipped: this needs {lacking}")
        return SKIPPED
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by a signal"))
    try:
        CACHE.mkdir(parents=True, exist_ok=True)
        system = _system()
        with TemporaryDirectory(dir=CACHE) as folder:
            return _run(system, _payload(Path(folder)), Path(folder) / "console")
    except subprocess.SubprocessError as error:
        print(f"could not be set up: {error}")
        return 1


def _lacking() -> str:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        return "Linux on amd64"
    if os.geteuid():
        return "root, to put a Debian together"
    programs = ("qemu-system-x86_64", "debootstrap", "mkfs.ext4", "unshare", "setpriv", "chroot")
    return ", ".join(program for program in programs if not shutil.which(program))


def _system() -> System:
    """Debian with Postgres, made once: made anew when anything that goes into it is changed."""
    recipe = repr((SUITE, FIRST, THEN, FILES)).encode()
    home = CACHE / f"{SUITE}-{hashlib.sha256(recipe).hexdigest()[:12]}"
    if not home.exists():
        with TemporaryDirectory(dir=CACHE) as folder:
            building, root = Path(folder) / "home", Path(folder) / "root"
            building.mkdir()
            _put_together(root)
            for name, pattern in (("kernel", "vmlinuz-*"), ("initrd", "initrd.img-*")):
                [found] = (root / "boot").glob(pattern)
                shutil.copy(found, building / name)
            _make_disk(building / "disk", root, "3G")
            building.rename(home)
    return System(home / "disk", home / "kernel", home / "initrd")


def _put_together(root: Path) -> None:
    print("putting Debian together, which takes some minutes", flush=True)
    include = f"--include={FIRST.replace(' ', ',')}"
    _do("debootstrap", "--variant=minbase", include, SUITE, str(root), MIRROR)
    for name, text in FILES.items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(0o755 if text.startswith("#!") else 0o644)
    _do("chroot", str(root), "apt-get", "--yes", "--quiet", "install", *THEN.split())
    (root / "usr/sbin/policy-rc.d").unlink()
    wanted = root / "etc/systemd/system/multi-user.target.wants/checks.service"
    wanted.symlink_to("/etc/systemd/system/checks.service")


def _payload(folder: Path) -> Path:
    """A disk with this checkout, and what is to be done with it."""
    payload = folder / "payload"
    wheels = payload / "wheels"
    _do(sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(wheels))
    [wheel] = wheels.glob("*.whl")
    pip = (sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(wheels))
    _do(*pip, "--only-binary", ":all:", "--python-version", "3.11", str(wheel))
    shutil.copytree(ROOT / "systemd", payload / "systemd")
    for file in (HERE / "inside.py", HERE / "probes.py", ROOT / "docs/how-to/deploy-systemd.md"):
        shutil.copy(file, payload)
    _make_disk(folder / "payload.ext4", payload, "256M")
    return folder / "payload.ext4"


def _make_disk(file: Path, content: Path, size: str) -> None:
    _do("mkfs.ext4", "-q", "-d", str(content), str(file), size)


def _do(*command: str) -> None:
    """Its mounts go with it; what it says is only told when it fails."""
    with _running("unshare", "--mount", *command) as process:
        said, _ = process.communicate(timeout=SET_UP_S)
    if process.returncode:
        print("\n".join(said.splitlines()[-20:]))
        raise subprocess.CalledProcessError(process.returncode, command)


def _run(system: System, payload: Path, console: Path) -> int:
    """Where KVM is there but of no use (within another machine), the processor is emulated."""
    verdict = ""
    for accelerator in ACCELERATORS:
        if not verdict and (accelerator.name != "kvm" or os.access("/dev/kvm", os.R_OK | os.W_OK)):
            print(f"booting, with {accelerator.name}", flush=True)
            verdict = _heard(accelerator, _command(accelerator, system, payload, console))
    if verdict.startswith("all "):
        return 0
    if not verdict.startswith("failed: "):
        print("\n".join(console.read_text(errors="replace").splitlines()[-40:]))
        print("failed: the machine did not boot, or did not come to an end in time")
    return 1


def _heard(accelerator: Accelerator, command: list[str]) -> str:
    """Passes on what the machine says; answers its last line, nothing where it was not up in time."""
    last = ""
    with _running("setpriv", "--pdeathsig", "KILL", *command) as process, ExitStack() as limits:
        limits.callback(_limit(process, accelerator.boot_s).cancel)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(UP):
                limits.close()
                limits.callback(_limit(process, RUN_S).cancel)
            elif not last:
                continue  # of qemu
            last = line.rstrip()
            print(last, flush=True)
    return last


def _limit(process: subprocess.Popen[str], seconds: float) -> threading.Timer:
    limit = threading.Timer(seconds, _end, (process,))
    limit.start()
    return limit


def _command(accelerator: Accelerator, system: System, payload: Path, console: Path) -> list[str]:
    """The disk of the system stays as it was made."""
    return [
        *f"qemu-system-x86_64 {accelerator.options} -smp 2 -m 1500 -no-reboot -nic none".split(),
        *("-display", "none", "-monitor", "none"),
        *("-serial", f"file:{console}", "-serial", "stdio"),
        *("-drive", f"file={system.disk},format=raw,if=virtio,snapshot=on"),
        *("-drive", f"file={payload},format=raw,if=virtio,readonly=on"),
        *("-kernel", str(system.kernel), "-initrd", str(system.initrd)),
        *("-append", "root=/dev/vda rw console=ttyS0 quiet"),
    ]


@contextmanager
def _running(*command: str) -> Iterator[subprocess.Popen[str]]:
    """A process that is gone afterwards, with all that it has started."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        yield process
    finally:
        _end(process)


def _end(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


if __name__ == "__main__":
    sys.exit(main())
