"""The sidecar: OpenAI's and Anthropic's protocols in front, any model behind, Guard's pipeline in between.

settings.py           guard.toml's table [serve], checked with line and key
process.py            the process: sockets, signals, draining, reloading, worker processes
http_limits.py        HTTP as uvicorn reads it, with limits on connections, heads and slow senders
asgi.py               the application under another server of ASGI; ray_serve.py: as replicas of Ray Serve
application.py        the stack of middleware, in order, and the routes; service.py: what its parts know of it
middleware.py         who may come in; cors.py: from which web pages
keys.py               API keys; rate_limits.py: their rates and budgets; key_requirement.py: whether keys are needed
admission.py          how many requests, and how many bytes of bodies, at a time
request_context.py    one request under way: what its headers, the access log and the metrics tell of it
bodies.py, headers.py   reading a body, strictly and within bounds; headers that all answers have
endpoints one file for each protocol, and the pages that a person looks at
constraints.py        what an answer must be, in whichever words it is asked for; schema_cache.py: compiled once
structured.py         what needs schema work; passthrough.py: what goes through, checked
native.py             an upstream asked with the fields that its client sent
served_models.py      models by name: tiers, time-outs, slots; upstream.py, circuit_breaker.py: the connections behind
breaker_hints.py      what processes tell each other of models that fail
event_stream.py       server-sent events to a client; response_state.py: responses that later ones go on from
errors.py, access_log.py, metrics.py how a request's outcome is reported
"""
