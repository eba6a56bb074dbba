"""Looks the pinned dependencies up in the database of known vulnerabilities.

pip-audit is installed aside, into build/audit, so that it is no dependency of the project's own. Where
there is no network, the audit is skipped, and says so.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ASIDE = ROOT / "build" / "audit"
OFFLINE = (
    "ConnectionError",
    "ConnectTimeout",
    "Failed to establish",
    "Max retries",
    "No matching distribution",
    "Read timed out",
    "Temporary failure in name resolution",
)


def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a command and captures what it prints."""
    return subprocess.run(words, capture_output=True, text=True, env={**os.environ, **environment})


def main() -> int:
    """Returns 0 where nothing is known or nothing could be asked, 1 where something is known."""
    if not (ASIDE / "pip_audit").is_dir():
        pip = (sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
        installed = run(*pip, "--target", str(ASIDE), "pip-audit>=2.9,<3")
        if installed.returncode:
            print(f"SKIPPED: pip-audit cannot be installed here.\n{installed.stderr.strip()[-400:]}")
            return 0
    words = ("--requirement", str(ROOT / "requirements.lock"), "--no-deps", "--disable-pip")
    done = run(sys.executable, "-m", "pip_audit", *words, "--progress-spinner", "off", PYTHONPATH=str(ASIDE))
    print(done.stdout.strip())
    if done.returncode and any(sign in done.stderr for sign in OFFLINE):
        print(f"SKIPPED: the database of vulnerabilities cannot be reached.\n{done.stderr.strip()[-400:]}")
        return 0
    print(done.stderr.strip())
    if unknown := done.stdout.count("could not be audited"):
        print(f"SKIPPED: {unknown} pins are not known to the index that was asked, and were not audited.")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main())
