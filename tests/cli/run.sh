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
fails 2 "-set data.normalise=standart: unknown normalise 'standart'; expected one of none, unit, standard; did you mean 'standard'?" info kept-idx.yaml -set data.normalise=standart
deck_of kept-cifar.yaml "{source: cifar10, files: [kept-images, kept-torn]}"
fails 2 "kept-cifar.yaml:1: data.files: kept-images: 34 bytes are no multiple of 3073, a record of the binary version of CIFAR-10" info kept-cifar.yaml
deck_of kept-hdf5.yaml "{source: hdf5, file: kept-images}"
fails 2 "kept-hdf5.yaml:1: data.file: kept-images: not an HDF5 file, or damaged" info kept-hdf5.yaml
rm kept-*

# ---- what is printed ----
"$courant" help >out 2>err && grep -q "courant map MODEL" out
ok $? "help lists the commands"
"$courant" help map >out 2>err && grep -q -- "-hessian_max_eps_" out && grep -q -- "-resume" out
ok $? "help of a command lists its options"
"$courant" help deck >out 2>err && grep -q "kernel" out && grep -q "zero_frozen" out
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
"$courant" map "$deck" -points 3x3 -output kept-malloc.h5 -quiet -malloc_debug -malloc_dump >out 2>err && [ ! -s out ] && [ ! -s err ]
ok $? "PETSc finds no memory left"
"$courant" map "$deck" -points 3x3 -output kept-view.h5 -quiet -nothing_view >out 2>err
[ $? -eq 2 ] && grep -q "nothing has read the option -nothing_view; the results are written" err && [ -f kept-view.h5 ]
ok $? "a viewer that nothing reads is an error at the end"
"$courant" map "$source/models/one-layer-noise.yaml" -points 4x2 -output kept-open.h5 -quiet -hessian_max_eps_max_it 1 -hessian_max_eps_ncv 3 >out 2>err
[ $? -eq 3 ] && grep -q "2 of 2 weight decays did not converge; they are flagged in the result file" err && [ -f kept-open.h5 ]
ok $? "a solver that does not converge is flagged and counted"

# ---- interruptions ----
"$courant" map "$deck" -points 24x24 -output kept-whole.h5 -quiet >out 2>err
ok $? "a longer run"

await_partial() { # await_partial FILE: until a checkpoint holds some cells
  for _ in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
    sleep 0.25
    [ -f "$1.partial" ] && return 0
  done
  return 1
}

"$courant" map "$deck" -points 24x24 -output kept-killed.h5 -quiet -checkpoint 0.3 >out 2>err &
await_partial kept-killed.h5
sleep 0.5
kill -9 $!
wait $! 2>/dev/null
[ -f kept-killed.h5.partial ] && [ ! -f kept-killed.h5 ]
ok $? "kill -9 leaves the .partial and no file that looks whole"
fails 2 "kept-killed.h5.partial holds an interrupted run; -resume goes on with it, -force starts again" map "$deck" -points 24x24 -output kept-killed.h5
fails 2 "its /map/learning_rate differs; -force starts again" map "$deck" -points 12x24 -output kept-killed.h5 -resume
fails 2 "its -set differs; -force starts again" map "$deck" -points 24x24 -output kept-killed.h5 -resume -set weights.seed=8
"$courant" info kept-killed.h5.partial >out 2>err && grep -q "interrupted; -resume goes on" out
ok $? "info of a .partial"
"$courant" map "$deck" -points 24x24 -output kept-killed.h5 -quiet -resume >out 2>err && "$compare" kept-whole.h5 kept-killed.h5 >>out
ok $? "-resume after kill -9 gives the uninterrupted file"

for signal in INT:130 TERM:143; do
  name=${signal%:*} expected=${signal#*:}
  # a shell starts background jobs with SIGINT ignored; a process group of its own has it
  timeout -s "$name" --preserve-status 2 "$courant" map "$deck" -points 24x24 -output "kept-$name.h5" -quiet >out 2>err
  status=$?
  [ $status -eq "$expected" ] && grep -q "interrupted; kept-$name.h5.partial holds what is done, -resume goes on" err
  ok $? "SIG$name saves what is done, exit status $expected (was $status)"
  "$courant" map "$deck" -points 24x24 -output "kept-$name.h5" -quiet -resume >out 2>err && "$compare" kept-whole.h5 "kept-$name.h5" >>out
  ok $? "-resume after SIG$name gives the uninterrupted file"
done

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
"$bits" "$source/tests/cli/noise-100.yaml" -threads 1 >reference 2>err
for way in "1 2 1GB" "1 1 3MB" "2 1 1GB" "2 2 6MB" "3 1 1GB" "3 2 9MB"; do
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
  "$python" "$source/notebooks-export/plot.py" nothing.h5 >out 2>err
  [ $? -eq 1 ] && [ "$(wc -l <err)" -eq 1 ]
  ok $? "plot.py says what is wrong in one line"
else skip "plot.py draws the map" "no h5py or matplotlib"; fi

echo "1..$count"
