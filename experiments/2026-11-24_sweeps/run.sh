#!/bin/bash
# The sweeps of this folder's README: bash run.sh <folder> [grid] [study] [unpruned] [others]; all of them without a second word.
# SET=f8kcn_small F8K=<its folder> takes real captions instead of the small demo set.
set -u
HERE=$(cd "$(dirname "$0")" && pwd)
OUT=$(mkdir -p "$1" && cd "$1" && pwd)
cd "$OUT" || exit 1
shift
PARTS=" ${*:-grid study unpruned others} "
TRAIN="python -m tangka_match.train"
COMMON=(+experiment=debug trainer.max_steps=-1 loss=triplet loss.hard_negatives=0)
case ${SET:-demo_small} in
  demo_small) COMMON+=(data.writer.thumbnails=false) GRID_RUN=(trainer.max_epochs=4 logger=wandb) STUDY_RUN=(trainer.max_epochs=8) ;;
  # A tenth of the training pairs in batches of 64: 4 steps an epoch, all 363 validation pairs.
  f8kcn_small) COMMON+=(data=f8kcn_small "data.root=$F8K" data.train_share=0.1 data.batch_size=64)
    GRID_RUN=(trainer.max_epochs=2) STUDY_RUN=(trainer.max_epochs=4) ;;
esac
# Clock and CPU time, children included: on a shared machine the clock says little.
TIMEFORMAT="%R s, CPU %U s user + %S s system"
# name, command...: notes the exit code and the time
step() {
  local name=$1 code; shift
  { time "$@" > "$name.log" 2>&1; } 2> "$name.time"
  code=$?
  echo "$name: exit $code, $(cat "$name.time")" | tee -a steps.txt
}
# jobs, command...: SIGKILL in the middle of the job after so many
kill_after() {
  local count=$1 log=$2; shift 2
  "$@" > "$log" 2>&1 &
  local pid=$!
  until [ "$(grep -cE '^job [0-9]+ (finished|pruned):' "$log")" -ge "$count" ]; do sleep 0.2; done
  sleep 2
  kill -KILL $pid
  wait $pid
}
# jobs, name, command...: the same as a step
killed_after() {
  local count=$1 name=$2 code; shift 2
  { time kill_after "$count" "$name.log" "$@" 2> /dev/null; } 2> "$name.time"
  code=$?
  echo "$name: exit $code, $(cat "$name.time")" | tee -a steps.txt
}

GRID=(-m "${COMMON[@]}" "${GRID_RUN[@]}" loss.margin=0.1,0.2,0.4 optimizer.lr=5e-4,1e-3,2e-3,5e-3 seed=0,1)
if [[ $PARTS == *" grid "* ]]; then
killed_after 7 grid_killed python "$HERE/train_with_a_crash.py" "${GRID[@]}" sweep.retries=0
step grid_restarted python "$HERE/train_with_a_crash.py" "${GRID[@]}" sweep.retries=0
step grid_again $TRAIN "${GRID[@]}" sweep.retries=0
fi

STUDY=(-m "${COMMON[@]}" "${STUDY_RUN[@]}" hydra/sweeper=study 'optimizer.lr=tag(log,interval(1e-4,3e-2))'
  'loss.margin=interval(0.05,0.5)' 'model.dropout=interval(0.0,0.5)' sweep.n_trials=30)
if [[ $PARTS == *" study "* ]]; then
killed_after 12 study_killed $TRAIN "${STUDY[@]}" sweep.name=pruned
step study_restarted $TRAIN "${STUDY[@]}" sweep.name=pruned
step study_again $TRAIN "${STUDY[@]}" sweep.name=pruned
fi
if [[ $PARTS == *" unpruned "* ]]; then
step study_unpruned $TRAIN "${STUDY[@]}" sweep.name=unpruned sweep.pruner=none "paths.runs=$OUT/unpruned"
fi

if [[ $PARTS == *" others "* ]]; then
step two_at_a_time $TRAIN -m "${COMMON[@]}" "${GRID_RUN[@]}" hydra/launcher=local_pool hydra.launcher.processes=2 \
  loss.margin=0.15,0.25 seed=2,3
step submitit_local $TRAIN -m "${COMMON[@]}" "${GRID_RUN[@]}" hydra/launcher=submitit_local loss.margin=0.3 seed=2,3
step seeds $TRAIN "${COMMON[@]}" "${GRID_RUN[@]}" loss.margin=0.2 'seeds=[0,1,2]'
step pareto $TRAIN -m "${COMMON[@]}" "${GRID_RUN[@]}" hydra/sweeper=study sweep.name=pareto \
  'sweep.objectives=[mean_r1,parameters]' model.embed_dim=32,64,128 model.word_dim=16,32,64 sweep.n_trials=6
fi
