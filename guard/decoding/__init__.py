"""Decoding: one answer under masks, token by token, whatever computes the logits.

completion.py        one completion: the matcher, the budget, what each token was
guide.py             the tokens that may come next, and those that must, for a loop of somebody else's
mask_buffer.py       masks as rows of bits; forced_tokens.py: texts with no choice, written without a pass of the model
logits_processor.py  the masks as a processor of transformers; torch_loop.py: a loop of our own
reasoning.py         a part of free thinking before the value
whole_values.py      values that an input states, scored as a whole; alternative.py: what else one could have been
confidence.py        how sure a model was
answer_figures.py    what speaks for an answer; prompt_values.py: what its prompt states
calibration.py       what that is worth in right answers; logistic.py: the weights of its figures
places.py            where an answer was cut; repetition.py: whether it repeats itself
"""
