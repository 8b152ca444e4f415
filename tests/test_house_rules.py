"""Rules of the whole tree, read from its syntax: who may import whom, and what nobody may do."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MADE = {"data", "exp", "__pycache__", ".venv", ".git"}  # what running the recipes leaves behind

# A package may import those above it, itself, and what BESIDE allows.
LAYERS = [
    {"errors", "config", "settle", "rng", "dist", "io", "__init__"},
    {"contract", "audio", "metrics"},
    {"nn", "losses", "cluster", "backend", "corpora"},
    {"data", "methods"},
    {"training"},
    {"stages", "cli", "__main__", "report", "bench"},
]
BESIDE = {
    ("config", "errors"), ("settle", "config"), ("io", "errors"), ("audio", "contract"), ("nn", "losses"),
    ("io", "__init__"),
    ("cli", "stages"), ("__main__", "cli"), ("stages", "report"), ("stages", "bench"), ("report", "stages"),
}  # fmt: skip
TORCHLESS = ("io", "metrics", "cluster", "backend")
LONGEST_LINE, LONGEST_FUNCTION = 120, 60


def files(*folders: str, suffix: str = ".py") -> list[Path]:
    found = [path for folder in folders for path in sorted((ROOT / folder).rglob(f"*{suffix}"))]
    return [path for path in found if not any(part in MADE for part in path.relative_to(ROOT).parts[:-1][1:])]


@cache
def library() -> list[Path]:
    """All of spkssl, its package `data` included."""
    return [path for path in sorted((ROOT / "spkssl").rglob("*.py")) if "__pycache__" not in path.parts]


def written() -> list[Path]:
    """Every text somebody wrote."""
    scripts = [path for folder in ("egs", "utils", "tools", "tests") for path in files(folder, suffix=".sh")]
    python = [*library(), *sorted(p for p in (ROOT / "tests").rglob("*.py")), *files("egs", "tools", "utils")]
    return [*python, *scripts]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def package(path: Path) -> str:
    """The package or single module below spkssl."""
    return path.relative_to(ROOT / "spkssl").parts[0].removesuffix(".py")


def imports(path: Path) -> Iterator[tuple[str, int]]:
    """Full names of the modules a file imports, wherever in it, and the line; not those for type checkers only."""
    skipped = {
        id(inner)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree(path)):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: imports are absolute"
            yield from ((f"{node.module}.{alias.name}", node.lineno) for alias in node.names)


@cache
def packages() -> set[str]:
    return {package(path) for path in library()}


def ours(path: Path) -> Iterator[tuple[str, int]]:
    """Packages of ours that a file imports."""
    for name, line in imports(path):
        head, *rest = name.split(".")
        if head == "spkssl":
            yield (rest[0] if rest and rest[0] in packages() else "__init__"), line


def level(name: str) -> int:
    found = [i for i, names in enumerate(LAYERS) if name in names]
    assert found, f"spkssl/{name} has no layer: give it one in LAYERS"
    return found[0]


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_a_layer_imports_only_lower_ones():
    wrong = [
        f"{place(path, line)} imports {target}"
        for path in library()
        for target, line in ours(path)
        if target != package(path) and level(target) >= level(package(path)) and (package(path), target) not in BESIDE
    ]
    assert wrong == []


def test_losses_know_torch_and_one_another_alone():
    allowed = {"__future__", "collections", "functools", "math", "torch", "typing", "dataclasses"}
    wrong = [
        f"{place(path, line)} imports {name}"
        for path in files("spkssl/losses")
        for name, line in imports(path)
        if name.split(".")[0] not in allowed and not name.startswith("spkssl.losses")
    ]
    assert wrong == []


def test_methods_do_not_import_one_another():
    wrong = [
        f"{place(path, line)} imports {name}"
        for path in files("spkssl/methods")
        if path.name != "__init__.py"
        for name, line in imports(path)
        if name.startswith("spkssl.methods") and not name.startswith("spkssl.methods.hooks")
    ]
    assert wrong == []


def python(code: str) -> str:
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_io_metrics_cluster_and_backend_never_load_torch():
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for part in TORCHLESS
        for path in files(f"spkssl/{part}")
    ]
    assert len(names) > 40
    loads = "importlib.import_module(name)"
    python(f"import importlib, sys\nfor name in {names}:\n  {loads}\n  assert 'torch' not in sys.modules, name")
    wrong = [
        place(path, line)
        for part in TORCHLESS
        for path in files(f"spkssl/{part}")
        for name, line in imports(path)
        if name.split(".")[0] in ("torch", "torchaudio")
    ]
    assert wrong == []


def test_help_of_every_command_comes_without_torch():
    code = """
import sys
from click.testing import CliRunner
from spkssl.cli import cli
from spkssl.stages import COMMANDS
for name in COMMANDS:
    result = CliRunner().invoke(cli, [name, "--help"])
    assert result.exit_code == 0, (name, result.output, result.exception)
    assert "torch" not in sys.modules, name
