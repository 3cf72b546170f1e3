"""Commands run inside this process, and a design and a study to run them on."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from typer.testing import CliRunner, Result

from codesign.app.cli import app

DESIGN = (
    "--chip=h100-sxm",
    "--num-chips=8",
    "--model=llama-3-70b",
    "--tensor-parallel=8",
    "--batch=64",
    "--prompt-length=1024",
    "--output-length=256",
)
STUDY = """\
name: small
baseline: {chip: h100-sxm, model: llama-3-8b, batch: 64}
request: {prompt_length: 1024, output_length: 256}
free:
  chip.dram.bandwidth:    {min: 2 TB/s, max: 5 TB/s}
  chip.tdp:               {min: 300 W, max: 900 W}
  deployment.batch:       {min: 8, max: 2048, integer: true}
  deployment.power_limit: {min: 200 W, max: chip.tdp}
minimize: energy_per_token_server
subject_to:
  - time_per_output_token <= 30 ms
  - chip.area <= baseline
search: {starts: 16, seed: 0}
"""


def invoke(*arguments: object) -> Result:
    """A command run inside this process."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def interrupt_at(start: str) -> Callable[[str], None]:
    """Progress that stops the command at a line of a kind."""

    def tell(line: str) -> None:
        if line.startswith(start):
            raise KeyboardInterrupt

    return tell


def answer(*arguments: object) -> dict[str, Any]:
    """JSON that a command prints."""
    done = invoke(*arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@dataclass(frozen=True)
class Searched:
    """A search that was run by the command, and the folder that it wrote."""

    done: Result
    folder: Path
    study: Path

    def data(self, name: str) -> dict[str, Any]:
        return json.loads((self.folder / name).read_text(encoding="utf-8"))
