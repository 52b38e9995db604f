#!/bin/sh
# The program as people use it: messages, exit codes, files, signals, ranks. Prints TAP.
# run.sh COURANT BITS COMPARE EXAMPLE SOURCE PYTHON
courant=$1 bits=$2 compare=$3 example=$4 source=$5 python=$6
deck=$source/models/one-layer.yaml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
count=0

ok() { # ok STATUS NAME
  count=$((count + 1))
  if [ "$1" -eq 0 ]; then echo "ok $count - $2"; else
    echo "not ok $count - $2"
    [ -f out ] && sed 's/^/# out: /' out | head -5
    [ -f err ] && sed 's/^/# err: /' err | head -5
  fi
}

skip() { # skip NAME REASON
  count=$((count + 1))
  echo "ok $count - $1 # SKIP $2"
}

# fails STATUS MESSAGE ARGUMENTS..: this exit status, one line on stderr with this message, and no file left behind
fails() {
  status=$1 message=$2
  shift 2
  "$courant" "$@" >out 2>err
  got=$?
  left=$(ls | grep -v -e '^out$' -e '^err$' -e '^kept')
  if [ "$got" -eq "$status" ] && [ "$(wc -l <err)" -eq 1 ] && grep -qF -- "$message" err && [ -z "$left" ]; then
    ok 0 "$message"
  else
    echo "# status $got, left: $left"
    ok 1 "$message"
  fi
}

# ---- usage ----
fails 2 "courant: unknown command 'mpa'; did you mean 'map'?" mpa "$deck"
fails 2 "courant: 'courant map' needs a MODEL directly behind it" map
fails 2 "courant: 'courant map' needs a MODEL directly behind it" map -points 4x4
fails 2 "courant: nothing.yaml: No such file or directory" map nothing.yaml
fails 2 "unexpected word 'more'; MODEL stands directly after 'map', options behind it" map "$deck" more
fails 2 "-force takes no value, not 'x.yaml'; MODEL stands directly after 'map'" map "$deck" -force x.yaml
fails 2 "-output needs a value: FILE" map "$deck" -output
fails 2 "unknown option -pointz; did you mean '-points'?" map "$deck" -pointz 4x4
fails 2 "unknown option -hesian_max_eps_tol; did you mean '-hessian_max_eps_tol'?" map "$deck" -hesian_max_eps_tol 1e-8
fails 2 "unknown option -eps_toll; did you mean '-eps_tol'?" map "$deck" -eps_toll 1e-8
fails 2 "unknown option -ksp_type; did you mean '-probe_ksp_type'?" map "$deck" -ksp_type cg
fails 2 "Unknown EPS type given: nonsense" map "$deck" -eps_type nonsense
fails 2 "-points 4y4: expected learning rates x weight decays, such as 64x64" map "$deck" -points 4y4
fails 2 "-learning_rate -1: expected numbers above 0" map "$deck" -learning_rate -1
fails 2 "-threads 0: expected a number from 1 to 4096" map "$deck" -threads 0
fails 2 "-memory lots: expected an amount such as 2GB" map "$deck" -memory lots
fails 2 "-memory 100KB is too little for this model: it takes at least" map "$deck" -memory 100KB
fails 2 "-isa sse9: this machine and build have baseline" map "$deck" -isa sse9
fails 2 "-ts_type mimex: this stepper cannot be probed" map "$deck" -ts_type mimex
fails 2 "-force starts again and -resume goes on: one of them" map "$deck" -force -resume
fails 2 "one-layer.yaml:5: network.0.conv: a 300x300 kernel is larger than the 64x64 input with padding 0" map "$deck" -set network.0.conv.kernel=300
fails 4 "-output nowhere/x.h5: cannot write to the folder nowhere: No such file or directory" map "$deck" -output nowhere/x.h5
fails 2 "nothing.h5: No such file or directory" info nothing.h5
fails 2 "no help on 'nothing'" help nothing

