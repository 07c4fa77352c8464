# Sourced by ./test: runs parts, counts, prints. A part is a command; what counts as a test inside of it:
#   - each case of the GoogleTest result files that it left as $results/*.json,
#   - else its last line, where that reads "N passed, N failed, N skipped",
#   - else the part itself. It ends with 0 (passed), 77 (skipped; the last line says why), anything else (failed).

test_logs=$root/build/test-logs
program_limit_s=1200  # for one test program: one that hangs has failed
part_names=() part_sets=() part_texts=() part_commands=()

# part SET NAME TEXT COMMAND...
part() {
  part_sets+=("$1") part_names+=("$2") part_texts+=("$3")
  shift 3
  part_commands+=("$(printf '%q ' "$@")")
}

# Prints "passed failed skipped" and, on the following lines, the cases that failed or were skipped.
count_results() {  # EXIT_CODE LOG RESULTS
  python3 "$root/scripts/count_results.py" "$@"
}

# Finds FOLDER's test program of a preset.
test_program() {  # PRESET FOLDER
  local where
  for where in src tests; do
    [ ! -x "$root/build/$1/$where/$2/${2}_test" ] || { echo "$root/build/$1/$where/$2/${2}_test"; return; }
  done
  echo "there is no program ${2}_test" >&2
  return 1
}

# One process's share of the cases of a GoogleTest program; $label sets its results apart.
gtest_shard() {  # PRESET FOLDER SHARD SHARDS [NAME=VALUE...]
  local preset=$1 folder=$2 shard=$3 shards=$4 program
  local runner=() name=$preset-$folder${label:+-$label}-$shard
  shift 4
  program=$(test_program "$preset" "$folder") || return
  [ "$preset" != aarch64 ] || runner=(qemu-aarch64 -L /usr/aarch64-linux-gnu -E "LD_LIBRARY_PATH=$root/build/aarch64-sysroot/usr/lib/aarch64-linux-gnu")
  GTEST_TOTAL_SHARDS=$shards GTEST_SHARD_INDEX=$shard timeout --foreground -k 10 "$program_limit_s" env "$@" \
    "${runner[@]}" "$program" --gtest_brief=1 --gtest_output="json:$results/$name.json"
}

# gtests PRESET FOLDER,FOLDER... [NAME=VALUE...]: builds the folders' test programs and runs them, all even when one fails.
# Each runs as two processes a core, one of which at once: a share of slow cases keeps fewer cores waiting. What measures the
# machine runs whole and alone.
gtests() {
  local preset=$1 cores shards folder shard log status=0
  local folders=${2//,/ } logs=$results/shards${label:+-$label}
  shift 2
  cores=$(nproc)
  mkdir -p "$logs"
  # shellcheck disable=SC2046,SC2086  # a build that fails is told by the folder that misses its program
  (build_preset "$preset" -k 0 $(printf '%s_test ' $folders))
  for folder in $folders; do
    shards=$((2 * cores))
    [ "$folder" != limits ] || { wait; shards=1; }
    for ((shard = 0; shard < shards; ++shard)); do
      while [ "$(jobs -pr | wc -l)" -ge "$cores" ]; do wait -n; done
      (gtest_shard "$preset" "$folder" $shard $shards "$@" || : >"$logs/$folder.failed") >"$logs/$folder.$shard" 2>&1 &
    done
    [ "$folder" != limits ] || wait
  done
  wait
  for log in "$logs"/*.[0-9]*; do
    echo "== ${log##*/}"
    cat "$log"
  done
  for log in "$logs"/*.failed; do
    [ ! -e "$log" ] || { echo "== ${log##*/}"; status=1; }
  done
  return $status
}

