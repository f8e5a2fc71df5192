"""Build the distributions and use them as a new user would: ``tox -e package``.

The sdist is built, and the wheel from it; both are checked for their metadata and for every file of the
package. The wheel goes into a fresh virtual environment, where the demo and the example of a test run away
from the checkout.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TOP = ["LICENSE", "README.md", "CHANGELOG.md", "setup.cfg", "pyproject.toml", "tox.ini", "tests/conftest.py"]


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        wheel, sdist = build(work / "dist")
        check_files(wheel, sdist)
        use(wheel, work)
    print("the distributions are good")


def build(folder: Path) -> tuple[Path, Path]:
    """Build the wheel and the sdist from a copy of the files that git doesn't ignore."""
    checkout = folder.parent / "checkout"
    known = run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", cwd=ROOT).split("\0")
    for name in filter(None, known):
        if (ROOT / name).exists():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    run(sys.executable, "-m", "build", "--outdir", str(folder), cwd=checkout)
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    run(sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(sdist))
    return wheel, sdist


def check_files(wheel: Path, sdist: Path) -> None:
    """Require each file of the package in both, and nothing else in the wheel but metadata."""
    package = {*package_files(), "pytest_rxruns.py"}
    with zipfile.ZipFile(wheel) as archive:
        in_wheel = {name for name in archive.namelist() if ".dist-info/" not in name}
        about = {name.partition(".dist-info/")[2] for name in archive.namelist()} - {""}
    with tarfile.open(sdist) as tar:
        in_sdist = {name.partition("/")[2] for name in tar.getnames()}
    expect("the wheel's files", in_wheel ^ package)
    expect("LICENSE and entry points of the wheel", {"licenses/LICENSE", "entry_points.txt"} - about)
    expect("the sdist's files", {*package, *TOP} - in_sdist)


def package_files() -> Iterator[str]:
    for path in (ROOT / "rxruns").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(ROOT).as_posix()


def use(wheel: Path, work: Path) -> None:
    """Install the wheel, and run the demo and a test that uses the fixtures."""
    away = work / "away"
    away.mkdir()
    shutil.copy(ROOT / "examples" / "test_my_pipeline.py", away)
    run(sys.executable, "-m", "venv", str(work / "venv"))
    python = str(work / "venv" / "bin" / "python")
    run(python, "-m", "pip", "install", "-q", f"{wheel}[cli]", "pytest")
    where = run(python, "-c", "import rxruns; print(rxruns.__file__)", cwd=away)
    expect("rxruns is imported from the wheel", set() if str(work) in where else {where})
    run(python, "-m", "pip", "check")
    output = run(str(work / "venv" / "bin" / "rxruns"), "demo", "--delay", "0", cwd=away)
    expect("the demo ends well", set() if "succeeded" in output else {output})
    run(python, "-m", "pytest", "-q", "-W", "error", "test_my_pipeline.py", cwd=away)


def run(*command: str, cwd: Path | None = None) -> str:
    """Return the output of a command; exit if it fails."""
    ran = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if ran.returncode:
        sys.exit(f"{' '.join(command)} failed with {ran.returncode}:\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def expect(what: str, wrong: set[str]) -> None:
    """Exit if anything is wrong."""
    if wrong:
        sys.exit(f"{what}: {sorted(wrong)}")
    print(f"{what}: good")


if __name__ == "__main__":
    main()