# ---- data files ----
deck_of() { # deck_of FILE DATA: a small model on this data
  printf '%s\n' "data: $2" "network: [{conv: {channels: 1, kernel: 3}}, global_mean]" "loss: logistic" >"$1"
}
deck_of kept-idx.yaml "{source: idx, images: kept-images, labels: kept-labels}"
fails 2 "kept-idx.yaml:1: data.images: kept-images: No such file or directory" info kept-idx.yaml
printf '\000\000\010\003\000\000\000\002\000\000\000\003\000\000\000\003123456789123456789' >kept-images
printf '\000\000\010\001\000\000\000\002\001\000' >kept-labels
"$courant" info kept-idx.yaml >out 2>err
ok $? "images and labels of idx files"
gzip <kept-images >kept-packed && "$courant" info kept-idx.yaml -set data.images=kept-packed >out 2>err
ok $? "compressed, under any name"
fails 2 "-set data.images=kept-labels: kept-labels: holds labels (0x00000801); expected images (0x00000803)" info kept-idx.yaml -set data.images=kept-labels
head -c 30 kept-images >kept-torn
fails 2 "-set data.images=kept-torn: kept-torn: cut short: 14 bytes of images, its header announces 18" info kept-idx.yaml -set data.images=kept-torn
fails 2 "-set data.normalise=standart: unknown normalise 'standart'; did you mean 'standard'?" info kept-idx.yaml -set data.normalise=standart
deck_of kept-cifar.yaml "{source: cifar10, files: [kept-images, kept-torn]}"
fails 2 "kept-cifar.yaml:1: data.files: kept-images: 34 bytes are no multiple of 3073, a record of the binary version of CIFAR-10" info kept-cifar.yaml
deck_of kept-hdf5.yaml "{source: hdf5, file: kept-images}"
fails 2 "kept-hdf5.yaml:1: data.file: kept-images: not an HDF5 file, or damaged" info kept-hdf5.yaml
rm kept-*

# ---- networks that do not fit, and labels ----
net_of() { # net_of LAYERS [LOSS]: kept.yaml, these layers on six 8 x 8 images of 3 classes
  printf '%s\n' "data: {source: noise, size: 8, samples: 6, classes: 3, seed: 1}" "network: [$1]" "loss: ${2:-softmax}" >kept.yaml
}
net_of "{conv: {channels: 2, kernel: 3}}, {dense: {features: 3}}"
fails 2 "kept.yaml:2: network.1.dense: dense needs a flat input, not 6 x 6 x 2: put flatten before it" info kept.yaml
net_of "{residual: {layers: [{conv: {channels: 2, kernel: 3}}]}}, global_mean"
fails 2 "kept.yaml:2: network.0.residual: layers give 6 x 6 x 2 but the shortcut 8 x 8 x 1" info kept.yaml
net_of "tanh, {max_pool: {size: 3}}, flatten, {dense: {features: 3}}"
fails 2 "kept.yaml:2: network.1.max_pool: 3x3 windows with stride 3x3 do not tile the 8x8 input" info kept.yaml
net_of "flatten, {dense: {features: 2}}"
fails 2 "kept.yaml:3: loss: the softmax loss needs labels that are classes: 0, 1, .. below the number of outputs; training sample 0 has 2" info kept.yaml
net_of "flatten, {dense: {features: 3}}" logistic
fails 2 "kept.yaml:3: loss: the logistic loss needs a network with one output" info kept.yaml

