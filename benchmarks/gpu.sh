#!/usr/bin/env bash
# On a machine with a CUDA device, in at most eight minutes: the heart's tests, then what SAM costs; one JSON.
#
#     benchmarks/gpu.sh [OUT.json]
#
# PYTHON names the interpreter, .venv/bin/python by default.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=${PYTHON:-.venv/bin/python} out=${1:-runs/gpu.json}

if ! "$python" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then
  echo "benchmarks/gpu.sh measures on a CUDA device, and PyTorch sees none here." >&2
  exit 2
fi
export HF_HUB_OFFLINE=1 TOKENIZERS_PARALLELISM=false
mkdir -p "$(dirname "$out")"
failed=0
timeout 150 "$python" -m pytest tests/sam/test_devices.py -n 0 -m "slow or not slow" \
  --junitxml="${out%.json}-tests.xml" || failed=$?
timeout 320 "$python" benchmarks/bench_gpu.py --seconds 240 --json "$out" || failed=$?
"$python" - "$out" "${out%.json}-tests.xml" <<'PYTHON'
import json, pathlib, sys
from xml.etree import ElementTree

out, tests = map(pathlib.Path, sys.argv[1:])
record = json.loads(out.read_text()) if out.exists() else {"rows": []}
record["tests"] = "not finished"
if tests.exists():
    suite = ElementTree.parse(tests).getroot().find("testsuite")
    record["tests"] = {key: suite.get(key) for key in ("tests", "failures", "errors", "skipped")}
    record["failed"] = [case.get("name") for case in suite if case.find("failure") is not None]
out.write_text(json.dumps(record, indent=2) + "\n")
tests.unlink(missing_ok=True)
print(f"Tests and figures: {out}")
PYTHON
exit "$failed"
