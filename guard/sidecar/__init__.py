"""The sidecar: OpenAI's and Anthropic's protocols in front, any model behind, Guard's pipeline in between.

settings.py    guard.toml's table [serve], checked with line and key
server.py      the process: sockets, signals, draining, reloading, worker processes
protocol.py    HTTP as uvicorn reads it, with limits on connections, heads and slow senders
app.py         the stack of middleware, in order, and the routes
gate.py        who may come in, and how many at a time; keys.py, limits.py: API keys, their rates and budgets;
               door.py: whether keys are needed, which is not forgotten
visit.py       one request under way: what its headers, the access log and the metrics tell of it
bodies.py      reading a body, strictly and within bounds
asked.py       what a chat request asks for: text, JSON, a schema, calls of tools
serving.py     models by name: tiers, time-outs, slots, breakers; breaker.py, upstream.py: the connections behind
relay.py       what needs no schema work goes through, checked; pipeline.py: what does
chat.py, completions.py, responses.py   OpenAI's three ways to ask, and their answers
messages.py, message_answers.py   Anthropic's way, asked as a chat
operator.py    what a person looks at: live requests, figures, failures, traces, a playground
"""