run_part() {  # INDEX
  local name=${part_names[$1]} began=$SECONDS code counts p f s
  local log=$test_logs/${part_names[$1]}.log
  results=$test_logs/$name
  rm -rf "$results"
  mkdir -p "$results"
  progress running "$name"
  (
    cd "$root" || exit 1
    eval "${part_commands[$1]}"
  ) >"$log" 2>&1 </dev/null 8>&-
  code=$?
  progress_end
  counts=$(count_results $code "$log" "$results")
  read -r p f s <<<"${counts%%$'\n'*}"
  passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
  local verdict=ok
  [ "$s" = 0 ] || verdict="ok, with skips"
  [ $((p + f)) != 0 ] || verdict=SKIPPED
  [ "$f" = 0 ] || verdict=FAILED
  printf '%-16s %-15s %4d passed %3d failed %3d skipped %5d s   %s\n' "$name" "$verdict" "$p" "$f" "$s" \
    $((SECONDS - began)) "${part_texts[$1]}" | tee -a "$test_logs/summary"
  [ "$f" = 0 ] || { echo "  --- the end of $log"; tail -n 40 "$log" | cut -c 1-300 | sed 's/^/  | /'; }
  [ "$counts" = "${counts%%$'\n'*}" ] || printf '%s\n' "${counts#*$'\n'}" | sed 's/^/    /'
}

list_parts() {
  local i
  for i in "${!part_names[@]}"; do
    printf '%-8s %-16s %s\n' "${part_sets[$i]}" "${part_names[$i]}" "${part_texts[$i]}"
  done
}

# wanted INDEX ARGUMENT...: whether the command line asks for this part
wanted() {
  local set=${part_sets[$1]} name=${part_names[$1]} word
  shift
  for word in "$@"; do
    case $word in
      default) [ "$set" = default ] && return ;;
      full) [ "$set" != long ] && return ;;
      long) [[ $set = @(long|fetch) ]] && return ;;
      "$name") return ;;
    esac
  done
  return 1
}

check_names() {
  local word
  for word in "$@"; do
    case " default full long ${part_names[*]} " in
      *" $word "*) ;;
      *) echo "./test: there is no part \"$word\"; ./test --list shows them" >&2; exit 2 ;;
    esac
  done
}

# What `./test long` came to is committed: nobody waits for it in CI.
keep_summary() {
  {
    printf '`./test long`, %s, commit %s, %s\n\n' "$(date -u +%F)" "$(git -C "$root" describe --always --dirty)" \
      "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)"
    sed 's/^/    /' "$test_logs/summary"
    printf '\nInputs of every fuzz target:\n\n'
    sort "$test_logs/fuzz-long/lines" | sed 's/^/    /'
  } >"$root/docs/test-long.md"
}

main() {
  local i sets="build test" began=$SECONDS
  passed=0 failed=0 skipped=0
  writable_build
  mkdir -p "$test_logs"
  export KINGLET_TEST_MODELS=${KINGLET_TEST_MODELS:-$root/build/test-models}
  export KINGLET_TEST_LEVEL=default
  case " $* " in *" full "*) KINGLET_TEST_LEVEL=full ;; *" long "*) KINGLET_TEST_LEVEL=long program_limit_s=7200 ;; esac
  export UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1
  export ASAN_SYMBOLIZER_PATH=/usr/lib/llvm-19/bin/llvm-symbolizer TSAN_SYMBOLIZER_PATH=/usr/lib/llvm-19/bin/llvm-symbolizer
  [ $# != 0 ] || set -- default
  define_parts
  case $1 in
    --list) list_parts; exit ;;
    -h | --help) sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$root/test"; exit ;;
  esac
  check_names "$@"
  for i in "${!part_names[@]}"; do
    if wanted "$i" "$@" && [ "${part_sets[$i]}" != default ]; then sets="build test full"; fi
  done
  # shellcheck disable=SC2086
  need_packages $sets
  need_rust
  lock_build tests 8
  trap 'progress_end; echo "stopped"; exit 130' INT TERM
  : >"$test_logs/summary"
  for i in "${!part_names[@]}"; do
    wanted "$i" "$@" && run_part "$i"
  done
  echo "logs: build/test-logs/ ($((SECONDS - began)) s)"
  echo "$passed passed, $failed failed, $skipped skipped" | tee -a "$test_logs/summary"
  [ "$*" != long ] || keep_summary
  [ $failed = 0 ] && [ $passed != 0 ]
}
