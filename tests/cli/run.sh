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
fails 2 "courant: unknown option -log_veiw; did you mean '-log_view'?" map "$deck" -log_veiw
fails 2 "courant: -eps_nev 0: Illegal value of nev" map "$deck" -eps_nev 0
fails 2 "courant: -ts_type rk -ts_rk_type 99: Unknown option 99" map "$deck" -ts_type rk -ts_rk_type 99
fails 2 "courant: -st_type sinvert: " map "$deck" -points 2x2 -st_type sinvert
for words in help "info $deck" "symbol $source/models/heat.yaml -output kept-out.h5 -force"; do
  "$courant" $words >/dev/full 2>err
  [ $? -eq 4 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q "cannot write to the standard output: No space left on device" err
  ok $? "courant ${words%% *} says that its output cannot be written"
done
fails 2 "unexpected word 'more'; MODEL stands directly after 'map', options behind it" map "$deck" more
fails 2 "-force takes no value, not 'x.yaml'; MODEL stands directly after 'map'" map "$deck" -force x.yaml
fails 2 "-output needs a value: FILE" map "$deck" -output
fails 2 "unknown option -pointz; did you mean '-points'?" map "$deck" -pointz 4x4
fails 2 "unknown option -hesian_max_eps_tol; did you mean '-hessian_max_eps_tol'?" map "$deck" -hesian_max_eps_tol 1e-8
fails 2 "unknown option -eps_toll; did you mean '-eps_tol'?" map "$deck" -eps_toll 1e-8
fails 2 "unknown option -ksp_type; did you mean '-probe_ksp_type'?" map "$deck" -ksp_type cg
fails 2 "-eps_type nonsense: unknown type; expected one of power, subspace, arnoldi," map "$deck" -eps_type nonsense
fails 2 "-ts_type eulr: unknown type; did you mean 'euler'?" map "$deck" -ts_type eulr
fails 2 "-probe_ts_type ruk: unknown type; did you mean 'rk'?" map "$deck" -probe_ts_type ruk
fails 2 "-eps_tol x: expected numbers" map "$deck" -eps_tol x
fails 2 "-eps_ncv 1.5: expected integers" map "$deck" -eps_ncv 1.5
fails 2 "-learning_rate 1,x: expected numbers" map "$deck" -learning_rate 1,x
sed 's/conv: {.*}/conv/' "$deck" >kept-bare.yaml
fails 2 "kept-bare.yaml:$(grep -n conv kept-bare.yaml | tail -1 | cut -d: -f1): network.0.conv: the key 'channels' is missing" info kept-bare.yaml
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

# ---- decks from pipes ----
"$courant" info "$deck" >kept-info 2>err
"$courant" info /dev/stdin <"$deck" >out 2>err && cmp -s kept-info out && cat "$deck" | "$courant" info /dev/stdin >out 2>err && cmp -s kept-info out
ok $? "a deck on standard input"
mkfifo kept-pipe
timeout 20 sh -c 'cat "$0" >kept-pipe' "$deck" &
"$courant" info kept-pipe >out 2>err && cmp -s kept-info out
ok $? "a deck in a named pipe"
deck_of kept-there.yaml "{source: idx, images: kept-images, labels: kept-labels}"
fails 2 "courant: /dev/stdin:1: data.images: kept-images: No such file or directory" info /dev/stdin <kept-there.yaml
"$courant" info kept-pipe >out 2>err &
sleep 1
kill -s TERM $!
wait $! 2>/dev/null
[ $? -eq 143 ] && grep -q "courant: interrupted" err
ok $? "a signal ends the wait for a pipe that nobody writes to"
fails 2 "courant: .: Is a directory" info .
fails 2 "courant: -set model=../evil: '../evil' names no file" train "$deck" -set model=../evil
fails 2 "courant: -set map.nonsense=3: unknown key" train "$deck" -set map.nonsense=3
fails 2 "courant: -set train.learning_rate=abc: " info "$deck" -set train.learning_rate=abc
fails 2 "map.learning_rate: -1 is out of range" info "$deck" -set map.learning_rate.from=-1,map.learning_rate.scale=linear
fails 2 "courant: /dev/zero: not a deck (a YAML text file of at most 10 MB)" info /dev/zero
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
refused "-set train.momentum=1: 1 is out of range: expected a number from 0 to 0.999999999" train.momentum=1
fails 2 "-set train.epsilon=0: 0 is out of range: expected a number from 1e-37" train "$deck" -set train.rule=adam,train.epsilon=0
refused "-set train.seed=1: the ensemble beside it has its own: leave one out" "train.ensemble.seeds=[1],train.seed=1"
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
"$courant" help deck >out 2>err && grep -q "kernel" out && grep -q "zero_frozen" out && grep -q "warmup" out && grep -q "seeds" out && grep -q "neumann" out && grep -q "upwind3" out
ok $? "help deck lists the keys"
"$courant" map --help >out 2>err && grep -q -- "-output FILE" out
ok $? "map --help is help map"
"$courant" --version >out 2>err && grep -q "PETSc.*SLEPc.*HDF5" out
ok $? "--version names the libraries"
"$courant" info "$deck" >out 2>err && grep -q "0.weight \[1, 1, 8, 8\]" out
ok $? "info of a deck shows layers and parameter names"
"$courant" info "$deck" -set data.size=20 -set network.0.conv.kernel=5 >out 2>err && grep -q "1 sample of 20 x 20 x 1 " out && grep -q "0.weight \[1, 1, 5, 5\]" out
ok $? "of two -set both count"

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
LC_ALL=C sed s/SNOD/XNOD/g kept.h5 >kept-damaged.h5
fails 2 "courant: kept-damaged.h5: damaged HDF5 file" info kept-damaged.h5
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
fails 2 "lenet.yaml:15: train: no map of batches of 64: the rule is not gd; -set train.batch=full gives the map of full batches" map "$source/models/lenet.yaml"
fails 2 "train: no map of batches of 2: a batch is larger than the data" map "$deck" -set train.batch=2
fails 2 "-sgd_steps has no effect here" map "$deck" -sgd_steps 100
fails 2 "unknown option -sgd_eps_toll; did you mean '-sgd_eps_tol'?" map "$deck" -set train.batch=1 -sgd_eps_toll 1e-8
fails 2 "a map is of constant learning rates; a schedule is for linearise: trained" map "$deck" -set train.schedule=cosine
fails 2 "decoupled decay of some weights and not of others mixes the modes of momentum" map "$source/models/one-layer-noise.yaml" -rule momentum \
  -set train.decoupled=true,weights.decay=kernels,network.0.conv.bias=true
fails 2 "-set map.cross_check.refine=0: 0 is out of range" map "$deck" -set map.cross_check.refine=0
"$courant" map "$deck" -points 4x4 -rule nesterov -set train.decoupled=true -output kept-rule.h5 -malloc_debug -malloc_dump >out 2>err && [ ! -s err ] &&
  grep -q "4 weight decays, momentum, momentum 0.9, nesterov, decoupled decay" out && grep -q "16 agree, 0 disagree" out
ok $? "the map of another rule than the deck's"
"$courant" info kept-rule.h5 >out 2>err && grep -q "/map/transient_growth .*4 x 4" out
ok $? "which grows for a while first"
cat >kept-batches.yaml <<'YAML'
data: {source: noise, size: 16, samples: 8, exponent: 2, mean: 0.5, seed: 4}
network: [{conv: {channels: 1, kernel: 3, bias: false}}, swish, global_mean]
loss: logistic
weights: {init: normal, std: 1, seed: 7}
train: {batch: 2}
map: {learning_rate: {from: 0.05, to: 20, points: 8, scale: log}, weight_decay: {from: 0.2, to: 10, points: 6, scale: log}, cross_check: {steps: 1000}}
YAML
"$courant" map kept-batches.yaml -threads 1 -output kept-batches.h5 >out 2>err && [ ! -s err ] &&
  grep -q "6 weight decays, gd, batches of 2 of 8 samples" out && grep -q "almost sure  .*mean square  .*of an epoch  .*full batches" out &&
  grep -q ", 0 disagree; growth off" out && grep -q "intervals of measured and predicted growth overlap in" out && grep -q "0 come to rest, .* stay bounded" out
ok $? "a map of mini-batches"
"$courant" info kept-batches.h5 >out 2>err && grep -q "/map/limit_epoch_low  *6 " out && grep -q "/map/growth_mean_square  *6 x 8 " out && grep -q "/trainer/local/growth_high  *6 x 8 " out
ok $? "its limits, growth and intervals are in the file"
"$courant" map kept-batches.yaml -points 3x2 -sgd_permutations 8 -sgd_steps 200 -sgd_dense 2 -output kept-way.h5 -force -quiet -malloc_debug -malloc_dump >out 2>err &&
  [ ! -s out ] && [ ! -s err ]
ok $? "no memory is left behind"

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
LC_ALL=C sed -i s/SNOD/XNOD/g kept-other.h5.partial
fails 2 "courant: kept-other.h5.partial: damaged HDF5 file" train kept-train.yaml -threads 1 -output kept-other.h5 -resume $long

# one rank alone gets the signal, in the middle of what all share
half_stopped() { # half_stopped COMMAND MODEL OPTIONS..
  rm -f kept-half.h5
  mpiexec -n 2 sh -c 'echo $$ >kept-pid-$OMPI_COMM_WORLD_RANK; exec "$@"' sh "$courant" "$@" -threads 1 -output kept-half.h5 -quiet >out 2>err &
  for _ in $(seq 400); do
    [ -f kept-half.h5.partial ] && break
    sleep 0.05
  done
  kill -s TERM "$(cat kept-pid-1)"
  wait $! 2>/dev/null
  [ $? -eq 143 ] && [ -f kept-half.h5.partial ] && grep -q "interrupted; kept-half.h5.partial holds what is done, -resume goes on" err
  ok $? "$1: a signal to one of two ranks stops both and keeps the run"
  rm -f kept-half.h5.partial kept-pid-*
}
half_stopped train kept-adam.yaml -set train.steps=100000,train.sharpness_every=1,train.checkpoint_every=5
half_stopped map "$deck" -points 200x200 -checkpoint 1

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
sed 's/epochs: 3/steps: 12/' kept-train.yaml >kept-steps.yaml
"$courant" train kept-steps.yaml -threads 1 -output kept-way.h5 -force -set "$seeds" >out 2>err && grep -q "mean of the last 3 epochs" out && ! "$compare" kept-ensemble.h5 kept-way.h5 2>&1 | grep -v "^\. differs: "
ok $? "an ensemble counted in steps is that of as many epochs"
if "$python" -c 'import h5py' 2>/dev/null; then
  "$courant" train kept-steps.yaml -threads 1 -output kept-way.h5 -force -quiet -set "$seeds,train.steps=14" >out 2>err &&
    "$python" -c 'import h5py; done = h5py.File("kept-way.h5")["ensemble/epoch"][:]; assert abs(done - [1, 2, 3, 3.64]).max() < 1e-12, done' >>out 2>err
  ok $? "steps that are left over are a part of an epoch"
else
  skip "steps that are left over are a part of an epoch" "python3-h5py is not there"
fi
mpiexec -n 2 "$courant" train kept-train.yaml -threads 1 -output kept-way.h5 -force -quiet -set "$seeds" >out 2>err && "$compare" kept-ensemble.h5 kept-way.h5 >>out
ok $? "an ensemble on two ranks is that of one"

# ---- spectrum ----
numbers=$source/tests/verify/torch/two_layer.h5 # an HDF5 file with a direction of 95 numbers
printf '%s\n' "data: {source: noise, height: 6, width: 5, samples: 6, classes: 3, seed: 1}" \
  "network: [{conv: {channels: 2, kernel: 3}}, tanh, flatten, {dense: {features: 3}}]" "loss: softmax" >kept.yaml
"$courant" spectrum kept.yaml -threads 1 -direction "$numbers" -output kept-ends.h5 >out 2>err && grep -q "^largest  *1  .* +- .*e-1[0-9]" out &&
  grep -q "along the largest, .* stable below the learning rate .* (gd), .* (momentum), .* (nesterov)" out && "$courant" info kept-ends.h5 >out 2>err && grep -q "/direction/d3 *95 " out
ok $? "spectrum writes both ends and the derivatives along a direction"
fails 3 "no spectrum at these weights: the loss is" spectrum kept.yaml -set weights.scale=1e200,network.1=swish -quiet
fails 2 "-direction nothing.h5: No such file or directory" spectrum kept.yaml -direction nothing.h5
fails 2 "-direction kept.yaml: not an HDF5 file, or damaged" spectrum kept.yaml -direction kept.yaml
fails 2 "-direction kept-run.h5: expected a dataset 'direction' of 95 numbers, one a weight" spectrum kept.yaml -direction kept-run.h5
fails 2 "expected a dataset 'direction' of 76 numbers, one a weight" spectrum kept.yaml -direction "$numbers" -set network.0.conv.channels=1,network.0.conv.kernel=1,network.3.dense.features=3,network.0.conv.bias=false,network.3.dense.bias=false,data.height=5
fails 2 "-operator: unknown word 'hesian'; did you mean 'hessian'?" spectrum kept.yaml -operator hesian
fails 2 "-which: unknown word 'smalest'; did you mean 'smallest'?" spectrum kept.yaml -which smalest
fails 2 "-nev 96: the operator has the dimension 95" spectrum kept.yaml -nev 96
fails 2 "-nev 0: expected 1 or more" spectrum kept.yaml -nev 0
fails 2 "-above asks for all eigenvalues of the upper end: leave out -nev" spectrum kept.yaml -above 1 -nev 2
fails 2 "-memory leaves" spectrum kept.yaml -nev 90 -memory 350KB
fails 2 "-weighted is for -operator ntk" spectrum kept.yaml -weighted
fails 2 "need each other" spectrum kept.yaml -operator preconditioned
fails 2 "-preconditioner kept-ends.h5: no /rule/second_moment" spectrum kept.yaml -operator preconditioned -preconditioner kept-ends.h5
fails 2 "unknown option -gn_eps_toll; did you mean '-gn_eps_tol'?" spectrum kept.yaml -operator gauss_newton -gn_eps_toll 1e-8
for operator in "gauss_newton -gn_eps_tol 1e-12" "ntk -which largest" "ntk -weighted -precision single" "layer_blocks -precision single" "hessian -above 0.5 -linearise zero"; do
  "$courant" spectrum kept.yaml -threads 1 -operator $operator -output kept-way.h5 -force >out 2>err && "$courant" info kept-way.h5 >out 2>err && grep -q "/spectrum/eigenvalue " out
  ok $? "spectrum of $operator"
done
expected() { # expected FOUND INTERVAL OPTIONS..: so many above 0.1, and this is what random probes say
  found=$1 interval=$2
  shift 2
  "$courant" spectrum kept.yaml -threads 1 -above 0.1 "$@" -output kept-way.h5 -force >out 2>err
  grep -q "^$found above 0.1" out && grep -q "random probes expect .* ($interval with 95 %), by .* products" out
}
# 27 by LAPACK; the intervals are those of chi-square with 4 and 8 numbers an eigenvalue, wider by the probes' quadrature
expected 27 "15 to 29" && ! grep -q "that excludes" out && "$courant" info kept-way.h5 >out 2>err && grep -q "/spectrum/above_estimate_high" out
ok $? "-above: the number that was found beside one that random probes expect"
expected 27 "22 to 29" -density
ok $? "-above with -density takes its probes"
expected ".*" ".*" -hessian_max_eps_max_it 1 -hessian_max_eps_ncv 18
[ $? -eq 0 ] && grep -q "  that excludes the [0-9]* found: chance, one time in 20, or some were missed" out
ok $? "-above: eigenvalues that were missed are missed by the probes' interval"
expected ".*" ".*" -operator layer_blocks && grep -q "^  3: .* found; random probes expect" out
ok $? "-above counts in each layer's block"
rates=train.rule=momentum,train.learning_rate=0.05,train.steps=40,train.batch=4
"$courant" train kept.yaml -threads 1 -output kept-way.h5 -quiet -force -set $rates >out 2>err &&
  "$courant" spectrum kept.yaml -threads 1 -output kept-two.h5 -force -set $rates,weights.init=file,weights.file=kept-way.h5 >kept-two 2>err &&
  "$courant" spectrum kept.yaml -threads 1 -output kept-one.h5 -force -linearise trained -set $rates >out 2>err &&
  [ "$(grep ' +- ' kept-two)" = "$(grep ' +- ' out)" ] && grep -q "at trained weights" out
ok $? "-linearise trained is at the weights that train ends with"
fails 2 "-linearise trained: an ensemble ends in many states" spectrum kept.yaml -linearise trained -set "train.ensemble.seeds=[1]"
fails 3 "no trained state: the run diverged after step 1" spectrum kept.yaml -linearise trained -set train.learning_rate=1e9 -quiet
mpiexec -n 2 "$courant" spectrum kept.yaml -threads 1 -operator ntk -nev 2 -output kept-way.h5 -force >kept-two 2>err &&
  "$courant" spectrum kept.yaml -threads 1 -operator ntk -nev 2 -output kept-way.h5 -force >out 2>err &&
  [ "$(grep -c ' +- ' out)" -eq 4 ] && [ "$(sed -n 's/ +- .*//p' kept-two | head -2 | cut -c1-30)" = "$(sed -n 's/ +- .*//p' out | head -2 | cut -c1-30)" ]
ok $? "a tangent kernel on two ranks is that of one"
"$courant" train kept.yaml -threads 1 -output kept-moments.h5 -quiet -set train.rule=adam,train.learning_rate=0.01,train.steps=20 >out 2>err &&
  "$courant" spectrum kept.yaml -threads 1 -operator preconditioned -preconditioner kept-moments.h5 -output kept-way.h5 -force >out 2>err && grep -q "stable below the learning rate .* (adam)" out
ok $? "spectrum preconditioned by the moments of a run"
"$courant" spectrum kept.yaml -threads 1 -nev 3 -hessian_max_eps_max_it 1 -hessian_max_eps_ncv 5 -output kept-way.h5 -force >out 2>err
[ $? -eq 3 ] && grep -q "3 results did not converge; flagged in the result file" err && grep -c "not converged" out | grep -q 3
ok $? "eigenvalues that did not converge are written, flagged and counted"
fails 2 "two_layer.h5: an HDF5 file, but no result of courant" info "$numbers"
# softmax on separable data has no minimum without decay
"$courant" map kept.yaml -threads 1 -learning_rate 0.1 -weight_decay 0 -output kept-way.h5 -force >out 2>err
[ $? -eq 3 ] && grep -q "no weight decay has an equilibrium; all are flagged in the result file" err && [ "$(wc -l <err)" -eq 1 ] && "$courant" info kept-way.h5 >out 2>err
ok $? "a map without any equilibrium is written and ends with status 3"

# ---- symbol ----
linear=$source/models/paper/linear.yaml photograph=$source/models/photograph.yaml
"$courant" help symbol >out 2>err && grep -q -- "-linearise zero|init" out && grep -q -- "-probe_ts_" out
ok $? "help symbol lists its options"
"$courant" symbol "$linear" -threads 1 -output kept-linear.h5 >out 2>err && grep -q "^symbol  *1.07374182e+09 .* none$" out &&
  grep -q "^symbol, periodic  *262949061 " out && grep -q "^operator, s frozen  *12960000 .* 1.296e+07 to 2e+08$" out &&
  grep -q "^slack 82.8504 (periodic 20.2893)" out
ok $? "the paper's checkerboard: bounds, operator, slack"
grep -q "^at learning rate 1e-08 the bound leaves no weight decay, yet the operator is stable from" out && grep -q "normalisation sum over the 225 x 225 outputs" out
ok $? "where the bound's window is empty and the operator's is not, it says so"
"$courant" symbol "$photograph" -threads 1 -output kept-photograph.h5 >out 2>err && grep -q "^slack 13.1157" out && grep -q "w_x pi" out &&
  "$courant" info kept-photograph.h5 >out 2>err && grep -q "/symbol/first_unstable_kernel  *2 x 24 x 24" out && grep -q "/symbol/amplification  *71 x 36" out
ok $? "symbol draws, writes frequencies and kernels"
"$courant" symbol "$photograph" -threads 1 -output kept-photograph.h5 -force -quiet -malloc_debug -malloc_dump >out 2>err && [ ! -s out ] && [ ! -s err ]
ok $? "symbol -quiet says nothing, PETSc finds no memory left"
"$courant" symbol "$photograph" -threads 1 -output kept-cn.h5 -ts_type cn >out 2>err && grep -q "^operator, exact .* none .* above 0$" out
ok $? "Crank-Nicolson has no limit"
"$courant" symbol "$deck" -threads 1 -output kept-growing.h5 >out 2>err && grep -q "^at weight decay 1.25 the linearised flow itself grows" out
ok $? "a flow that grows is told apart from a step that is too long"
"$courant" symbol "$photograph" -threads 1 -output kept-open.h5 -force -quiet -hessian_max_eps_max_it 1 -hessian_max_eps_ncv 3 >out 2>err
[ $? -eq 3 ] && grep -q "2 results did not converge or broke a bound; the result file flags them" err && [ -f kept-open.h5 ]
ok $? "symbol flags and counts what does not converge"
fails 2 "-linearise trained: expected zero or init" symbol "$photograph" -linearise trained
fails 2 "-learning_rate 0: expected a number above 0" symbol "$photograph" -learning_rate 0
fails 2 "-weight_decay -1: expected a number of at least 0" symbol "$photograph" -weight_decay -1
fails 2 "-resume: courant symbol starts anew" symbol "$photograph" -resume
fails 2 "train: a one-layer symbol needs a rule with an amplification factor, not adam" symbol "$photograph" -set train.rule=adam
fails 2 "-ts_type rk steps the gradient flow; the deck's rule is momentum" symbol "$photograph" -ts_type rk -set train.rule=momentum,train.momentum=0.9
fails 2 "unknown option -probe_ts_typ; did you mean '-probe_ts_type'?" symbol "$photograph" -probe_ts_typ rk
cat >kept-signs.yaml <<'YAML'
data: {source: noise, size: 12, exponent: 1, mean: 0.3, samples: 90, seed: 6}
network: [{conv: {channels: 1, kernel: 4, bias: false}}, tanh, global_mean]
loss: logistic
weights: {init: normal, std: 0.5, seed: 2}
train: {learning_rate: 0.5, weight_decay: 0.1, rule: momentum, momentum: 0.5}
YAML
"$courant" symbol kept-signs.yaml -threads 1 -linearise init -output kept-signs.h5 -quiet >out 2>err
"$courant" symbol kept-signs.yaml -threads 3 -memory 4MB -linearise init -output kept-way.h5 -force -quiet >out 2>err && "$compare" kept-signs.h5 kept-way.h5 >>out
ok $? "symbol: 3 threads, 4MB write the same file"
mpiexec -n 3 "$courant" symbol kept-signs.yaml -threads 1 -linearise init -output kept-way.h5 -force -quiet >out 2>err && [ ! -s err ]
"$compare" kept-signs.h5 kept-way.h5 >out
grep -q "lambda_max_operator" out && ! grep -q "symbol/\(power\|symbol\|amplification\|.*_bound\|rank_one\|extreme\)" out
ok $? "symbol: 3 ranks compute the same sums; only Krylov spaces differ"
# ---- linear PDEs ----
for model in "$source"/models/*.yaml "$source"/models/paper/heat.yaml; do
  grep -q '^pde:' "$model" || continue
  name=$(basename "$model" .yaml)
  "$courant" info "$model" >out 2>err && grep -q "^  pde.terms.0  " out && grep -q "^  step  " out && [ ! -s err ]
  ok $? "info of a PDE's deck: $name"
  grep -q 'boundary' "$model" && continue
  "$courant" flow "$model" -output "kept-flow-$name.h5" >out 2>err &&
    grep -q "^measured and predicted growth per step differ by at most .* over \([0-9]*\) of \1 frequencies" out &&
    [ "$("$compare" "kept-flow-$name.h5" /flow frequencies_disagreeing)" -eq 0 ] &&
    "$compare" "kept-flow-$name.h5" /flow largest_difference | awk '{exit !($1 < 1e-6)}'
  ok $? "flow: every frequency grows as predicted: $name"
done
pde=$source/models/heat.yaml
"$courant" flow "$source/models/paper/heat.yaml" -output kept-flow.h5 >out 2>err && grep -q "^growth of |u| per step over the last half 0.98" out
ok $? "31 points between zeros: dt = 0.4 decays"
# the fastest of them by 1 - 4 * 0.8 sin^2(31 pi / 64) = -2.1923
"$courant" flow "$source/models/paper/heat.yaml" -output kept-flow.h5 -force -steps 300 -set stepper.step=0.8 >out 2>err &&
  grep -q "^growth of |u| per step over the last half 2.192" out && grep -q "changes its sign between 30 of 30 pairs of neighbours" out
ok $? "31 points between zeros: dt = 0.8 blows up at the highest frequency"
"$courant" flow "$pde" -output kept-flow.h5 -force -steps 5000 -set "stepper.step=2*dx^2" >out 2>err &&
  grep -q "^stopped: the next state is beyond 1e+150" out && grep -q "growth 7 predicted, 7 measured" out
ok $? "a flow beyond all numbers stops, and is no failure"
"$courant" flow "$pde" -output kept-flow.h5 -force -set "pde.initial={mode: 5}" >out 2>err && grep -q "over 2 of 64 frequencies" out
ok $? "one mode is one frequency and its conjugate"
"$courant" flow "$pde" -output kept-flow.h5 -force -ts_type bdf -set stepper.step=dx^2 >out 2>err && grep -q "predicted asymptotic growth" out
ok $? "growth by a multistep method is asymptotic"
"$courant" flow "$source/models/advection-rk4.yaml" -output kept-flow.h5 -force -flow_ts_rk_type 2a -quiet >out 2>err
[ $? -eq 3 ] && grep -q "frequencies grow otherwise than predicted, by more than 1e-06; they are flagged in the result file" err && [ ! -s out ] &&
  [ "$("$compare" kept-flow.h5 /flow frequencies_disagreeing)" -ge 40 ]
ok $? "growth that differs from the prediction is flagged and counted"
for model in wave heat-cn paper/heat; do
  "$courant" flow "$source/models/$model.yaml" -output kept-flow.h5 -force -quiet -malloc_debug -malloc_dump >out 2>err && [ ! -s out ] && [ ! -s err ]
  ok $? "PETSc finds no memory left after a flow of $model"
  mpiexec -n 2 "$courant" flow "$source/models/$model.yaml" -output kept-flow.h5 -force >out 2>err &&
    { grep -q "differ by at most [0-9.]*e-[0-9]* over" out || grep -q "growth of |u|.* 0.98" out; }
  ok $? "flow of $model on two ranks"
done
rm -f kept-half.h5
"$courant" flow "$pde" -output kept-half.h5 -steps 5000000 -quiet >out 2>err &
sleep 2
kill -s INT $!
wait $! 2>/dev/null
[ $? -eq 130 ] && grep -q "interrupted" err && [ ! -f kept-half.h5 ]
ok $? "a flow that is interrupted ends with status 130 and leaves no file"
not_pde() { # not_pde MESSAGE SET: this value is the user's error
  fails 2 "$1" flow "$pde" -set "$2"
}
not_pde "-set pde.spacing=0: the spacing is 0: expected a number above 0" pde.spacing=0
not_pde "-set pde.terms.0.scheme=upwnd: unknown scheme 'upwnd'; did you mean 'upwind'?" pde.terms.0.scheme=upwnd
not_pde "-set pde.terms.0.derivative=dxz: unknown derivative 'dxz'; did you mean 'dx'?" pde.terms.0.derivative=dxz
not_pde "heat.yaml:7: pde.terms.0: scheme upwind has no stencil for laplacian" pde.terms.0.scheme=upwind
not_pde "-set stepper.type=eulr: unknown type 'eulr'; did you mean 'euler'?" stepper.type=eulr
not_pde "-set stepper.type=pseudo: pseudo does not step a plain u' = A u" stepper.type=pseudo
not_pde "heat.yaml:7: pde.terms.0: lax_wendroff takes terms with dx or dy, centred" stepper.type=lax_wendroff
not_pde "-set stepper.step=0.4dx: '0.4dx': expected an operator at character 4, not 'd'" stepper.step=0.4dx
not_pde "-set stepper.options=-ts_rk_typ 4: nothing has read -ts_rk_typ" "stepper.options=-ts_rk_typ 4"
not_pde "heat.yaml:7: pde.terms.0: with dt in it, the step is Euler's or lax_wendroff's, not that of rk" pde.terms.0.coefficient=1+dt,stepper.type=rk
fails 2 "-ts_type mimex: this stepper cannot be probed" flow "$pde" -ts_type mimex
fails 2 "-ts_type rk: dt is in the terms of this scheme, whose step is Euler's" flow "$source/models/lax-wendroff.yaml" -ts_type rk
fails 2 "-ts_dt: the step is the deck's: -set stepper.step=VALUE" flow "$pde" -ts_dt 1
fails 2 "unknown option -flow_ts_rk_typ" flow "$pde" -flow_ts_rk_typ 4
fails 2 "-steps 0: expected a number from 1 to 10000000" flow "$pde" -steps 0
fails 2 "-steps abc: expected an integer" flow "$pde" -steps abc
fails 2 "-learning_rate fast: expected a number" symbol "$deck" -learning_rate fast
not_pde "-set pde.points=2000000000: 2e+09 is out of range: expected integers up to 1e8" pde.points=2000000000
not_pde "the grid has 1.6e+08 unknowns: expected at most 1e+08" pde.fields=8,pde.points=20000000
not_pde "mode 33 is not one of a grid of 64 points: expected -32 to 32" "pde.initial={mode: 33}"
not_pde "mode 0 is not one of a grid of 64 points: expected 1 to 64" "pde.initial={mode: 0},pde.boundary=dirichlet"
fails 2 "courant flow takes decks with a section pde; this is a network's" flow "$deck"
fails 2 "a linear PDE is for courant symbol and courant flow" map "$pde"
"$courant" flow "$pde" -output kept-flow.h5 -force -set "pde.terms.0={derivative: dxx, offsets: [-1, 1], weights: [-1/(2*dx), 1/(2*dx)]}" >out 2>err &&
  grep -q "warning: -set .* claims dxx, but is consistent with dx of order 2" err
ok $? "a stencil that is not what it claims is a warning with the order found"
"$courant" flow "$pde" -output kept-flow.h5 -force -ts_type cn -set "pde.initial={mode: 3}" >out 2>err && grep -q "^  step  9.765625e-05 by cn in place of euler$" out &&
  grep -q "^fastest-growing frequency measured (0.294524) .* predicted, 0.966135545[0-9]* measured$" out
ok $? "flow names the stepper that it takes, and a frequency that was there"
"$courant" flow "$source/models/advection-rk4.yaml" -output kept-flow.h5 -force -set stepper.step=1e100 >out 2>err && grep -q "^stopped: the next state is beyond 1e+150$" out &&
  grep -q "^no frequency lasted for a step" out
ok $? "flow without a single step has measured nothing"

# ---- symbol of linear PDEs ----
limit_of() { # limit_of MODEL PATTERN ARGUMENTS..: what symbol says of the step's limit
  model=$1 pattern=$2
  shift 2
  "$courant" symbol "$source/models/$model.yaml" -output kept-symbol.h5 -force "$@" >out 2>err && grep -q "^limit of the step  $pattern" out && [ ! -s err ]
  ok $? "symbol: $model $*: $pattern"
}
limit_of heat "0.0001220703125 .* diffusion number 0.5; lost first at frequency 3.14159"
limit_of heat-2d "0.000244140625 .* diffusion number 0.5; lost first at frequency (y 3.14159, x 3.14159)"
limit_of heat-cn "none: stable however long it is"
limit_of heat "none: stable however long it is" -ts_type beuler
limit_of advection-upwind "0.015625 .* Courant number 1;"
limit_of advection-centred "0: unstable however short it is; lost first at frequency 1.5708"
limit_of advection-rk4 "0.0441941738242 .* Courant number 2.82842712;"
limit_of lax-wendroff "0.015625 .* Courant number 1;"
limit_of wave "0.0441941738242 .* Courant number 2.82842712;"
limit_of advection-diffusion "0.006103515625 .* Courant number 0.390625, diffusion number 0.5"
# 2 / (s^2 - s), s = 4 / dx^2 = 16
limit_of kuramoto-sivashinsky "0.00833333333333 .*" -ts_type euler
grep -q "^left out  *20 of 128 frequencies" out
ok $? "long waves that grow by themselves are left out"
limit_of paper/heat "0.5 .* diffusion number 0.5"
# eigenvalues -4 sin^2(k pi / 64): rightmost k = 1, and 2 / (4 sin^2(31 pi / 64))
grep -q "^rightmost  *-0.00963054666; residuals" out && grep -q "^limit of the step  0.501206723684 .* by these eigenvalues" out &&
  grep -q "^transient growth   |G^n| up to 0.996148, at n = 1 " out && "$courant" info kept-symbol.h5 >out 2>err && grep -q "/matrix/transient_growth *21 " out
ok $? "31 points between zeros: the matrix beside the symbol"
"$courant" symbol "$source/models/paper/heat.yaml" -output kept-symbol.h5 -force -set stepper.step=0.8 >out 2>err && grep -q "^at the deck's step unstable: |G| is above 1 at 14 of 31" out &&
  grep -q "^largest growth  *2.19229556268 by these" out
ok $? "an unstable step is a result"
# u_t = v, v_t = u_xx: at frequency 0 a Jordan block
cat >kept-wave.yaml <<'YAML'
pde: {fields: 2, points: 16, spacing: 1, terms: [{matrix: [[0, 1], [0, 0]], derivative: identity}, {matrix: [[0, 0], [1, 0]], derivative: dxx}]}
stepper: {type: cn, step: 0.5}
YAML
"$courant" symbol kept-wave.yaml -output kept-symbol.h5 -force >out 2>err && grep -q "^at the deck's step not power-bounded: .* at 1 of 16 frequencies" out
ok $? "powers that grow like n at a defective eigenvalue"
"$courant" symbol "$source/models/advection-upwind.yaml" -output kept-symbol.h5 -force -set pde.boundary=dirichlet >out 2>err &&
  grep -q "^limit of the step  0.03125 .* by these eigenvalues" out && grep -q "conditions up to inf" out
ok $? "between walls the eigenvalues alone allow too much, and their condition says so"
"$courant" symbol "$source/models/paper/heat.yaml" -output kept-symbol.h5 -force -set pde.points=1200 >out 2>err &&
  grep -q "^with its boundaries: the matrix of 1200 unknowns, 16 eigenvalues" out && grep -q "^limit of the step  0.50000085" out
ok $? "the ends of a large matrix's spectrum"
"$courant" symbol "$source/models/heat-2d.yaml" -output kept-symbol.h5 -force -set pde.boundary=neumann -eps_max_it 40 >out 2>err &&
  grep -q "^limit of the step  0.000244565946586 +-" out
ok $? "an eigenvalue 0 between walls is found as soon as the others"
"$courant" symbol "$source/models/advection-diffusion.yaml" -output kept-symbol.h5 -force -set "pde.boundary=dirichlet,pde.points=3000" >out 2>err &&
  grep -q "^the matrix is not normal: " out && grep -q "^limit of the step  0.006.*, its error not known, by these eigenvalues" out
ok $? "residuals of a large matrix that is not normal bound no error"
stopped_solve() { # a solve of minutes ends soon after its signal
  "$courant" symbol "$source/models/heat-2d.yaml" -output kept-stopped.h5 -force -quiet -set "pde.boundary=dirichlet,pde.points=[400,400]" >out 2>err &
  victim=$!
  sleep 5
  kill -INT $victim
  wait $victim
}
stopped_solve
[ $? -eq 130 ] && grep -q "^courant: interrupted$" err
ok $? "a signal ends a search for eigenvalues"
"$courant" symbol "$pde" -output kept-symbol.h5 -force -set pde.terms.0.coefficient=-1 >out 2>err && grep -q "^at the deck's step stable but for what grows by itself: " out
ok $? "the backward heat equation is not called stable"
"$courant" symbol "$source/models/paper/heat.yaml" -output kept-symbol.h5 -force -set pde.points=1200 -matrix_right_eps_max_it 1 -matrix_large_eps_max_it 1 -matrix_large_eps_ncv 10 -quiet >out 2>err
[ $? -eq 3 ] && grep -q "ends of the matrix's spectrum did not converge" err && [ ! -s out ]
ok $? "a spectrum that did not converge ends with status 3"
for model in wave paper/heat; do
  "$courant" symbol "$source/models/$model.yaml" -output kept-symbol.h5 -force -quiet -malloc_debug -malloc_dump >out 2>err && [ ! -s out ] && [ ! -s err ]
  ok $? "PETSc finds no memory left after the symbol of $model"
  mpiexec -n 2 "$courant" symbol "$source/models/$model.yaml" -output kept-two.h5 -force -quiet >out 2>err && "$compare" kept-symbol.h5 kept-two.h5 >out
  ok $? "symbol of $model on two ranks, to the bit"
done
fails 2 "-window 1,0,0,1: expected four numbers RE0,RE1,IM0,IM1, each pair ascending" symbol "$pde" -window 1,0,0,1
fails 2 "-window -1,0,0,x: expected four numbers RE0,RE1,IM0,IM1, each pair ascending" symbol "$pde" -window -1,0,0,x
fails 2 "-window_points 9: expected points real x imaginary" symbol "$pde" -window_points 9
fails 2 "-ts_type irk: this stepper cannot be probed" symbol "$pde" -ts_type irk
fails 2 "-threads has no effect here" symbol "$pde" -threads 2

# ---- map: interruptions ----
"$courant" map "$deck" -points 16x16 -output kept-whole.h5 -quiet >out 2>err
ok $? "a longer run"
stopped KILL kept-killed.h5 map "$deck" -points 16x16 -checkpoint 0.3
fails 2 "kept-killed.h5.partial holds an interrupted run; -resume goes on with it, -force starts again" map "$deck" -points 16x16 -output kept-killed.h5
fails 2 "its -points differs; -force starts again" map "$deck" -points 12x16 -output kept-killed.h5 -resume
fails 2 "its -set differs; -force starts again" map "$deck" -points 16x16 -output kept-killed.h5 -resume -set weights.seed=8
fails 2 "kept-killed.h5.partial cannot be resumed: its -ts_rk_type differs; -force starts again" map "$deck" -points 16x16 -output kept-killed.h5 -resume -ts_type rk -ts_rk_type 4
fails 2 "its -points differs; -force starts again" map "$deck" -output kept-killed.h5 -resume
export PETSC_OPTIONS="-hessian_max_eps_tol 1e-9"
fails 2 "its -hessian_max_eps_tol differs; -force starts again" map "$deck" -points 16x16 -output kept-killed.h5 -resume
unset PETSC_OPTIONS
"$courant" info kept-killed.h5.partial >out 2>err && grep -q "interrupted; -resume goes on" out
ok $? "info of a .partial"
for signal in KILL:137 INT:130 TERM:143; do
  resumes "${signal%:*}" "${signal#*:}" map kept-whole.h5 map "$deck" -points 16x16 -checkpoint 0.3
done

# more weights than a finished file has states of: its .partial has them, each row goes on from the one before
cat >kept-wide.yaml <<'YAML'
data: {source: noise, size: 1000, exponent: 1, mean: 0.3, samples: 3, seed: 6}
network: [flatten, {dense: {features: 1}}]
loss: logistic
weights: {init: normal, std: 0.001, seed: 2}
train: {rule: gd, learning_rate: 1e-6, weight_decay: 0.1, batch: full, steps: 3}
map:
  learning_rate: {from: 1e-6, to: 1e-4, points: 3, scale: log}
  weight_decay: {from: 1, to: 100, points: 3, scale: log}
  linearise: trained
  cross_check: {local: false, global: false}
YAML
loose="-threads 1 -eps_tol 1e-2 -eps_ncv 6"
"$courant" map kept-wide.yaml $loose -output kept-wide.h5 -quiet >out 2>err
ok $? "a map of a million weights"
resumes KILL 137 "map of a million weights" kept-wide.h5 map kept-wide.yaml $loose -checkpoint 0
"$courant" info kept-half.h5 >out 2>err && grep -q "/map/limit " out && ! grep -q "/map/parameter " out && [ "$(wc -c <kept-half.h5)" -lt 100000 ]
ok $? "its file has no states, nor room for them"

# ---- symbol, layer by layer ----
cat >kept-layers.yaml <<'YAML'
data: {source: glyphs, size: 12, classes: 4, samples: 40, seed: 3}
network: [{conv: {channels: 3, kernel: 3, padding: same}}, swish, {conv: {channels: 2, kernel: 3, stride: 2, bias: false}}, tanh, flatten, {dense: {features: 4}}]
loss: softmax
weights: {init: he, seed: 2}
train: {rule: momentum, momentum: 0.9, learning_rate: 0.1, weight_decay: 1e-4}
YAML
"$courant" symbol kept-layers.yaml -threads 1 -output kept-layers.h5 -malloc_dump >out 2>err && [ ! -s err ] && grep -q "^bottleneck: layer " out &&
  grep -q "^all layers together: largest eigenvalue " out && [ "$(grep -c "^  [025] .*(.*, .*)$" out)" -eq 3 ]
ok $? "symbol: a row for each layer, the bottleneck, and the whole"
"$courant" info kept-layers.h5 >out 2>err && grep -q "/layers/name  *3 " out && grep -q "/layers/0/spectral_density  *14 x 14 " out && grep -q "/layers/5/channel_direction  *51 x 2 " out
ok $? "symbol: /layers and each layer's spectrum are in the file"
"$courant" symbol kept-layers.yaml -threads 3 -output kept-way.h5 -force -quiet >out 2>err && "$compare" kept-layers.h5 kept-way.h5 >>out
ok $? "symbol: 3 threads write the file of one"
mpiexec -n 2 "$courant" symbol kept-layers.yaml -threads 1 -output kept-way.h5 -force -quiet >out 2>err && "$compare" kept-layers.h5 kept-way.h5 >out
! grep -qE "curvature|density|direction|patches|bound differs|cfl" out # Krylov spaces over several ranks are exempt
ok $? "symbol: 2 ranks find the densities, curvatures and bounds of one"
"$courant" symbol kept-train.yaml -output kept-way.h5 -force >out 2>err && grep -q "not layer by layer: batch_norm couples the samples" out
ok $? "symbol: batch_norm is told not to be analysed layer by layer"
rm -f kept-way.h5
fails 2 "-memory 3MB is too little to analyse this model layer by layer: it takes at least" symbol kept-layers.yaml -memory 3MB -output kept-way.h5 -force -quiet
"$courant" map "$deck" -points 24x24 -rule momentum -output kept-refined.h5 -set map.cross_check.refine=3 >out 2>err
ok $? "a refined cross-check"
run=$("$compare" kept-refined.h5 /trainer cells_run) drawn=$("$compare" kept-refined.h5 /trainer cells_drawn) differing=$("$compare" kept-refined.h5 /trainer interpolated_differing_at_most)
[ "$run" -lt 476 ] && [ $((20 * drawn)) -ge "$run" ] && grep -q "^refined:      run in $run of 576 cells, $drawn of them drawn at random, where 0 contradicted those around$" out &&
  grep -q "^              of the $((576 - run)) in between at most $differing (.* %) differ, with 95 % confidence; growth by .* where drawn$" out
ok $? "says how many cells it ran, and how many of the others may differ"
"$courant" info kept-refined.h5 >out 2>err && grep -q "/trainer/global/interpolated" out && [ "$("$compare" kept-refined.h5 /trainer cells_interpolated)" -eq $((576 - run)) ]
ok $? "leaves cells to be interpolated"
resumes KILL 137 "map of mini-batches" kept-batches.h5 map kept-batches.yaml -checkpoint 0.1
resumes KILL 137 "refined map" kept-refined.h5 map "$deck" -points 24x24 -rule momentum -checkpoint 0.3 -set map.cross_check.refine=3
stopped KILL kept-ruled.h5 map "$deck" -points 24x24 -rule momentum -checkpoint 0.3
fails 2 "kept-ruled.h5.partial cannot be resumed: its -rule differs; -force starts again" map "$deck" -points 24x24 -rule nesterov -output kept-ruled.h5 -resume

# ---- a full disk ----
# a limit on the size of files stands for it; MPI needs some room for its own
large="-points 1000x3000 -set map.linearise=init,map.cross_check.local=false,map.cross_check.global=false"
(ulimit -f 20000; exec "$courant" map "$deck" $large -output kept-full.h5 -quiet >out 2>err)
[ $? -eq 4 ] && grep -q "cannot write the result: File too large" err && [ ! -f kept-full.h5 ] && [ ! -f kept-full.h5.tmp ]
ok $? "a full disk is an error, and no file looks whole"

# ---- maps at the ends of what there is ----
cat >kept-flat.yaml <<YAML
model: flat
about: more weights than LAPACK is asked for, and modes that nothing damps
data:    {source: glyphs, size: 16, samples: 30, noise: 0.3}
network:
  - flatten: {}
  - dense: {features: 10}
loss: softmax
weights: {init: zero}
train:   {rule: gd, learning_rate: 0.5, weight_decay: 0, batch: full, steps: 100}
map:
  learning_rate: {values: [0.001, 0.01, 0.1, 10]}
  weight_decay:  {values: [0]}
  linearise: init
  cross_check: {local: false, global: false}
YAML
"$courant" map kept-flat.yaml -output kept-flat.h5 -force >out 2>err && grep -q "^ *0 |\.\.\.+" out && grep -q "^ *0.001 10  learning rate" out
ok $? "modes that nothing damps leave the others' verdict as it is"
fails 3 "no weight decay has a state of finite loss; all are flagged in the result file" map kept-flat.yaml -output kept-flat.h5 -force -set "loss=squared,weights={init: normal, std: 1e300}"
fails 3 "no weight decay has an equilibrium; all are flagged in the result file" map kept-flat.yaml -output kept-flat.h5 -force -set "weights={init: normal, std: 1e300},map.linearise=equilibrium,map.weight_decay.values=[1]"
fails 2 "one-layer.yaml:12: map: 45000 learning rates x 43000 weight decays: expected at most 1e+08 cells" map "$deck" -points 45000x43000
fails 2 "map: learning_rate: 1 stands behind 1: expected values that all rise or all fall" map "$deck" -learning_rate 1,1
fails 2 "-points: this axis is given by -learning_rate" map "$deck" -points 4x4 -learning_rate 1,2
sed '/^map:/,$d' kept-flat.yaml >kept-mapless.yaml
fails 2 "-points: the deck has no axis map.learning_rate; -learning_rate A,B,.. gives one" map kept-mapless.yaml -points 4x4
fails 2 "courant: -learning_rate: expected at most 1024 numbers" map "$deck" -learning_rate "$(seq -s, 1 1100)"

# ---- ranks, threads, memory ----
"$courant" map "$deck" -points 9x9 -output kept-1.h5 -quiet -threads 1 >out 2>err
for n in 2 3; do
  mpiexec -n $n "$courant" map "$deck" -points 9x9 -output "kept-$n.h5" -quiet >out 2>err && "$compare" kept-1.h5 "kept-$n.h5" >>out
  ok $? "$n ranks write the file of one"
done
mpiexec -n 2 "$courant" map kept-batches.yaml -threads 2 -output kept-way.h5 -force -quiet >out 2>err && "$compare" kept-batches.h5 kept-way.h5 >>out
ok $? "2 ranks of 2 threads write the map of mini-batches of one"
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
if "$python" -c 'import h5py' 2>/dev/null; then
  "$courant" symbol "$photograph" -threads 1 -output kept-wave.h5 -quiet -set network.0.conv.kernel=40,network.0.conv.padding=circular,data.mean=0,data.size=40 >out 2>err &&
    "$python" - >>out 2>err <<'PY'
import h5py, numpy as np
f = h5py.File("kept-wave.h5")["symbol"]
y, x, s = f["frequency_y"][:], f["frequency_x"][:], f["symbol"][:]
assert s.shape == (40, 21) and [len(d) for d in f["symbol"].dims] == [1, 1]
assert np.allclose(f["amplification"][:], abs(1 - 0.04 * (s + 0.1)), rtol=1e-14)
at = np.unravel_index(s.argmax(), s.shape)
w = np.array([f["first_unstable_frequency_y"][0], f["first_unstable_frequency_x"][0]])
assert np.allclose(abs(w), [abs(y[at[0]]), x[at[1]]], atol=1e-14)
assert abs(f["first_unstable_wavelength"][0] - 2 * np.pi / np.hypot(*w)) < 1e-13
assert abs(f["lambda_max_operator"][()] / s.max() - 1) < 1e-9 and abs(f["slack"][()] - 1) < 1e-9
# the kernel that goes unstable first is a wave of this frequency
k = f["first_unstable_kernel"][0]
i, j = np.indices(k.shape)
assert abs(2 * abs(np.sum(k * np.exp(1j * (w[0] * i + w[1] * j)))) ** 2 / k.size - 1) < 1e-6
assert np.isnan(f["first_unstable_kernel"][1]).all()
# heavy ball: the larger root
f = h5py.File("kept-signs.h5")["symbol"]
m = f["symbol"][:].ravel() + 0.1
roots = [max(abs(np.roots([1, -(1.5 - 0.5 * v), 0.5]))) for v in m]
assert np.allclose(f["amplification"][:].ravel(), roots, rtol=1e-12)
assert f.attrs["reach"] == 3 and abs(f["limit_operator"][()] - 3 / (0.1 + f["lambda_max_operator"][()])) < 1e-12
PY
  ok $? "h5py: amplification factors, and the wave that goes unstable first"
else skip "h5py: amplification factors" "no h5py"; fi
if "$python" -c 'import xarray, h5netcdf' 2>/dev/null; then
  "$python" - >out 2>err <<'PY'
import xarray as xr
flow = xr.open_dataset("kept-flow-heat-2d.h5", group="flow", engine="h5netcdf")
assert flow.measured_growth.dims == ("frequency_y", "frequency_x") and float(abs(flow.measured_growth - flow.predicted_growth).max()) < 1e-6
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
  for run in run ensemble ends; do
    "$python" "$source/notebooks-export/plot.py" kept-$run.h5 -o kept-$run.png >out 2>err && [ -s kept-$run.png ]
    ok $? "plot.py draws a $run"
  done
  "$courant" symbol "$source/models/paper/heat.yaml" -output kept-walls.h5 -quiet >out 2>err
  "$courant" flow "$source/models/paper/heat.yaml" -output kept-flow-walls.h5 -quiet >out 2>err
  "$courant" symbol "$source/models/heat-2d.yaml" -output kept-symbol-2d.h5 -quiet >out 2>err
  for kind in walls flow-heat; do
    "$python" "$source/notebooks-export/plot.py" kept-$kind.h5 -o kept-$kind.png >out 2>err && [ -s kept-$kind.png ]
    ok $? "plot.py draws an analysis ($kind)"
  done
  PYTHONPATH=$source/notebooks-export MPLBACKEND=Agg "$python" - >out 2>err <<'PY'
import numpy as np, figures
panels = {"walls": 3, "symbol-2d": 2, "photograph": 4, "linear": 4, "cn": 4, "signs": 4, "layers": 4,
          "flow-walls": 3, "flow-heat": 4, "flow-wave": 4, "flow-heat-2d": 6}
drawn = {name: figures.draw(f"kept-{name}.h5") for name in panels}
for name, figure in drawn.items():
    axes = [a for a in figure.axes if a.get_label() != "<colorbar>"]
    assert len(axes) == panels[name] and all(a.has_data() and a.get_title() for a in axes), name
    figure.savefig(f"kept-{name}.png", dpi=30)
# Euler's method for the heat equation: 1 - 4 (dt / dx^2) sin^2(w / 2); the matrix has -4 sin^2(k pi / 64), k = 1 .. 31
w, growth = drawn["walls"].axes[0].lines[0].get_data()
assert np.allclose(growth, abs(1 - 1.6 * np.sin(w / 2) ** 2), atol=1e-13)
crosses = [line for line in drawn["walls"].axes[1].lines if line.get_marker() == "x"][0]
assert np.allclose(np.sort(crosses.get_xdata()), np.sort(-1.6 * np.sin(np.arange(1, 32) * np.pi / 64) ** 2), atol=1e-12)
curves = {line.get_label(): line.get_data() for line in drawn["flow-heat"].axes[3].lines}
for name, tolerance in (("predicted", 1e-13), ("measured", 1e-6)):
    w, growth = curves[name]
    assert np.allclose(growth, abs(1 - 1.6 * np.sin(w / 2) ** 2), rtol=0, atol=tolerance), name
# half a plane of frequencies is completed to an even function
image = drawn["photograph"].axes[0].collections[0].get_array().reshape(71, 71)
assert np.allclose(image, image[::-1, ::-1], rtol=1e-9)
PY
  ok $? "every panel of an analysis has something in it, the right curves among them"
  PATH=$(dirname "$courant"):$PATH MPLBACKEND=Agg "$python" - "$source/notebooks-export" >out 2>err <<'PY'
import json, os, sys
os.chdir(sys.argv[1])
sys.path.insert(0, "")
notebook = json.load(open("von-neumann.ipynb"))
assert notebook["nbformat"] == 4 and notebook["metadata"]["kernelspec"]["name"] == "python3"
cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
assert not any(cell["outputs"] for cell in cells)
names = {}
for cell in cells:
    exec("".join(cell["source"]), names)
assert len(names["plt"].get_fignums()) == 7
PY
  [ $? -eq 0 ] && [ ! -s err ] && grep -q "^limit by the symbol 0.5, by the matrix 0.501206723684, by hand 0.501206723684$" out &&
    grep -q "^growth per step at 0.8: predicted 2.192296, measured 2.19" out && grep -q "^slack 82.8504 " out &&
    grep -q "^measured growth differs from the formula by [0-9]e-\(0[7-9]\|1[0-9]\) at most$" out && grep -q "^  *48  circular  *1.0000 " out
  ok $? "the notebook runs, and its numbers are those of its text"
  for refine in false 3; do
    "$courant" map "$source/models/islands.yaml" -points 24x24 -output kept-islands-$refine.h5 -quiet -set map.cross_check.local=false,map.cross_check.refine=$refine >out 2>err
  done
  "$python" "$source/notebooks-export/plot.py" kept-islands-false.h5 kept-islands-3.h5 -o kept-differ.png >out 2>err && [ -s kept-differ.png ]
  ok $? "plot.py draws where two maps differ"
  PYTHONPATH=$source/notebooks-export MPLBACKEND=Agg "$python" - >out 2>err <<'PY'
import h5py, numpy as np, figures
full, refined = (h5py.File(f"kept-islands-{name}.h5", "r") for name in ("false", "3"))
a, b = (f["trainer/global/regime"][:] for f in (full, refined))
origin, said = refined["trainer/global/interpolated"][:], refined["trainer"].attrs
assert [np.sum(origin == i) for i in (1, 2)] == [said["cells_interpolated"], said["cells_drawn"]]
assert not np.any((a != b) & (origin != 1)) and np.sum(a != b) <= said["interpolated_differing_at_most"]
assert figures.differences(full, refined).axes[1].get_title().endswith(f": {np.sum(a != b)} of 576 differ")
assert figures.stability_map(refined).axes[-1].get_title() == f"checks run in {said['cells_run'] / 576:.1%} of the cells"
refined.close()
changed = h5py.File("kept-islands-3.h5", "r+")
changed["trainer/global/regime"][5, 7] = (b[5, 7] + 1) % 3 if a[5, 7] == b[5, 7] else a[5, 7]
count = np.sum(a != changed["trainer/global/regime"][:])
assert abs(int(count) - int(np.sum(a != b))) == 1
assert figures.differences(full, changed).axes[1].get_title().endswith(f": {count} of 576 differ")
PY
  ok $? "and counts them; no cell that was run is among them"
  "$courant" train "$deck" -set train.rule=adam,train.learning_rate=0.01,train.steps=40,train.sharpness_every=20 -output kept-adam.h5 -quiet >out 2>err
  "$courant" train "$source/models/paper/perturbed-sgd.yaml" -output kept-short.h5 -quiet \
    -set "data.samples=32,data.test_samples=32,train.batch=16,train.schedule=constant,train.epochs=1,train.ensemble={seeds: [1, 2], perturb: [1, 3]}" >out 2>err
  "$courant" symbol "$source/models/kuramoto-sivashinsky.yaml" -output kept-ks.h5 -quiet >out 2>err
  "$courant" spectrum "$deck" -density -output kept-density.h5 -quiet >out 2>err
  PYTHONPATH=$source/notebooks-export MPLBACKEND=Agg "$python" - >out 2>err <<'PY'
import h5py, numpy as np, figures
curves = {axes.get_ylabel(): {line.get_label(): line.get_data() for line in axes.lines} for axes in figures.draw("kept-adam.h5").axes}
run = h5py.File("kept-adam.h5")["trajectory"]
nu, limit = (curves["preconditioned\nsharpness"][name] for name in ("preconditioned sharpness", "limit of stability"))
assert list(nu[0]) == [20] and nu[1] == run["preconditioned_sharpness"][20] and np.allclose(limit[1], 38 / 0.01)
assert list(curves["sharpness"]) == ["sharpness"] and np.array_equal(curves["sharpness"]["sharpness"][1], run["sharpness"][[0, 20]])
# dt lambda = 0.1 (w2 - w2^2), w2 = sin^2(w / 2) / (dx / 2)^2, the symbol of dxx at dx = 1/2 squared for dxxxx; the window begins at -6
w2 = (np.sin(np.pi * np.arange(-64, 64) / 128) / 0.25) ** 2
out = np.sum(0.1 * (w2 - w2 ** 2) < -6)
said = [label.get_text() for label in figures.draw("kept-ks.h5").axes[1].texts]
assert out == 63 and said == [f"{out} of 128 frequencies\noutside this window"], (out, said)
density = h5py.File("kept-density.h5")["spectrum"]
axes, = [a for a in figures.draw("kept-density.h5").axes if a.get_title().startswith("density")]
lines = {line.get_label(): line.get_data() for line in axes.lines}
assert np.array_equal(lines["all, estimated"][1], density["density/density"][:]) and len(axes.collections) == 1
assert sorted([*lines["largest"][0], *lines["smallest"][0]]) == sorted(density["eigenvalue"][:])
# an ensemble of one record: every line has a marker
panel = figures.draw("kept-short.h5").axes[1]
assert len(panel.lines) > 1 and all(line.get_marker() == "o" and len(line.get_xdata()) == 1 for line in panel.lines)
# the extreme by hand, 256^4 / 4 at (pi, pi), which a grid of 287 points has not
panel, growth = figures.draw("kept-linear.h5").axes[:2]
assert panel.collections[0].get_array().max() < 0.3 * 256 ** 4 / 4 and panel.collections[0].norm.vmax == 256 ** 4 / 4
assert panel.get_title() == "symbol, negated\n1.0737e9 in the ring, off the grid" and growth.get_title().endswith("the ring is off the grid")
ring = panel.lines[0]
assert np.allclose(np.abs(ring.get_data()), np.pi) and ring.get_markerfacecolor() == panel.collections[0].cmap(1.0)
PY
  ok $? "a limit beside what it limits, points counted once, densities, single points, extremes between the points of a grid"
  PYTHONPATH=$source/notebooks-export "$python" - >out 2>err <<'PY'
import contextlib, h5py, io, os, sys
import plot
whole = open("kept.h5", "rb").read()
contents = {"short": whole[:len(whole) // 2], "text": b"not HDF5", "torn": whole.replace(b"TREE", b"TORN"), "interrupted": whole, "less": whole}
for name, content in contents.items():
    open(f"kept-{name}.bad", "wb").write(content)
with h5py.File("kept-interrupted.bad", "r+") as file:
    file.attrs["complete"] = 0
with h5py.File("kept-less.bad", "r+") as file:
    del file["map/weight_decay"]
with h5py.File("kept-other.bad", "w") as file:
    file["map/regime"] = [1, 2]
os.mkdir("kept-folder.bad")


def refused(status, begin, *arguments):
    said, sys.argv = io.StringIO(), ["plot.py", *arguments]
    try:
        with contextlib.redirect_stderr(said):
            plot.main()
        got = 0
    except SystemExit as end:
        got = end.code
    lines = said.getvalue().splitlines()
    assert got == status and len(lines) == 1 and lines[0].startswith(f"plot.py: {begin}"), (arguments, got, lines)


for name in contents:
    refused(2, f"kept-{name}.bad: " + ("its run was interrupted" if name == "interrupted" else "not a whole result file ("), f"kept-{name}.bad")
refused(2, "kept-other.bad: not a result file of courant", "kept-other.bad")
refused(2, "kept-folder.bad: Is a directory", "kept-folder.bad")
refused(2, "kept-short.bad: not a whole", "kept.h5", "kept-short.bad")
refused(4, "nowhere/kept.png: No such file or directory", "kept.h5", "-o", "nowhere/kept.png")
refused(2, "kept.none: Format 'none' is not supported", "kept.h5", "-o", "kept.none")
PY
  ok $? "plot.py says in one line what is wrong with a file, and with which"
  "$python" "$source/notebooks-export/plot.py" nothing.h5 >out 2>err
  [ $? -eq 2 ] && [ "$(cat err)" = "plot.py: nothing.h5: No such file or directory" ]
  ok $? "and ends with the status of bad input"
else skip "plot.py draws what commands write, and the notebook runs" "no h5py or matplotlib"; fi

# ---- a network from PyTorch ----
if "$python" -W ignore -c 'import torch, h5py' 2>/dev/null; then
  "$python" -W ignore "$source/notebooks-export/from_torch.py" --demo kept-net.yaml >out 2>err &&
    "$courant" spectrum kept-net.yaml -threads 1 -output kept-net-spectrum.h5 >out 2>err &&
    grep -q "  reference of kept-net.h5: loss, gradient and logits agree to [0-9]e-1[3-7]" out && grep -q "^largest  *1 " out
  ok $? "spectrum of an exported network finds PyTorch's numbers"
  cksum kept-net.yaml kept-net.h5 >kept-sums
  "$python" -W ignore "$source/notebooks-export/from_torch.py" --demo kept-net.yaml >out 2>err
  [ $? -eq 2 ] && [ "$(wc -l <err)" -eq 1 ] && grep -q "^from_torch.py: kept-net.yaml and kept-net.h5: there already" err && cksum kept-net.yaml kept-net.h5 | cmp -s - kept-sums
  ok $? "a deck and data that are there are kept"
  "$python" -W ignore "$source/notebooks-export/from_torch.py" --demo kept-net.yaml --force >out 2>err
  ok $? "unless --force says otherwise"
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
