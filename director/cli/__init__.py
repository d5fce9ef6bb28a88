"""The command line. It knows the director only through its HTTP API, and the offline layers for what runs here.

Read `main.py` (flags, errors, exit codes), `commands.py` (the table), `verbs/` (a file per command), then what they share:
`session.py`, `client.py`, `follow.py`, `ui.py`, `tables.py`.
"""
