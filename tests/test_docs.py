"""The commands that README and docs show exist, with the options that they are shown with and all that they need."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("onnx")
if not importlib.util.find_spec("resemblyzer"):
    pytest.skip("pip install --no-deps resemblyzer", allow_module_level=True)

import typer.main  # noqa: E402

from export.__main__ import app as export  # noqa: E402
from hearable.cli import app as hearable  # noqa: E402
from training.__main__ import app as training  # noqa: E402

ROOT = Path(__file__).parent.parent
APPS = {"hearable": hearable, "python -m training": training, "python -m export": export}
START = re.compile(rf"^ *({'|'.join(APPS)}) (.*)$", re.MULTILINE)


def shown():
    """File, program and arguments of every command in a block of code."""
    for file in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for block in re.findall(r"^```\n(.*?)^```", file.read_text(), re.MULTILINE | re.DOTALL):
            for program, arguments in START.findall(block.replace("\\\n", " ")):
                yield pytest.param(program, arguments, id=f"{file.name}: {program} {arguments}")


@pytest.mark.parametrize(("program", "arguments"), list(shown()))
def test_a_command_of_the_docs_can_be_called(program, arguments):
    words = shlex.split(re.sub(r"\[(--[^]]*)\]", r"\1", arguments), comments=True)
    command = typer.main.get_command(APPS[program])
    context = command.make_context(program, [], resilient_parsing=True)
    while isinstance(command, typer.core.TyperGroup):
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, [], parent=context, resilient_parsing=True)
    known = {option: p for p in command.params if p.param_type_name == "option" for option in p.opts}
    given = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
    assert given <= known.keys()
    assert all(given & set(p.opts) for p in known.values() if p.required)
