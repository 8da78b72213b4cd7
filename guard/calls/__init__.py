"""Calls: what one call of Guard is, from the question to the value or the typed error.

decorator.py, pipeline.py   what an application holds: a structured function, a `Guard`
steps.py                    the steps of a call, one after the other; policy.py says what each outcome leads to
prompts.py                  what a model is asked, in words
wholeness.py                what is said of a value that is not whole
validators.py               an application's own checks of a value
recording.py, rerun.py      answers kept for tests, and a recorded call asked once more
telemetry.py                spans and measures of OpenTelemetry
"""
