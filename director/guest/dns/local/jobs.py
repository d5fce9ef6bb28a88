"""Jobs' own health scripts (`bin/dns/healthy`), each in a process group of its own, one at a time; and the groups that jobs speak for.

Source: DNS contract, section 4.3. Deviation: jobs are looked up again each time, since a deploy brings others while the resolver runs.
"""

from __future__ import annotations

import contextlib
import glob
import json
import os
import signal
import subprocess
from typing import Callable, Dict, List, Optional

Run = Callable[[str], "subprocess.Popen[bytes]"]


def start(path: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [path], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)


class Script:
    """One job's script. `verdict` None before the first run ended."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.verdict: Optional[bool] = None
        self._process: Optional["subprocess.Popen[bytes]"] = None
        self._began = 0.0
        self._next = 0.0

    def attend(self, now: float, interval: float, patience: float, run: Run) -> None:
        """Ends one that is over or takes too long, and begins one whose time has come."""
        process = self._process
        if process is not None:
            code = process.poll()
            if code is None and now - self._began < patience:
                return
            if code is None:
                self.kill()
            self.verdict = code == 0
            self._process = None
        if now >= self._next:
            self._next = now + interval
            try:
                self._process, self._began = run(self.path), now
            except OSError:
                self.verdict = False

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):  # It may have ended by itself just now.
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


class Jobs:
    """The jobs below one folder. `failing` and `groups` tell what their scripts said last."""

    def __init__(self, folder: str, interval: float, patience: float, run: Run = start) -> None:
        self._folder = folder
        self._interval = interval
        self._patience = patience
        self._run = run
        self._scripts: Dict[str, Script] = {}
        self._groups: Dict[str, List[int]] = {}

    def look(self) -> None:
        """Which jobs there are now."""
        folders = {os.path.basename(path): path for path in sorted(glob.glob(os.path.join(self._folder, "*")))}
        for name in [name for name in self._scripts if name not in folders]:
            self._scripts.pop(name).kill()
        self._groups = {}
        for name, path in folders.items():
            script = os.path.join(path, "bin/dns/healthy")
            if os.path.exists(script):
                if name not in self._scripts:
                    self._scripts[name] = Script(script)
            elif name in self._scripts:
                self._scripts.pop(name).kill()
            self._groups[name] = _groups(os.path.join(path, ".bosh/links.json"))

    def attend(self, now: float) -> None:
        for script in self._scripts.values():
            script.attend(now, self._interval, self._patience, self._run)

    def close(self) -> None:
        for script in self._scripts.values():
            script.kill()

    @property
    def failing(self) -> bool:
        """Whether any script says so, or has not said anything yet."""
        return any(not script.verdict for script in self._scripts.values())

    @property
    def groups(self) -> Dict[str, bool]:
        """By group id: the verdict of the scripts of the jobs that speak for it; a group without any script is not named."""
        told: Dict[str, bool] = {}
        for name, numbers in self._groups.items():
            script = self._scripts.get(name)
            if script is not None:
                for number in numbers:
                    told[str(number)] = bool(script.verdict) and told.get(str(number), True)
        return told


def _groups(path: str) -> List[int]:
    try:
        with open(path, encoding="utf-8") as file:
            tree = json.load(file)
        return [int(entry["group"]) for entry in tree]
    except (OSError, ValueError, KeyError, TypeError):
        return []
