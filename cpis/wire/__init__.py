"""The CPIs as executables, as a BOSH director calls them: one process per call, JSON on stdin and stdout.

    main      the entry points `caisson-cpi-aws` and its like
    server    a request's text -> the answer, never an exception
    methods   the wire's methods over a `cpis.contract.Cpi`
    config    config file and context -> the configuration of a CPI
    settings  what a BOSH agent must know at its first start
    convert   networks, disk hints, logins: the wire's form and ours
    errors    the wire's ten error classes and ours
    secrets   what may stand in no log

The other direction, an executable as a CPI of ours, is `cpis.process`. Source: CPI contract, sections 1 to 3.
"""
