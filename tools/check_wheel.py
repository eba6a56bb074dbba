"""Builds the wheel, installs it in a fresh environment and uses it from another directory.

The fresh environment sees the libraries of the environment that runs this script, but not the source tree:
a file that is missing from the wheel, or a path that leans on the checkout, fails here.

    python tools/check_wheel.py
"""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]

# Run by the fresh environment: imports every module of the installed package and prints where it lies.
IMPORT_ALL = """
import importlib, pkgutil, lowland
for module in pkgutil.walk_packages(lowland.__path__, "lowland."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
print(lowland.__version__, lowland.__file__)
"""


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command that cannot see the checkout through a variable, and returns what it printed."""
    hidden = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name not in hidden}
    shown = (part.name if isinstance(part, Path) else part.strip().partition("\n")[0] for part in command)
    print("$", *shown, flush=True)
    result = subprocess.run(
        [str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True
    )
    if result.returncode != 0:
        sys.exit(f"{result.stdout}{result.stderr}\nExited with {result.returncode}.")
    return result.stdout


def missing_files(wheel: Path) -> list[str]:
    """Returns the files under src/lowland that the wheel lacks."""
    packed = set(zipfile.ZipFile(wheel).namelist())
    source = ROOT / "src"
    files = (path for path in (source / "lowland").rglob("*") if path.is_file())
    names = (path.relative_to(source).as_posix() for path in files if "__pycache__" not in path.parts)
    return sorted(name for name in names if name not in packed)


def main() -> None:
    """Builds, installs and uses the wheel; exits with a message at the first thing that is wrong."""
    # Not inside the checkout: Python would find src/ from there.
    with tempfile.TemporaryDirectory(prefix="lowland-wheel-") as name:
        folder = Path(name).resolve()
        build = (sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder))
        run(*build, str(ROOT), cwd=folder)
        (wheel,) = folder.glob("*.whl")
        if missing := missing_files(wheel):
            sys.exit(f"{wheel.name} lacks {', '.join(missing)}.")

        fresh = folder / "environment"
        venv.create(fresh, with_pip=False)
        binaries = fresh / ("Scripts" if os.name == "nt" else "bin")
        python = binaries / "python"
        pip = (sys.executable, "-m", "pip", "--python", str(python), "--disable-pip-version-check")
        run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
        packages = Path(
            run(python, "-c", "import site; print(site.getsitepackages()[0])", cwd=folder).strip()
        )
        # A directory named in a .pth file is put on the path, but its own .pth files, the checkout's among
        # them, are not read.
        bare = subprocess.run([binaries / "lowland", "compare"], cwd=folder, capture_output=True, text=True)
        if bare.returncode != 2 or 'pip install "lowland[lab]"' not in bare.stderr:
            sys.exit(f"Without the extra lab the command line does not say so: {bare.stdout}{bare.stderr}")
        (packages / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")

        run(binaries / "lowland", "--help", cwd=folder)
        run(python, "-m", "lowland", "--help", cwd=folder)
        version, _, location = run(python, "-c", IMPORT_ALL, cwd=folder).strip().partition(" ")
        if not Path(location).is_relative_to(packages):
            sys.exit(f"The installed package was not used: lowland was imported from {location}.")
        size = wheel.stat().st_size / 1e6
        print(f"{wheel.name}, {size:.1f} MB: holds every file, installs and runs as version {version}.")


if __name__ == "__main__":
    main()