# ---- train: what it refuses ----
# momentum, mini-batches, augmentation and batch norm in single precision
cat >kept-train.yaml <<'YAML'
data: {source: glyphs, size: 8, classes: 4, samples: 50, test_samples: 20, seed: 3, augment: {crop: 1, flip: true}}
network: [{conv: {channels: 3, kernel: 3, padding: same}}, batch_norm, swish, global_mean, {dense: {features: 4}}]
loss: softmax
statistics_batch: 20
weights: {init: he, seed: 2}
train: {rule: momentum, momentum: 0.9, learning_rate: 0.1, weight_decay: 1e-4, batch: 16, epochs: 3, precision: single}
YAML
refused() { # refused MESSAGE SET: this value is the user's error
  fails 2 "$1" train kept-train.yaml -set "$2"
}
refused "kept-train.yaml:6: train: batch: 51 is more than the 50 samples there are" train.batch=51
refused "kept-train.yaml:6: train: batch: batch_norm cannot normalise over one sample, and 50 samples in batches of 7 leave one" train.batch=7
refused "kept-train.yaml:1: statistics_batch: batch_norm cannot normalise over one sample, and 50 samples in groups of 49 leave one" statistics_batch=49
refused "-set train.learning_rat=1: unknown key; did you mean 'learning_rate'?" train.learning_rat=1
refused "-set train.rule=momentun: unknown rule 'momentun'; did you mean 'momentum'?" train.rule=momentun
refused "-set train.schedule=cosin: unknown schedule 'cosin'; did you mean 'cosine'?" train.schedule=cosin
refused "-set train.schedule.step.factor=0.1: the key 'at' is missing (times at which the rate changes)" train.schedule.step.factor=0.1
refused "-set train.schedule.tehn=cosine: unknown key; did you mean 'then'?" train.schedule.warmup=1,train.schedule.tehn=cosine
refused "-set train.ensemble.seed=[1]: unknown key; did you mean 'seeds'?" "train.ensemble.seed=[1]"
refused "-set train.precision=half: expected double | single, not half" train.precision=half
refused "kept-train.yaml:6: train: expected either steps or epochs, not both" train.steps=5
refused "kept-train.yaml:6: train: epochs: what is recorded takes" train.epochs=100000000
refused "-set train.layer_rates={9: 2}: the network has no parameter '9'" "train.layer_rates={9: 2}"
fails 2 "-memory 100KB is too little for this model: it takes at least" train kept-train.yaml -memory 100KB -set train.sharpness_every=5
fails 2 "courant: 'courant train' needs a MODEL directly behind it" train
fails 4 "-output nowhere/x.h5: cannot write to the folder nowhere: No such file or directory" train kept-train.yaml -output nowhere/x.h5

# ---- what is printed ----
"$courant" help >out 2>err && grep -q "courant map MODEL" out
ok $? "help lists the commands"
"$courant" help map >out 2>err && grep -q -- "-hessian_max_eps_" out && grep -q -- "-resume" out
ok $? "help of a command lists its options"
"$courant" help deck >out 2>err && grep -q "kernel" out && grep -q "zero_frozen" out && grep -q "warmup" out && grep -q "seeds" out
ok $? "help deck lists the keys"
"$courant" map --help >out 2>err && grep -q -- "-output FILE" out
ok $? "map --help is help map"
"$courant" --version >out 2>err && grep -q "PETSc.*SLEPc.*HDF5" out
ok $? "--version names the libraries"
"$courant" info "$deck" >out 2>err && grep -q "0.weight \[1, 1, 8, 8\]" out
ok $? "info of a deck shows layers and parameter names"

# ---- a run and its file ----
"$courant" map "$deck" -points 6x6 -output kept.h5 >out 2>err
ok $? "map succeeds"
[ -f kept.h5 ] && [ ! -f kept.h5.partial ] && [ ! -f kept.h5.tmp ]
ok $? "the file is there, and nothing beside it"
grep -q "local check:  36 of 36 cells decided, 36 agree" out && grep -q "kept.h5 written" out && grep -q "worst eigenvalue residual" out
ok $? "limits, residual, verdicts and file are printed"
fails 2 "kept.h5 is there already; -force writes over it" map "$deck" -points 6x6 -output kept.h5
"$courant" map "$deck" -points 6x6 -output kept.h5 -force -quiet >out 2>err && [ ! -s out ] && [ ! -s err ]
ok $? "-force writes over it, -quiet says nothing"
"$courant" info kept.h5 >out 2>err && grep -q "/map/growth .*6 x 6" out && grep -q "complete" out
ok $? "info of a result lists its datasets"
fails 2 "courant: -threads has no effect here" info kept.h5 -threads 1
"$courant" map "$deck" -points 3x3 -output kept-malloc.h5 -quiet -malloc_debug -malloc_dump >out 2>err && [ ! -s out ] && [ ! -s err ]
ok $? "PETSc finds no memory left"
"$courant" map "$deck" -points 3x3 -output kept-view.h5 -quiet -nothing_view >out 2>err
[ $? -eq 2 ] && grep -q "nothing has read the option -nothing_view; the results are written" err && [ -f kept-view.h5 ]
ok $? "a viewer that nothing reads is an error at the end"
"$courant" map "$source/models/one-layer-noise.yaml" -points 4x2 -output kept-open.h5 -quiet -hessian_max_eps_max_it 1 -hessian_max_eps_ncv 3 >out 2>err
[ $? -eq 3 ] && grep -q "2 of 2 weight decays did not converge; they are flagged in the result file" err && [ -f kept-open.h5 ]
ok $? "a solver that does not converge is flagged and counted"

