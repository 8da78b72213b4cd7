"""A disk that is full while a run writes its output: the file is named, and what was answered stays."""

from __future__ import annotations

import errno
import json
import os
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from guard.batch.inputs import InputError
from guard.batch.outputs import Output

ROW = {"input": "a.txt", "value": {"a": "x" * 100}, "call": 1}
FULL = f"can't be written: {os.strerror(errno.EFBIG)}; make room, then --resume"


@pytest.fixture
def small_files() -> Iterator[None]:
    """Files may have 4,096 bytes, which fails as a full disk does. Python ignores the signal."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("small_files")
def test_an_answer_and_a_failure_that_do_not_fit_name_their_files(tmp_path: Path) -> None:
    output = Output(tmp_path / "o.jsonl")
    output.begin()
    for write, name in ((output.add, "o.jsonl.partial"), (output.fail, "o.jsonl.failures.partial")):
        with pytest.raises(InputError) as caught:  # noqa: PT012 (which row it is does not matter)
            for _ in range(100):
                write(ROW)
        assert str(caught.value) == f"{tmp_path / name} {FULL}"
    output.close()
    lines = (tmp_path / "o.jsonl.partial").read_text().splitlines()
    assert [json.loads(line) for line in lines[:20]] == [ROW] * 20


@pytest.mark.parametrize("ending", ["jsonl", "csv", "parquet"])
def test_an_output_that_does_not_fit_is_named_and_leaves_its_parts(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"o.{ending}"
    output = Output(path)
    output.begin()
    for number in range(100):
        output.add({**ROW, "value": {"a": f"{number}" * 100}})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, before[1]))
    try:
        with pytest.raises(InputError) as caught:
            output.finish()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert str(caught.value) == f"{path} {FULL}"
    output.close()
    assert sorted(each.name for each in tmp_path.iterdir()) == [f"o.{ending}.partial"]
