"""Files that hwsim writes replace nothing but files."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from hwsim.cli.memory import command
from hwsim.errors import InputError
from hwsim.files import check_target, written
from hwsim.trace.writer import Writer


def test_a_pipe_stays_a_pipe(tmp_path: Path) -> None:
    pipe, requests = tmp_path / "pipe", tmp_path / "requests"
    os.mkfifo(pipe)
    requests.write_text("0x0 READ 0\n")
    for attempt in (lambda: check_target(pipe), lambda: written(pipe).__enter__(), lambda: Writer(pipe)):
        with pytest.raises(InputError, match="a device or a pipe"):
            attempt()
    result = CliRunner().invoke(command, ["hbm3-6400", str(requests), "-o", str(pipe)])
    assert isinstance(result.exception, InputError)
    assert pipe.is_fifo() and sorted(tmp_path.iterdir()) == [pipe, requests]