# ---- map: rules ----
fails 2 "-rule momentun: unknown rule; did you mean 'momentum'?" map "$deck" -rule momentun
fails 2 "rule adam has a map with linearise: trained alone: at rest its gradients are 0" map "$deck" -rule adam
fails 2 "-ts_type rk steps the gradient flow: it goes with -rule gd, not with momentum" map "$deck" -rule momentum -ts_type rk
fails 2 "lenet.yaml:15: train: a map is of full batches; courant spectrum has the limits of mini-batches" map "$source/models/lenet.yaml"
fails 2 "decoupled decay of some weights and not of others mixes the modes of momentum" map "$source/models/one-layer-noise.yaml" -rule momentum \
  -set train.decoupled=true,weights.decay=kernels,network.0.conv.bias=true
fails 2 "-set map.cross_check.refine=0: 0 is out of range" map "$deck" -set map.cross_check.refine=0
"$courant" map "$deck" -points 4x4 -rule nesterov -set train.decoupled=true -output kept-rule.h5 -malloc_debug -malloc_dump >out 2>err && [ ! -s err ] &&
  grep -q "4 weight decays, momentum, momentum 0.9, nesterov, decoupled decay" out && grep -q "16 agree, 0 disagree" out
ok $? "the map of another rule than the deck's"
"$courant" info kept-rule.h5 >out 2>err && grep -q "/map/transient_growth .*4 x 4" out
ok $? "which grows for a while first"

# ---- train ----
"$courant" train kept-train.yaml -threads 1 -output kept-run.h5 >out 2>err && grep -q "took 12 of 12 steps: loss" out &&
  grep -q "test loss .*accuracy" out && grep -q "kept-run.h5 written" out
ok $? "train prints what it did"
fails 2 "kept-run.h5 is there already; -force writes over it" train kept-train.yaml -output kept-run.h5
"$courant" train kept-train.yaml -threads 1 -output kept-run.h5 -force -quiet -malloc_debug -malloc_dump >out 2>err && [ ! -s out ] && [ ! -s err ]
ok $? "-force writes over it, -quiet says nothing, PETSc finds no memory left"
"$courant" info kept-run.h5 >out 2>err && grep -q "/weights/0.weight .*3 x 1 x 3 x 3 " out && grep -q "/weights/1.running_var" out && grep -q "/trajectory/loss .*12 " out
ok $? "info lists trajectory and weights"
"$courant" train kept-train.yaml -threads 1 -output kept-on.h5 -quiet -set weights.init=file,weights.file=kept-run.h5 >out 2>err
ok $? "train goes on from the weights of a run"
"$courant" train kept-train.yaml -threads 1 -output kept-away.h5 -set train.learning_rate=1000,train.weight_decay=1 >out 2>err &&
  grep -q "diverged after [0-9]* of 12 steps" out && [ "$("$compare" kept-away.h5 /trajectory diverged_at)" -ge 1 ] &&
  [ "$("$compare" kept-run.h5 /trajectory diverged_at)" -eq -1 ]
ok $? "a run that diverges says so, stops and is no failure"
"$courant" train kept-train.yaml -threads 1 -output kept-away.h5 -force -set train.learning_rate=1e200,train.sharpness_every=1,train.precision=double >out 2>err &&
  grep -q "diverged after 1 of 12 steps" out && grep -q "^sharpness .* at step 0;" out
