"""The stand-in as a process.

Serves EC2, S3, ELB, STS and IAM on a free port of 127.0.0.1, prints one line of JSON with the port and what it seeded, and ends when its
standard input closes, so that it never outlives the one who started it.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import warnings
from collections.abc import Mapping
from typing import Any

from cpis.conformance.clouds.aws.account import ACCOUNT, KEY, REGION, SECRET


def main(latency: float) -> None:
    """Serve until standard input ends."""
    # Read by moto when it is imported. Unknown images and sizes are refused, as the service does; its 1300 images take seconds to load.
    os.environ.update(
        MOTO_EC2_LOAD_DEFAULT_AMIS="false", MOTO_ENABLE_AMI_VALIDATION="true", MOTO_EC2_ENABLE_INSTANCE_TYPE_VALIDATION="true",
    )
    warnings.simplefilter("ignore")
    moto_server = importlib.import_module("moto.server")
    backends = importlib.import_module("moto.backends")
    refusals = importlib.import_module("moto.core.exceptions")
    serving = importlib.import_module("werkzeug.serving")
    werkzeug = importlib.import_module("werkzeug.exceptions")
    from cpis.conformance.clouds.aws.rules import Refusal, World
    from cpis.conformance.clouds.aws.seeds import first, wanted
    from cpis.conformance.clouds.aws.service import Service
    from cpis.conformance.clouds.aws.signatures import Checker

    def backend(name: str, region: str) -> Any:
        return backends.get_backend(name)[ACCOUNT][region]

    seeds = first(backend)
    world = World(backend("ec2", REGION), backend("s3", "aws"), backend("elb", REGION))
    checker = Checker({KEY: SECRET}, {}, time.time)
    application = moto_server.DomainDispatcherApplication(moto_server.create_backend_app)

    def furnish(plan: Mapping[str, Any]) -> dict[str, Any]:
        """From now on the account is looked at in the region of the plan."""
        try:
            made = wanted(backend, plan)
        except (refusals.ServiceException, werkzeug.HTTPException) as error:
            raise Refusal("Refused", str(error)) from error
        world.ec2, world.elb = backend("ec2", plan["region"]), backend("elb", plan["region"])
        return made

    service = Service(application, world, checker, furnish, latency)
    quiet = type("Quiet", (serving.WSGIRequestHandler,), {"log_request": lambda self, *rest: None, "protocol_version": "HTTP/1.1"})
    server = serving.make_server("127.0.0.1", 0, service, threaded=True, request_handler=quiet)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(json.dumps({"port": server.server_port, **seeds}), flush=True)
    sys.stdin.read()
