"""Start programs that do not return.

The start programs of many releases write their own process id into the pid file and become the daemon (`exec`). The monit of BOSH's own
images does not wait for start programs; a newer one waits for their end, and calls those failed that do not end within the timeout. So
the agent lets monit begin each start program through a small script, which ends as soon as the program does, or as soon as the
process in the pid file lives. Source: the releases contract, section 14.
"""

from __future__ import annotations

import re

# What a program says before it fails goes to monit's log. A daemon that goes on writing must neither fill a disk nor fail to write.
LAUNCHER = """#!/bin/sh
# PIDFILE PROGRAM [ARGUMENT ...]
pidfile=$1
shift
before=
{ read -r before _ <"$pidfile"; } 2>/dev/null
folder=$(mktemp -d) && mkfifo "$folder/output" || exit 1
{ head -c 4096 >"$folder/said"; exec cat >/dev/null; } <"$folder/output" >/dev/null 2>&1 &
setsid "$@" >"$folder/output" 2>&1 </dev/null &
program=$!
code=
while [ -z "$code" ]; do
  now=
  { read -r now _ <"$pidfile"; } 2>/dev/null
  if [ -n "$now" ] && { [ "$now" = "$program" ] || [ "$now" != "$before" ]; } && kill -0 "$now" 2>/dev/null; then
    code=0
  elif ! kill -0 "$program" 2>/dev/null; then
    wait "$program"
    code=$?
    [ "$code" = 0 ] || { sleep 0.1; cat "$folder/said"; }
  else
    sleep 0.05
  fi
done
rm -rf "$folder"
exit "$code"
"""

_BLOCK = re.compile(r"^(?=[ \t]*check[ \t])", re.MULTILINE | re.IGNORECASE)
_PROCESS = re.compile(r"[ \t]*check[ \t]+process\s.*?\bpidfile\s+[\"']?([^\s\"']+)", re.DOTALL | re.IGNORECASE)
_START = re.compile(r"^([^#\n]*?\bstart(?:[ \t]+program)?[ \t]*=?[ \t]*[\"'])(?=/)", re.MULTILINE | re.IGNORECASE)


def launched(text: str, launcher: str) -> str:
    """A monit snippet whose start programs of processes with a pid file are begun through `launcher`, a path on the machine."""
    blocks = []
    for block in _BLOCK.split(text):
        process = _PROCESS.match(block)
        if process:
            prefix = "%s %s " % (launcher, process[1])
            block = _START.sub(lambda found, prefix=prefix: found[1] + prefix, block, count=1)
        blocks.append(block)
    return "".join(blocks)