ok $? "nor is one whose sharpness is measured at every step"

# stopped SIGNAL FILE COMMAND MODEL OPTIONS..: a longer run gets the signal after its first checkpoint; its exit status
stopped() {
  signal=$1 file=$2
  shift 2
  "$courant" "$@" -output "$file" -quiet >out 2>err &
  for _ in $(seq 400); do
    [ -f "$file.partial" ] && break
    sleep 0.05
  done
  kill -s "$signal" $!
  wait $! 2>/dev/null
}

# resumes SIGNAL STATUS NAME WHOLE COMMAND MODEL OPTIONS..: the same, then -resume: the file of a run that nothing stopped
resumes() {
  signal=$1 expected=$2 name=$3 whole=$4
  shift 4
  rm -f kept-half.h5
  stopped "$signal" kept-half.h5 "$@"
  status=$?
  [ $status -eq "$expected" ] && [ -f kept-half.h5.partial ] && [ ! -f kept-half.h5 ]
  ok $? "$name: SIG$signal leaves the .partial and no file that looks whole, exit status $expected (was $status)"
  [ "$signal" = KILL ] || grep -q "interrupted; kept-half.h5.partial holds .*, -resume goes on" err
  ok $? "$name: SIG$signal says what is kept"
  "$courant" "$@" -output kept-half.h5 -quiet -resume >out 2>err && "$compare" "$whole" kept-half.h5 >>out
  ok $? "$name: -resume after SIG$signal gives the uninterrupted file"
}

# ---- train: interruptions ----
# trained SIGNAL STATUS NAME MODEL OPTIONS..
trained() {
  signal=$1 expected=$2 name=$3
  shift 3
  "$courant" train "$@" -threads 1 -output kept-unstopped.h5 -force -quiet >out 2>err
  resumes "$signal" "$expected" "$name" kept-unstopped.h5 train "$@" -threads 1
}
cat >kept-adam.yaml <<'YAML'
data: {source: glyphs, size: 8, classes: 4, samples: 50, seed: 3}
network: [{conv: {channels: 3, kernel: 3, padding: same}}, tanh, {max_pool: {size: 2}}, global_mean, {dense: {features: 4}}]
loss: softmax
weights: {init: he, seed: 2}
train: {rule: adam, learning_rate: 0.01, weight_decay: 1e-4, batch: full, steps: 3000, checkpoint_every: 50, sharpness_every: 70, schedule: {warmup: 50, then: cosine}}
YAML
long="-set train.epochs=4000,train.checkpoint_every=200"
trained KILL 137 "momentum, batch norm, augmented mini-batches, single precision" kept-train.yaml $long
trained INT 130 "Adam, cosine schedule" kept-adam.yaml
trained INT 130 "sharpness at every step" kept-adam.yaml -set train.steps=300,train.sharpness_every=1,train.checkpoint_every=20
trained TERM 143 "ensemble" kept-train.yaml -set "train.epochs=1000,train.ensemble.seeds=[1,2,3],train.ensemble.perturb=[1,3]"
stopped KILL kept-other.h5 train kept-train.yaml -threads 1 $long
fails 2 "kept-other.h5.partial holds an interrupted run; -resume goes on with it, -force starts again" train kept-train.yaml -output kept-other.h5
fails 2 "kept-other.h5.partial cannot be resumed: its kind of result differs; -force starts again" train kept-train.yaml -output kept-other.h5 -resume -set train.ensemble.seeds=[1]
fails 2 "kept-other.h5.partial cannot be resumed: its -set differs; -force starts again" train kept-train.yaml -output kept-other.h5 -resume

# one rank alone gets the signal, in the middle of an eigenproblem that all share
rm -f kept-half.h5
mpiexec -n 2 sh -c 'echo $$ >kept-pid-$OMPI_COMM_WORLD_RANK; exec "$@"' sh "$courant" train kept-adam.yaml -threads 1 -output kept-half.h5 -quiet \
  -set train.steps=100000,train.sharpness_every=1,train.checkpoint_every=5 >out 2>err &
