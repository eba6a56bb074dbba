#!/usr/bin/env bash
# A rehearsal of every table and figure of the paper: the same commands, with the small model that comes
# along, a few dozen steps and a few examples. The scores mean nothing; the way to them is the real one.
#
#   DATA_DIR=~/data examples/rehearsal.sh [OUT]
#
# DATA_DIR holds the official files, a folder for each data set (lowland doctor --data-dir "$DATA_DIR" lists
# what is found); tasks whose files are missing are left out. STEPS, SEEDS and JOBS make it shorter, longer,
# or run it on more cores. The real thing: lowland recipes.
set -euo pipefail

: "${DATA_DIR:?Say where the official files are: DATA_DIR=~/data $0}"
out=${1:-runs/rehearsal}
lowland=${LOWLAND:-lowland}
steps=${STEPS:-30}
options=(
  --data-dir "$DATA_DIR" --rho 0.15 --steps "$steps" --evaluate-every "$steps" --batch-size 16
  --input-length 96 --target-length 12 --eval-limit 8 --held-out 0 --seeds "${SEEDS:-2}"
)
jobs=(--jobs "${JOBS:-1}")
without_rho=("${options[@]:0:2}" "${options[@]:4}") # rho is what the first grid varies

# The tasks whose training and evaluation files are in DATA_DIR.
# The doctor's exit code is 1 where files are missing, which is no problem here.
found=$({ "$lowland" doctor --data-dir "$DATA_DIR" --no-timing || true; } |
  awk '$1 == "ok" && $4 == "training" { print $2 }')

present() { # prints those of the tasks named that are found
  local task
  for task in "$@"; do
    if grep -qx "$task" <<<"$found"; then echo "$task"; fi
  done
}

superglue=$(present superglue/{boolq,cb,copa,multirc,record,rte,wic,wsc} dpr)
glue=$(present glue/{cola,sst2,mrpc,stsb,qqp,mnli,qnli,rte})
cbqa=$(present cbqa/{natural_questions,web_questions,trivia_qa})

echo "== Tables 1 and 9, Figure 2: SuperGLUE, and how much rho, a and m matter"
for grid in rho a m; do
  given=("${options[@]}")
  if [ "$grid" = rho ]; then given=("${without_rho[@]}"); fi
  # shellcheck disable=SC2086  # the tasks are words
  "$lowland" sweep "$grid" $superglue "${given[@]}" "${jobs[@]}" --out "$out/superglue"
done

echo "== Table 6: SuperGLUE, a twentieth of the training data"
# shellcheck disable=SC2086
"$lowland" sweep fraction=0.05 $superglue "${options[@]}" --out "$out/superglue-low"

echo "== Table 2: GLUE"
# shellcheck disable=SC2086
"$lowland" compare $glue "${options[@]}" --out "$out/glue"

echo "== Tables 4 and 7, Figure 1: closed-book questions against the fraction of training data"
# shellcheck disable=SC2086
"$lowland" sweep fraction=0.02,0.05,0.1,0.2,0.4,0.8,1.0 $cbqa "${options[@]}" "${jobs[@]}" --out "$out/cbqa"

echo "== Table 5: each of them alone"
"$lowland" sweep "task=$(paste -sd, <<<"$cbqa")" "${options[@]}" "${jobs[@]}" --out "$out/cbqa-alone"

echo "== Tables 3 and 8: TyDiQA"
"$lowland" compare tydiqa "${options[@]}" --out "$out/tydiqa"

echo "== All tables, in the paper's layout, and the figures"
"$lowland" report "$out"/superglue "$out"/superglue-low "$out"/glue "$out"/cbqa "$out"/cbqa-alone \
  "$out"/tydiqa --paper --out "$out/tables"
