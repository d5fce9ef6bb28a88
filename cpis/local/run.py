"""Commands of this computer, run with clear errors."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from cpis.contract import CpiError, Denied, Unavailable

# Command -> Debian package, for the sentence that says what to install.
PACKAGES: Mapping[str, str] = {
    "ip": "iproute2",
    "iptables": "iptables",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "mount": "mount",
    "nft": "nftables",
    "setsid": "util-linux",
    "systemd-nspawn": "systemd-container",
    "systemd-run": "systemd",
    "unshare": "util-linux",
}
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CommandFailed(CpiError):
    """A command of this computer ended badly. `output` is what it said."""

    def __init__(self, args: Sequence[str], code: int, output: str) -> None:
        self.output = output
        said = output.strip().splitlines()
        super().__init__(f"`{' '.join(args)}` ended with {code}: {' / '.join(said[-3:]) or 'it said nothing'}")


def environment() -> dict[str, str]:
    """The caller's environment with the system folders on PATH (a service's PATH often lacks sbin) and messages in English."""
    return {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{_PATH}".strip(":"), "LC_ALL": "C.UTF-8"}


def run(args: Sequence[str], *, stdin: str = "", timeout: float = 60.0) -> str:
    """Standard output of a command. Raises CommandFailed, or Unavailable when it is missing or takes too long."""
    try:
        done = subprocess.run(
            list(args), input=stdin, capture_output=True, text=True, timeout=timeout, env=environment(), check=False, errors="replace",
        )
    except FileNotFoundError as error:
        raise missing(args[0]) from error
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"`{' '.join(args)}` did not end within {timeout:.0f} s") from error
    if done.returncode:
        raise CommandFailed(args, done.returncode, done.stderr or done.stdout)
    return done.stdout


def missing(command: str) -> CpiError:
    """The error for a command that is not installed."""
    package = PACKAGES.get(command, command)
    return Unavailable(f"the command '{command}' is not installed", suggestion=f"apt-get install {package}")


def need(*commands: str) -> None:
    """Raise for all missing commands at once."""
    absent = [name for name in commands if not shutil.which(name, path=environment()["PATH"])]
    if absent:
        packages = sorted({PACKAGES.get(name, name) for name in absent})
        raise Unavailable(f"missing on this computer: {', '.join(absent)}", suggestion=f"apt-get install {' '.join(packages)}")


def need_root() -> None:
    """Raise Denied unless this process is root."""
    if os.geteuid() != 0:
        raise Denied("machines on this computer need root", suggestion="start the director as root or with sudo")
