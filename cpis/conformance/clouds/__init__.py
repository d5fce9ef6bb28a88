"""Stand-ins of clouds, a module each with `start(workdir, latency=0.0)`."""
