"""The director's HTTP API, in BOSH's shapes, so that the unmodified `bosh` command works. Source: director API contract.

It decides nothing: reads come from the store at once and never wait for a task; every change is a task, answered by a
redirect to it. Reading order: `services.py` (what it is given), `routes.py` (the one table), `app.py` (authentication,
limits, errors), `calls.py` (what a handler gets and answers), a file per resource, `server.py` (HTTPS), `credentials.py`.
"""
