#!/bin/bash
# Runs one fuzz target for a while: fuzz_one.sh PROGRAM SECONDS FOLDER. Prints "ok NAME ..." or "FAILED NAME ..."; the log,
# new inputs and what made it fail stay in FOLDER. It starts from FOLDER/seeds/NAME where that exists.
name=${1##*/}
mkdir -p "$3/$name"
seeds=()
[ ! -d "$3/seeds/$name" ] || seeds=("$3/seeds/$name")
if "$1" -max_total_time="$2" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 -artifact_prefix="$3/$name-" \
  "$3/$name" "${seeds[@]}" >"$3/$name.log" 2>&1; then
  echo "ok $name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$3/$name.log") inputs"
else
  echo "FAILED $name: $(grep -m 1 -E 'ERROR|SUMMARY|runtime error' "$3/$name.log"); see $3/$name.log"
fi
