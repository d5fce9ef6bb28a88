"""The agent: what the director asks a machine to do, done on the machine. Standard library only, Python 3.8 and later.

It is packed into one zip file by `director.machine.package`, pushed over SSH as /var/vcap/bosh/bin/agent-DIGEST.pyz, and run as
root by the machine's own python3, once per SSH channel. It ends when its standard input ends, and leaves no process behind but
those that jobs asked for.

Protocol: one JSON object per line, UTF-8.

    agent     {"hello": {"protocol": 1, "agent_digest": str, "boot_id": str, "python": "3.11.2"}}      first, unasked
    director  {"id": int, "action": str, "arguments": {...}}
    agent     {"id": int, "progress": {...}}             any number, for actions that stream: {"stream": "stdout"|"stderr", "text": str}
    agent     {"id": int, "result": ...}                                                               last, or:
    agent     {"id": int, "error": {"message": str, "kind": str, "output": str}}                       last
    director  {"cancel": int}                            the request ends with an error of kind `cancelled`, or as it ended before

Error kinds: `failed` (the action's own sentence), `script_failed` (a job's script; `output` holds its last lines), `cancelled`,
`disk_full`, `not_fetched` (a blob's URL gave nothing), `unknown` (no such action), `invalid` (arguments), `internal` (a defect;
`output` holds the traceback).

Requests may overlap. Actions marked asynchronous run one at a time, in order, also across two agents on one machine (a file
lock); the others run at once beside them. Arguments of actions that are not loggable never reach the agent's log.

Started as `agent.pyz boot` by a systemd unit it does what must be done after a reboot, before monit starts: mounts.

Source: the agent contract; NATS is replaced by this channel.

Reading order: `server.py`, `actions/__init__.py` (the table), then an action and what it uses.
"""