for _ in $(seq 400); do
  [ -f kept-half.h5.partial ] && break
  sleep 0.05
done
kill -s TERM "$(cat kept-pid-1)"
wait $! 2>/dev/null
[ $? -eq 143 ] && [ -f kept-half.h5.partial ] && grep -q "interrupted; kept-half.h5.partial holds what is done, -resume goes on" err
ok $? "a signal to one of two ranks stops both and keeps the run"
rm -f kept-half.h5.partial kept-pid-*

# ---- train: ranks, threads, memory ----
# the sharpness is the same for threads and memory; over ranks its Krylov space adds up in another order
for model in kept-train.yaml kept-adam.yaml; do
  for way in "1 2 1GB 3" "1 1 4MB 3" "2 1 1GB 0" "3 2 12MB 0"; do
    set -- $way
    set=train.epochs=5,train.sharpness_every=$4
    [ $model = kept-adam.yaml ] && set=train.steps=30,train.sharpness_every=$4
    "$courant" train $model -threads 1 -output kept-one.h5 -force -quiet -set $set >out 2>err
    mpiexec -n "$1" "$courant" train $model -threads "$2" -memory "$3" -output kept-way.h5 -force -quiet -set $set >out 2>err &&
      "$compare" kept-one.h5 kept-way.h5 >>out
    ok $? "${model#kept-}: $1 ranks, $2 threads, $3 write the same file"
  done
done
"$courant" train kept-adam.yaml -threads 1 -output kept-nu.h5 -set train.steps=71 >out 2>err && grep -q "preconditioned [0-9.]* +- .*; adam is stable below" out &&
  "$courant" info kept-nu.h5 >out 2>err && grep -q "/trajectory/preconditioned_residual" out
ok $? "Adam's preconditioned sharpness stands beside its limit"
seeds="train.ensemble.seeds=[1,2,3],train.ensemble.perturb=[1,2,3]"
"$courant" train kept-train.yaml -threads 1 -output kept-ensemble.h5 -set "$seeds" >out 2>err && grep -q "std over k" out
ok $? "an ensemble prints its table"
mpiexec -n 2 "$courant" train kept-train.yaml -threads 1 -output kept-way.h5 -force -quiet -set "$seeds" >out 2>err && "$compare" kept-ensemble.h5 kept-way.h5 >>out
ok $? "an ensemble on two ranks is that of one"

# ---- spectrum ----
numbers=$source/tests/verify/torch/two_layer.h5 # an HDF5 file with a direction of 95 numbers
printf '%s\n' "data: {source: noise, height: 6, width: 5, samples: 6, classes: 3, seed: 1}" \
  "network: [{conv: {channels: 2, kernel: 3}}, tanh, flatten, {dense: {features: 3}}]" "loss: softmax" >kept.yaml
"$courant" spectrum kept.yaml -threads 1 -direction "$numbers" -output kept-ends.h5 >out 2>err && grep -q "^largest  eigenvalue" out &&
  grep -q "along the largest, gradient descent .* is stable below the learning rate" out && "$courant" info kept-ends.h5 >out 2>err && grep -q "/direction/d3 *95 " out
ok $? "spectrum writes both ends and the derivatives along a direction"
fails 3 "no spectrum at these weights: the loss is" spectrum kept.yaml -set weights.scale=1e200,network.1=swish -quiet
fails 2 "-direction nothing.h5: No such file or directory" spectrum kept.yaml -direction nothing.h5
fails 2 "-direction kept.yaml: not an HDF5 file, or damaged" spectrum kept.yaml -direction kept.yaml
fails 2 "-direction kept-run.h5: expected a dataset 'direction' of 95 numbers, one a weight" spectrum kept.yaml -direction kept-run.h5
fails 2 "expected a dataset 'direction' of 76 numbers, one a weight" spectrum kept.yaml -direction "$numbers" -set network.0.conv.channels=1,network.0.conv.kernel=1,network.3.dense.features=3,network.0.conv.bias=false,network.3.dense.bias=false,data.height=5
fails 2 "two_layer.h5: an HDF5 file, but no result of courant" info "$numbers"

