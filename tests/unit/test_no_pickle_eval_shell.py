"""No bytes that become code: no pickle, no eval, no shell, in any room."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("streams", "agents", "training", "aigq", "benchmarks", "docker")
MODULES = {"pickle", "cPickle", "_pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "jsonpickle"}
BUILT_IN = {"eval", "exec", "compile", "__import__"}
# The last parts of a dotted name; the whole is what an import calls it.
CALLS = {
    *("os.system", "os.popen", "commands.getoutput", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *(
        "yaml.load",
        "yaml.load_all",
        "yaml.unsafe_load",
        "yaml.full_load",
        "pandas.read_pickle",
        "pd.read_pickle",
    ),
    "asyncio.create_subprocess_shell",
}


def violations(tree: ast.AST) -> Iterator[str]:
    """What in the code could run bytes, or a shell."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in MODULES:
            yield str(node.module)
        elif isinstance(node, ast.Call):
            yield from _call(node)


def _call(node: ast.Call) -> Iterator[str]:
    name = ast.unparse(node.func)
    given = {word.arg: word.value for word in node.keywords}
    if (isinstance(node.func, ast.Name) and name in BUILT_IN) or name in CALLS:
        yield name
    if _may_be_true(given.get("shell")):
        yield f"{name}(shell=…)"
    if name.endswith("torch.load") and not _is_true(given.get("weights_only")):
        yield "torch.load without weights_only=True"
    if name in ("np.load", "numpy.load") and _may_be_true(given.get("allow_pickle")):
        yield f"{name}(allow_pickle=…)"
    if name in ("np.save", "np.savez", "numpy.save") and _may_be_true(given.get("allow_pickle")):
        yield f"{name}(allow_pickle=…)"


def _is_true(value: ast.expr | None) -> bool:
    return isinstance(value, ast.Constant) and value.value is True


def _may_be_true(value: ast.expr | None) -> bool:
    return value is not None and not (isinstance(value, ast.Constant) and not value.value)


FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_runs_no_bytes_and_no_shell(path: Path) -> None:
    assert list(violations(ast.parse(path.read_text(encoding="utf-8")))) == []


@pytest.mark.parametrize(
    "code",
    [
        "import pickle",
        "from pickle import loads",
        "import os.path, marshal",
        "eval(text)",
        "exec(text)",
        "os.system('ls')",
        "subprocess.run(text, shell=True)",
        "subprocess.run(text, shell=flag)",
        "asyncio.create_subprocess_shell(text)",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "yaml.load(text)",
    ],
)
def test_the_look_finds_what_it_looks_for(code: str) -> None:
    assert list(violations(ast.parse(code)))


@pytest.mark.parametrize(
    "code",
    [
        "re.compile(text)",
        "model.eval()",
        "np.load(path, allow_pickle=False)",
        "np.load(path)",
        "torch.load(path, weights_only=True)",
        "subprocess.run([a, b], shell=False)",
        "yaml.safe_load(text)",
    ],
)
def test_the_look_leaves_the_rest_alone(code: str) -> None:
    assert not list(violations(ast.parse(code)))


def test_there_are_files_to_look_at() -> None:
    assert len(FILES) > 200
