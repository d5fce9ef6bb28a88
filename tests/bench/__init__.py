"""What Caisson promises in figures, each beside a limit or a peer measured in the same run: `python -m tests.bench`.

Reading order: `rows.py` (what a figure is, and the table), `world.py` (a director of its own, and the machines it makes), then one
file per subject: `deploys.py`, `processes.py`, `planning.py`, `wire.py`, `names.py`. `bare.py` is the peer of all that boots.
"""
