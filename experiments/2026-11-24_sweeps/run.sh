#!/bin/bash
# The sweeps of this folder's README: bash run.sh <folder> [grid] [study] [others]; all of them without a second word.
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
OUT=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$OUT" || exit 1
shift
PARTS=" ${*:-grid study others} "
TRAIN="python -m tangka_match.train"
COMMON=(+experiment=debug data.writer.thumbnails=false trainer.max_steps=-1 loss=triplet loss.hard_negatives=0)
# name, command...: notes the exit code and the time
step() {
  local name=$1 began=$SECONDS; shift
  "$@" > "$name.log" 2>&1
  echo "$name: exit $?, $((SECONDS - began)) s" | tee -a steps.txt
}
# jobs, name, command...: SIGKILL in the middle of the job after so many
killed_after() {
  local count=$1 name=$2 began=$SECONDS; shift 2
  "$@" > "$name.log" 2>&1 &
  local pid=$!
  until [ "$(grep -cE '^job [0-9]+ (finished|pruned):' "$name.log")" -ge "$count" ]; do sleep 0.2; done
  sleep 2
  kill -KILL $pid
  wait $pid
  echo "$name: exit $?, $((SECONDS - began)) s" | tee -a steps.txt
}

GRID=(-m "${COMMON[@]}" trainer.max_epochs=4 logger=wandb loss.margin=0.1,0.2,0.4 optimizer.lr=5e-4,1e-3,2e-3,5e-3 seed=0,1)
if [[ $PARTS == *" grid "* ]]; then
killed_after 7 grid_killed python "$HERE/train_with_a_crash.py" "${GRID[@]}" sweep.retries=0
step grid_restarted python "$HERE/train_with_a_crash.py" "${GRID[@]}" sweep.retries=0
step grid_again $TRAIN "${GRID[@]}" sweep.retries=0
fi

STUDY=(-m "${COMMON[@]}" trainer.max_epochs=8 hydra/sweeper=study 'optimizer.lr=tag(log,interval(1e-4,3e-2))'
  'loss.margin=interval(0.05,0.5)' 'model.dropout=interval(0.0,0.5)' sweep.n_trials=30)
if [[ $PARTS == *" study "* ]]; then
killed_after 12 study_killed $TRAIN "${STUDY[@]}" sweep.name=pruned
step study_restarted $TRAIN "${STUDY[@]}" sweep.name=pruned
step study_again $TRAIN "${STUDY[@]}" sweep.name=pruned
step study_unpruned $TRAIN "${STUDY[@]}" sweep.name=unpruned sweep.pruner=none "paths.runs=$OUT/unpruned"
fi

if [[ $PARTS == *" others "* ]]; then
step two_at_a_time $TRAIN -m "${COMMON[@]}" trainer.max_epochs=4 hydra/launcher=local_pool hydra.launcher.processes=2 \
  loss.margin=0.15,0.25 seed=2,3
step submitit_local $TRAIN -m "${COMMON[@]}" trainer.max_epochs=4 hydra/launcher=submitit_local loss.margin=0.3 seed=2,3
step seeds $TRAIN "${COMMON[@]}" trainer.max_epochs=4 loss.margin=0.2 'seeds=[0,1,2]'
step pareto $TRAIN -m "${COMMON[@]}" trainer.max_epochs=4 hydra/sweeper=study sweep.name=pareto \
  'sweep.objectives=[mean_r1,parameters]' model.embed_dim=32,64,128 model.word_dim=16,32,64 sweep.n_trials=6
fi