"""
    python(code)


def test_no_file_is_named_after_nothing():
    vague = {"utils.py", "util.py", "common.py", "helpers.py", "helper.py", "misc.py"}
    assert [str(path.relative_to(ROOT)) for path in written() if path.name in vague] == []


def test_recipes_hold_no_symbolic_links():
    walked = [path for path in (ROOT / "egs").rglob("*") if not any(p in MADE for p in path.relative_to(ROOT).parts)]
    assert len(walked) > 5
    assert [str(path) for path in walked if path.is_symlink()] == []


_STREAMS = {"Generator", "PCG64", "SeedSequence", "BitGenerator"}  # of numpy: these have no global state
_DRAWS = {f"torch.{name}" for name in ("rand", "randn", "randint", "randperm", "multinomial", "bernoulli", "normal")}


def test_nobody_draws_from_a_global_stream():
    wrong = []
    for path in library():
        wrong += [place(path, line) for name, line in imports(path) if name.split(".")[0] == "random"]
        for name, call in calls(path):
            numpys = re.match(r"(?:np|numpy)\.random\.(\w+)", name)
            seeds = name in ("torch.manual_seed", "torch.seed", "torch.cuda.manual_seed_all") and path.name != "rng.py"
            draws = name in _DRAWS and not any(keyword.arg == "generator" for keyword in call.keywords)
            if (numpys and numpys[1] not in _STREAMS) or seeds or draws:
                wrong.append(f"{place(path, call.lineno)} {name}")
    assert wrong == []


def test_nothing_runs_code_out_of_data():
    banned = {"eval", "exec", "yaml.load", "yaml.unsafe_load", "pickle.load", "pickle.loads", "os.system", "os.popen"}
    wrong = []
    for path in [*library(), *files("egs", "tools", "utils")]:
        for name, call in calls(path):
            keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            unsafe = name == "torch.load" and keywords.get("weights_only") != "True"
            if name in banned or keywords.get("shell") == "True" or keywords.get("allow_pickle") == "True" or unsafe:
                wrong.append(f"{place(path, call.lineno)} {ast.unparse(call)}")
    assert wrong == []


def test_the_library_says_nothing_by_print_and_hides_no_error():
    wrong = [place(path, call.lineno) for path in library() for name, call in calls(path) if name == "print"]
    for path in library():
        for node in ast.walk(tree(path)):
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                wrong.append(f"{place(path, node.lineno)} bare except")
            if isinstance(node, ast.Raise) and node.exc and re.match(r"Exception\b", ast.unparse(node.exc)):
                wrong.append(f"{place(path, node.lineno)} raises Exception")
    assert wrong == []


def test_lines_are_short_and_end_clean():
    wrong = []
    for path in written():
        text = path.read_text(encoding="utf-8")
        for number, line in enumerate(text.split("\n"), 1):
            if len(line) > LONGEST_LINE or line != line.rstrip() or "\t" in line:
                wrong.append(place(path, number))
        if text and not text.endswith("\n"):
            wrong.append(f"{place(path, text.count(chr(10)) + 1)} no newline")
    assert wrong == []


def test_functions_are_short():
    wrong = [
        f"{place(path, node.lineno)} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in written()
        if path.suffix == ".py"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno - node.lineno + 1 > LONGEST_FUNCTION
    ]
    assert wrong == []


def test_every_module_says_what_it_is_for():
    missing = [path for path in library() if path.read_text().strip() and ast.get_docstring(tree(path)) is None]
    assert [str(path.relative_to(ROOT)) for path in missing] == []


def test_public_functions_name_their_arguments():
    wrong = [
        f"{place(path, node.lineno)} {node.name}"
        for path in library()
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.args.kwarg
        # The options of a command are named above it.
        if not any(ast.unparse(decorator).startswith("click.") for decorator in node.decorator_list)
    ]
    assert wrong == []


def recipes() -> list[Path]:
    return sorted((ROOT / "egs").glob("*/run.sh"))


@pytest.mark.parametrize("recipe", recipes(), ids=lambda path: path.parent.name)
def test_stage_numbers_of_a_recipe_are_those_of_the_table(recipe):
    from spkssl.stages import STAGES

    found = re.findall(r"^\s*if stage (\d+) (\w+); then$", recipe.read_text(encoding="utf-8"), re.MULTILINE)
    assert found, "no block of the form `if stage N name; then`"
    assert found == [(str(STAGES[name].number), name) for _, name in found]
    assert [int(number) for number, _ in found] == sorted(int(number) for number, _ in found)
    last = re.search(r"^stop_stage=(\d+)", recipe.read_text(encoding="utf-8"), re.MULTILINE)
    assert last and int(last[1]) == int(found[-1][0])


def test_shell_scripts_satisfy_shellcheck():
    if shutil.which("shellcheck") is None:
        pytest.skip("no shellcheck here")
    scripts = [path for path in written() if path.suffix == ".sh"]
    assert len(scripts) > 5
    command = ["shellcheck", "-x", "--source-path=SCRIPTDIR", *map(str, scripts)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stdout


def systems() -> list[Path]:
    return sorted((ROOT / "egs").glob("*/conf/**/*.yaml"))


@pytest.mark.parametrize("path", systems(), ids=lambda path: str(path.relative_to(ROOT / "egs").with_suffix("")))
def test_every_yaml_builds_and_is_named_like_its_file(path):
    from spkssl.config import read_yaml
    from spkssl.stages.settings import Settings
    from spkssl.stages.system import build_system

    system = build_system(Settings(read_yaml(path), str(path)))
    assert system.system == path.stem
