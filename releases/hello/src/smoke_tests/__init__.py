"""Proofs that a deployed foundation works: each check speaks the real protocol, to DNS names, from another machine.

`__main__` lists the checks in order; one file per component. `nats` is a client of its own, on purpose: the client that the routers use
must not be what proves itself.
"""
