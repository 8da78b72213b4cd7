"""The sidecar as a deployment of Ray Serve: `serve run guard.sidecar.ray_serve:application config=guard.toml`.

Each replica is a sidecar in a process of its own. All share what is in the trace, so let that be a PostgreSQL: keys,
budgets, breakers' hints, kept responses. Ray's proxy stands before them, with its own limits to slow and large
requests.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

if importlib.util.find_spec("ray") is None or importlib.util.find_spec("grpc") is None:
    raise ImportError("guard.sidecar.ray_serve needs Ray Serve: pip install 'guard-slm[ray-serve,serve]'")

from ray import serve

from guard.sidecar.asgi import Application

NAME = "guard"
#: Requests that a replica may have under way. Ray's default, 5, is for a model that computes; most of ours wait.
UNDER_WAY = 512


def application(options: dict[str, Any]) -> serve.Application:
    """Return the deployment.

    `config` names a TOML file of settings, which each node must have; GUARD_TRACE and other variables come from
    `runtime_env` or the nodes. All other options are those of `ray.serve.deployment`: `num_replicas`,
    `autoscaling_config`, `ray_actor_options` …

    >>> serve.run(application({"config": "guard.toml", "num_replicas": 4}))  # doctest: +SKIP
    """
    given = dict(options)
    named = given.pop("config", None)
    config = Path(named).absolute() if named else None
    if "num_replicas" in given and str(given["num_replicas"]).isdigit():  # a command line has only texts
        given["num_replicas"] = int(given["num_replicas"])

    def made() -> Application:  # in the replica
        return Application(config)

    class Replica:
        """One replica."""

    settings = {"name": NAME, "max_ongoing_requests": UNDER_WAY, **given}
    return serve.deployment(**settings)(serve.ingress(made)(Replica)).bind()
