"""Routes between a message bus and HAProxy. Runs on machines: standard library only.

Reading order: `bus` (the NATS protocol), `table` (which endpoints serve which URI), `proxy` (HAProxy's runtime API),
`agent` (bus to proxy, the gorouter job), `registrar` (this machine's routes to the bus, the route-registrar job).
"""
