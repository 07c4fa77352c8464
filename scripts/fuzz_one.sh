#!/bin/bash
# Runs one fuzz target for a while: fuzz_one.sh PROGRAM SECONDS FOLDER [LEAST_INPUTS]. Prints "ok NAME ..." or "FAILED
# NAME ..."; the log, new inputs and what made it fail stay in FOLDER. It starts from FOLDER/seeds/NAME where that exists.
program=$1 folder=$3
name=${1##*/}
log=$folder/$name.log
mkdir -p "$folder/$name"
seeds=()
[ ! -d "$folder/seeds/$name" ] || seeds=("$folder/seeds/$name")

fuzz() {  # LIMIT
  "$program" "$1" -rss_limit_mb=2048 -timeout=20 -print_final_stats=1 -artifact_prefix="$folder/$name-" \
    "$folder/$name" "${seeds[@]}" >>"$log" 2>&1
}
inputs() { awk '/^stat::number_of_executed_units:/ {n += $2} END {print n + 0}' "$log"; }

: >"$log"
if fuzz "-max_total_time=$2" && { missing=$((${4:-0} - $(inputs))); [ $missing -le 0 ] || fuzz "-runs=$missing"; }; then
  echo "ok $name: $(inputs) inputs"
else
  echo "FAILED $name: $(grep -m 1 -E 'ERROR|SUMMARY|runtime error' "$log"); see $log"
fi
