"""Tuning: recorded right answers train the small model under the masks that it decodes under.

answers.py decides which answers are right, examples.py turns them into tokens, lora.py holds the trained weights,
training.py the loop, and job.py goes from the trace to a folder that `transformers:FOLDER` loads. registry.py keeps
the versions, shadow_run.py compares two of them (shadow_job.py in a process of its own, kept_answers.py over a kill),
and serving.py and canary.py put one to work.
"""
