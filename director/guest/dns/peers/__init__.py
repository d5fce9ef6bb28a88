"""How instances are: asked of their own machines, over one socket of authenticated datagrams.

* `keys`: who this machine is, and which key it shares with which other one;
* `letters`: the datagrams;
* `speaker`: what this machine tells others of itself;
* `follower`: the others that this machine asks after, and only those;
* `exchange`: the socket, and both of them behind the interface `health.Health`.

What is told is found out by `local`. Why it is done this way: `docs/decisions/2026-11-27-health-by-datagrams.md`.
"""
