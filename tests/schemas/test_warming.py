"""Warming: what was warmed allows what was not, the walk is bounded, and what it meets is told."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import allowed
from strategies import Case, byte_vocabulary, cases, vocabularies

import guard
from guard.schemas.common import SLOW_FORMATS
from guard.schemas.compiled import Compiled, FrontEnd, Options

WAIT = 60  #: Seconds until a thread that should be done is stuck.


@settings(max_examples=25)
@given(case=cases(), vocabulary=vocabularies(), seed=st.integers(0, 2**32))
def test_masks_are_the_same_with_and_without_a_warm_up(case: Case, vocabulary: guard.Vocabulary, seed: int) -> None:
    """Random walks, beside the warm-up that may still be at work."""
    r = Random(seed)
    try:
        warmed, cold = (Compiled(FrontEnd(case.schema, Options(**case.options), {})) for _ in range(2))
        future = warmed.warm(vocabulary, masks=40, seconds=5)
        try:
            one, other = warmed.matcher(vocabulary), cold.matcher(vocabulary)
            for _ in range(12):
                choice = allowed(one, vocabulary)
                np.testing.assert_array_equal(choice, allowed(other, vocabulary))
                if one.is_finished() or not len(choice):
                    break
                token = int(r.choice(choice.tolist()))
                assert one.accept(token)
                assert other.accept(token)
        finally:
            future.exception(WAIT)
    except guard.SchemaError as error:
        if error.limit is None:
            raise


def test_a_warm_up_makes_no_more_masks_than_it_may_and_names_the_ways_of_a_schema() -> None:
    vocabulary = byte_vocabulary()
    compiled = guard.compile({"properties": {"first": {"type": "null"}, "second": {"enum": ["x", "y"]}}})
    assert compiled.warm(vocabulary, masks=7).result(WAIT) == 7
    assert compiled.warm(vocabulary, seconds=0).result(WAIT) == 0
    small = guard.compile({"enum": [1, "b", None]})
    assert 3 < small.warm(vocabulary).result(WAIT) < 40  # all there is
    fresh = Compiled(FrontEnd({"properties": {"some name": {"required": ["other"]}}}, Options(), {}))
    before = fresh.stats()["states"]
    assert fresh.warm(vocabulary, masks=60).result(WAIT) == 60
    assert fresh.stats()["states"] > before
    assert guard.compile(False).warm(vocabulary).result(WAIT) == 1


def test_no_thread_is_there_that_nobody_asked_for() -> None:
    guard.compile({"type": "object"}).matcher(byte_vocabulary())
    assert not [thread for thread in threading.enumerate() if thread.name == "guard-warm"]


def test_what_a_warm_up_meets_is_raised_and_logged_and_met_again_by_who_decodes_there(
    caplog: pytest.LogCaptureFixture,
) -> None:
    schema: Any = True
    for _ in range(100):
        schema = {"type": "object", "properties": {"a": schema}, "additionalProperties": False}
    compiled = guard.compile(schema, whitespace="compact", limits=guard.Limits(states=60))
    vocabulary = byte_vocabulary()
    with caplog.at_level(logging.WARNING, "guard.schemas"):
        error = compiled.warm(vocabulary, masks=2000, seconds=30).exception(WAIT)
    assert isinstance(error, guard.SchemaError)
    assert error.limit == "states"
    assert "/properties/a" in str(error)
    assert "warm-up" in caplog.text
    with pytest.raises(guard.SchemaError) as met:
        compiled.matcher(vocabulary).accept_bytes(b'{"a":' * 90)
    assert met.value.limit == "states"


def test_a_process_may_end_while_a_warm_up_is_at_work() -> None:
    """It neither waits for the rest of the walk nor dies of it."""
    program = (
        "import guard, time\n"
        "vocabulary = guard.Vocabulary.from_bytes([bytes([b]) for b in range(256)] + [b''], eos=[256])\n"
        "guard.compile(True).warm(vocabulary, masks=10**9, seconds=10**6)\n"
        "time.sleep(0.1)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=WAIT, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_vocabulary_that_was_made_before_the_front_end_was_loaded_is_warmed_by_its_first_matcher() -> None:
    """It then holds what one holds that is made later, which is warm from the beginning."""
    late = "v.is_cold, guard.compile(True).matcher(v) and None, v.is_cold, v.nbytes"
    made = "v = guard.Vocabulary.from_tokenizer(tiny.tokenizer())"
    none = "from guard.kernels.vocabulary import ON_MADE; ON_MADE.clear()"  # as where no front end is loaded
    cold = _printed(f"import guard, tiny; {none}; {made}; print({late})")
    warm = _printed(f"import guard, tiny; {made}; print({late})")
    assert cold.startswith("True None False ")
    assert warm == cold.replace("True", "False")


def test_no_process_that_is_forked_loads_the_front_end_or_warms_a_vocabulary_again() -> None:
    """Each worker of a server that forks would take a tenth of a second for its first call, and memory of its own."""
    program = (
        "import gc, guard, sys, tiny; v = guard.Vocabulary.from_tokenizer(tiny.tokenizer())"
        "; loaded = set(sys.modules); gc.collect(); gc.freeze()"
        "; guard.compile({'type': 'integer'}).matcher(v)"
        "; print(sorted(set(sys.modules) - loaded), len(gc.get_objects()) < 200)"
    )
    assert _printed(program) == "[] True"


def test_a_vocabulary_is_warmed_once() -> None:
    vocabulary = guard.Vocabulary.from_tokenizer(tiny.tokenizer())
    before = vocabulary.nbytes
    assert not vocabulary.is_cold
    guard.compile({"type": "string", "format": "date-time"}).matcher(vocabulary)
    assert vocabulary.nbytes == before
    assert not byte_vocabulary().is_cold  # nobody's tokenizer: there is nothing to do ahead


def _printed(program: str) -> str:
    here = str(Path(__file__).parents[1])
    command = [sys.executable, "-c", f"import sys; sys.path.insert(0, {here!r})\n{program}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("name", SLOW_FORMATS)
@pytest.mark.parametrize("spelling", ["canonical", "any"])
def test_the_first_masks_of_a_slow_format_are_made_with_its_first_matcher(name: str, spelling: str) -> None:
    """Once for a vocabulary and spelling, in whatever schema it stands; where formats are not asserted, never.

    It is counted in a process of its own: all schemas of a process share their languages, and so do its threads.
    """
    text = SLOW_FORMATS[name]
    schema = {"properties": {"x": {"type": "array", "items": {"format": name}}}}
    program = f"""if True:
        import guard
        from properties import allowed
        from guard.schemas.compiled import Compiled, FrontEnd, Options

        def languages(text):
            for byte in text.encode():
                assert matcher.accept_bytes(bytes([byte]))
                allowed(matcher, vocabulary)
            return compiled.stats()["languages"]

        schema = {schema!r}
        vocabulary = guard.Vocabulary.from_bytes([*(bytes([byte]) for byte in range(256)), b""], eos=[256])
        unasserted = Compiled(FrontEnd(schema, Options(formats=False, spelling={spelling!r}), {{}}))
        unasserted.matcher(vocabulary)
        assert not vocabulary._warmed
        for _ in range(2):
            compiled = Compiled(FrontEnd(schema, Options(spelling={spelling!r}), {{}}))
            matcher = compiled.matcher(vocabulary)
            assert vocabulary._warmed == {{({name!r}, {spelling!r})}}
            print(languages({'{"x": [' + text[:1]!r}), languages({text[1:-1]!r}))
    """
    counts = set(_printed(program).split())
    assert len(counts) == 1, counts
