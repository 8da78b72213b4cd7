"""Tuning: right answers on record become weights of the small model, under the masks that it decodes under.

Which answers are right is answers.py's, how they are spelled and cut into tokens examples.py's; lora.py has what is
trained, training.py the loop, job.py all of it from the trace to a folder that `transformers:FOLDER` loads.
"""