# ---- map: interruptions ----
"$courant" map "$deck" -points 16x16 -output kept-whole.h5 -quiet >out 2>err
ok $? "a longer run"
stopped KILL kept-killed.h5 map "$deck" -points 16x16 -checkpoint 0.3
fails 2 "kept-killed.h5.partial holds an interrupted run; -resume goes on with it, -force starts again" map "$deck" -points 16x16 -output kept-killed.h5
fails 2 "its /map/learning_rate differs; -force starts again" map "$deck" -points 12x16 -output kept-killed.h5 -resume
fails 2 "its -set differs; -force starts again" map "$deck" -points 16x16 -output kept-killed.h5 -resume -set weights.seed=8
"$courant" info kept-killed.h5.partial >out 2>err && grep -q "interrupted; -resume goes on" out
ok $? "info of a .partial"
for signal in KILL:137 INT:130 TERM:143; do
  resumes "${signal%:*}" "${signal#*:}" map kept-whole.h5 map "$deck" -points 16x16 -checkpoint 0.3
done

"$courant" map "$deck" -points 24x24 -rule momentum -output kept-refined.h5 -quiet -set map.cross_check.refine=3 >out 2>err
ok $? "a refined cross-check"
"$courant" info kept-refined.h5 >out 2>err && grep -q "/trainer/global/interpolated" out && [ "$("$compare" kept-refined.h5 /trainer/local cells_interpolated)" -gt 100 ]
ok $? "leaves cells to be interpolated"
resumes KILL 137 "refined map" kept-refined.h5 map "$deck" -points 24x24 -rule momentum -checkpoint 0.3 -set map.cross_check.refine=3
stopped KILL kept-ruled.h5 map "$deck" -points 24x24 -rule momentum -checkpoint 0.3
fails 2 "kept-ruled.h5.partial cannot be resumed: its rule differs; -force starts again" map "$deck" -points 24x24 -rule nesterov -output kept-ruled.h5 -resume

# ---- a full disk ----
# a limit on the size of files stands for it; MPI needs some room for its own
large="-points 1000x3000 -set map.linearise=init,map.cross_check.local=false,map.cross_check.global=false"
(ulimit -f 20000; exec "$courant" map "$deck" $large -output kept-full.h5 -quiet >out 2>err)
[ $? -eq 4 ] && grep -q "cannot write the result: File too large" err && [ ! -f kept-full.h5 ] && [ ! -f kept-full.h5.tmp ]
ok $? "a full disk is an error, and no file looks whole"

# ---- ranks, threads, memory ----
"$courant" map "$deck" -points 9x9 -output kept-1.h5 -quiet -threads 1 >out 2>err
for n in 2 3; do
  mpiexec -n $n "$courant" map "$deck" -points 9x9 -output "kept-$n.h5" -quiet >out 2>err && "$compare" kept-1.h5 "kept-$n.h5" >>out
  ok $? "$n ranks write the file of one"
done
mpiexec -n 3 "$courant" map "$deck" -points 24x24 -rule momentum -output kept-way.h5 -force -quiet -set map.cross_check.refine=3 >out 2>err && "$compare" kept-refined.h5 kept-way.h5 >>out
ok $? "3 ranks refine as one does"
"$bits" "$source/tests/cli/noise-100.yaml" -threads 1 >reference 2>err
for way in "1 2 1GB" "1 1 4MB" "2 1 1GB" "2 2 13MB" "3 1 1GB" "3 2 20MB"; do
  set -- $way
  mpiexec -n "$1" "$bits" "$source/tests/cli/noise-100.yaml" -threads "$2" -memory "$3" >out 2>err && cmp -s reference out
  ok $? "loss, gradient and product of 100 samples: $1 ranks, $2 threads, $3"
done
rm reference

# ---- the library ----
"$example" "$deck" >out 2>err && grep -q "^lambda in \[.*\]" out
ok $? "a program on the public header and the shared library"

