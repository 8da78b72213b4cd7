"""Small applications, each with one known bug (`broken`) and its corrected twin (`mended`).

They were written from the list of what users of such software suffer from, and from what teams were seen to do, before
the harness looked for any of it.
An application is as people write them: a function that asks a model, through Guard, through the openai SDK, over HTTP
by hand, or through a callable that it is given. tests/testing/test_planted.py puts each under test as
`guard test planted.NAME:broken` would.
"""
