#!/usr/bin/env bash
# A rehearsal of every table and figure of the paper: the same commands, with the small model that comes
# along, a few dozen steps and a few examples. The scores mean nothing; the way to them is the real one.
#
#   DATA_DIR=~/data examples/rehearsal.sh [OUT]
#
# DATA_DIR holds the official files, a folder for each data set (lowland doctor --data-dir "$DATA_DIR" lists
# what is found); tasks whose files are missing are left out. STEPS, SEEDS and JOBS make it shorter, longer,
# or run it on more cores. It can be interrupted: the same command goes on. The real thing: lowland tasks --recipes.
set -euo pipefail

: "${DATA_DIR:?Say where the official files are: DATA_DIR=~/data $0}"
out=${1:-runs/rehearsal}
lowland=${LOWLAND:-lowland}
steps=${STEPS:-30}
# Two evaluations a run, so that there is a best checkpoint to choose.
options=(
  --data-dir "$DATA_DIR" --steps "$steps" --evaluate-every $(((steps + 1) / 2)) --batch-size 16
  --input-length 40 --target-length 8 --eval-limit 16 --held-out 0 --seeds "${SEEDS:-2}"
)
jobs=(--jobs "${JOBS:-1}")
at_rho=(--rho 0.15)

# The tasks whose training and evaluation files are in DATA_DIR.
# The doctor's exit code is 1 where files are missing, which is no problem here.
found=$({ "$lowland" doctor --data-dir "$DATA_DIR" || true; } |
  awk '$1 == "ok" && $4 == "training" { print $2 }')

present() { # prints those of the tasks named that are found
  local task
  for task in "$@"; do
    if grep -qx "$task" <<<"$found"; then echo "$task"; fi
  done
}

mapfile -t superglue < <(present superglue/{boolq,cb,copa,multirc,record,rte,wic,wsc} dpr)
mapfile -t glue < <(present glue/{cola,sst2,mrpc,stsb,qqp,mnli,qnli,rte})
mapfile -t cbqa < <(present cbqa/{natural_questions,web_questions,trivia_qa})

echo "== Tables 1 and 9, Figure 2: SuperGLUE, and how much rho, a and m matter"
"$lowland" compare --grid rho=0.02,0.05,0.15,0.3 "${superglue[@]}" "${options[@]}" "${jobs[@]}" --out "$out/superglue-rho"
"$lowland" compare --grid ascent=0.0625,0.5,1.0 "${superglue[@]}" "${options[@]}" "${at_rho[@]}" "${jobs[@]}" \
  --out "$out/superglue-a"
"$lowland" compare --grid m=1,2,4 --descent full "${superglue[@]}" "${options[@]}" "${at_rho[@]}" "${jobs[@]}" \
  --out "$out/superglue-m"

echo "== Table 6: SuperGLUE, a twentieth of the training data"
"$lowland" compare "${superglue[@]}" --fraction 0.05 "${options[@]}" "${at_rho[@]}" --out "$out/superglue-low"

echo "== Table 2: GLUE"
"$lowland" compare "${glue[@]}" "${options[@]}" "${at_rho[@]}" --out "$out/glue"

echo "== Tables 4 and 7, Figure 1: closed-book questions against the fraction of training data"
"$lowland" compare --grid fraction=0.05,0.2,0.8,1.0 "${cbqa[@]}" "${options[@]}" "${at_rho[@]}" "${jobs[@]}" \
  --out "$out/cbqa"

echo "== Table 5: each of them alone"
alone=$(IFS=,; echo "${cbqa[*]}")
"$lowland" compare --grid "task=$alone" "${options[@]}" "${at_rho[@]}" "${jobs[@]}" --out "$out/cbqa-alone"

echo "== Tables 3 and 8: TyDiQA"
"$lowland" compare tydiqa "${options[@]}" "${at_rho[@]}" --out "$out/tydiqa"

echo "== All tables, in the paper's layout, and the figures"
"$lowland" report "$out"/{superglue-rho,superglue-a,superglue-m,superglue-low,glue,cbqa,cbqa-alone,tydiqa} --paper --out "$out/tables"