# ---- other programs read it ----
if "$python" -c 'import h5py' 2>/dev/null; then
  "$python" - >out 2>err <<'PY'
import h5py, numpy as np
f = h5py.File("kept.h5")
assert f.attrs["complete"] == 1
g = f["map/growth"]
assert g.shape == (6, 6) and [len(d) for d in g.dims] == [1, 1]
assert np.allclose(g.dims[1][0][:], f["map/learning_rate"][:])
for d in ("map/growth", "map/regime", "trainer/local/verdict", "trainer/global/amplitude"):
    assert f[d].attrs["long_name"] and f[d].attrs["units"]
assert bytes(f["map/regime"].attrs["flag_meanings"]).split()[1] == b"restrained"
PY
  ok $? "h5py opens the file, with scales and meanings"
else skip "h5py opens the file" "no h5py"; fi
if "$python" -c 'import xarray, h5netcdf' 2>/dev/null; then
  "$python" - >out 2>err <<'PY'
import xarray as xr
for group in ("map", "trainer/local", "trainer/global"):
    d = xr.open_dataset("kept.h5", group=group, engine="h5netcdf")
    assert d.sizes["learning_rate"] == 6 and d.sizes["weight_decay"] == 6
assert float(xr.open_dataset("kept.h5", group="map", engine="h5netcdf").growth.sel(weight_decay=0.1).min()) > 0
PY
  ok $? "xarray opens every group"
else skip "xarray opens every group" "no xarray or h5netcdf"; fi
if "$python" -c 'import h5py, matplotlib' 2>/dev/null; then
  "$python" "$source/notebooks-export/plot.py" kept.h5 -o kept.png >out 2>err && [ -s kept.png ]
  ok $? "plot.py draws the map"
  for run in run ensemble; do
    "$python" "$source/notebooks-export/plot.py" kept-$run.h5 -o kept-$run.png >out 2>err && [ -s kept-$run.png ]
    ok $? "plot.py draws a training ($run)"
  done
  "$python" "$source/notebooks-export/plot.py" nothing.h5 >out 2>err
  [ $? -eq 1 ] && [ "$(wc -l <err)" -eq 1 ]
  ok $? "plot.py says what is wrong in one line"
else skip "plot.py draws the map" "no h5py or matplotlib"; fi

# ---- a network from PyTorch ----
if "$python" -W ignore -c 'import torch, h5py' 2>/dev/null; then
  "$python" -W ignore "$source/notebooks-export/from_torch.py" --demo kept-net.yaml >out 2>err &&
    "$courant" spectrum kept-net.yaml -threads 1 -output kept-net-spectrum.h5 >out 2>err &&
    grep -q "  reference of kept-net.h5: loss, gradient and logits agree to [0-9]e-1[3-7]" out && grep -q "^largest  eigenvalue" out
  ok $? "spectrum of an exported network finds PyTorch's numbers"
  mpiexec -n 2 "$courant" train kept-net.yaml -threads 1 -output kept-net-train.h5 -set train.steps=2 >out 2>err && grep -q "logits agree to [0-9]e-1[3-7]" out
  ok $? "so does train, on two ranks"
  "$courant" info kept-net.yaml -set data.limit=60 >out 2>err && grep -q "reference of kept-net.h5 not checked: it is over 120 samples, the deck takes 60" out
  ok $? "fewer samples cannot be checked, and it says so"
  "$python" -c "import h5py; h5py.File('kept-net.h5', 'r+')['4.weight'][3, 2, 1, 1] += 1e-5" >out 2>err
  for command in info spectrum train; do
    fails 2 "kept-net.yaml:14: weights: kept-net.h5: its reference has the loss 0." $command kept-net.yaml -threads 1 -output kept-changed.h5
  done
  "$courant" info kept-net.yaml -set weights.scale=2 >out 2>err && grep -q "not checked: the deck scales the weights by 2" out
  ok $? "scaled weights are not those of the reference"
else skip "a network from PyTorch" "no torch or h5py"; fi

echo "1..$count"
