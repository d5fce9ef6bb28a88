"""A Plan becomes effects. Everything that changes a cloud or a machine is in here.

Reading order:

    context.py    what every operation is given: stores, clouds, machines, clock
    progress.py   what operations report to
    parallel.py   many things at once, bounded, first error stops what has not begun
    journal.py    a row before each effect on a cloud, so that a new director finds it again
    recover.py    what the journal says was begun and not ended: finished or taken back
    observe.py    what is recorded and what the machines say now
    prepare.py    manifest -> Blueprint -> rendered templates -> Plan; writes nothing when told so
    deploy.py     the deploy, as an operator would tell it; the other operations beside it:
    states.py     start, stop, restart, recreate; delete.py, errands.py, uploads.py, access.py (ssh, logs)
    steps/        one file per thing that is done to a machine or a disk
"""
