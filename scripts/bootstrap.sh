# Sourced by ./kinglet and ./test (bash, with $root set): Debian packages, a Rust toolchain, a CMake preset built with
# progress. Everything is said on standard error; what the tools print goes to build/logs/.
#
# Environment: KINGLET_NO_INSTALL=1 installs nothing (for other distributions, once the libraries are there).
#   KINGLET_OS_RELEASE names another os-release file (tests).

rust_needed=1.87  # the highest rust-version among textlib's crates
logs=$root/build/logs

say() { printf 'kinglet: %s\n' "$*" >&2; }

# What a log says about a failure: from ninja's first "FAILED:" on where there is one, else its end.
log_excerpt() {
  if grep -q '^FAILED:' "$1"; then sed -n '/^FAILED:/,$p' "$1" | head -n 24; else tail -n 12 "$1"; fi
}

# stop WHAT_FAILED WHAT_TO_DO... [with $log_file set: it is shown where it failed]
stop() {
  progress_end
  say "error: $1"
  if [ -n "${log_file:-}" ] && [ -s "$log_file" ]; then
    printf '  --- from %s\n' "$log_file" >&2
    log_excerpt "$log_file" | sed 's/^/  | /' >&2
    printf '  ---\n' >&2
  fi
  shift
  local line
  for line in "$@"; do say "  $line"; done
  exit 1
}

# progress LABEL STATE: one line that is rewritten on a terminal, never wider than it; on a narrow one the state stays.
# In a pipe or a log only what `say` prints. Spaces wipe out the line: no escape codes are needed.
progress() {
  [ -t 2 ] || return 0
  local columns text="kinglet: $1: $2"
  columns=$(stty size <&2 2>/dev/null)
  columns=${columns#* }
  [ "${columns:-0}" -gt 0 ] || columns=80
  columns=$((columns - 1))
  [ ${#text} -le $columns ] || text=$2
  text=${text:0:columns}
  printf '\r%s%*s' "$text" $((columns - ${#text})) '' >&2
  progress_open=$columns
}
progress_end() {
  [ ! -t 2 ] || [ -z "${progress_open:-}" ] || printf '\r%*s\r' "$progress_open" '' >&2
  progress_open=
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -- "$@"; fi
}

known_distribution() {
  local id version
  id=$(. "${KINGLET_OS_RELEASE:-/etc/os-release}" 2>/dev/null && printf '%s' "${ID:-}")
  version=$(. "${KINGLET_OS_RELEASE:-/etc/os-release}" 2>/dev/null && printf '%s' "${VERSION_ID:-}")
  distribution="${id:-an unknown system} ${version}"
  [ "$id" = debian ] && [ "${version%%.*}" -ge 12 ] 2>/dev/null
}

# packages_of SET...: the names in scripts/packages.txt
packages_of() {
  local set name
  while read -r set name; do
    case " $* " in *" $set "*) printf '%s\n' "$name" ;; esac
  done <"$root/scripts/packages.txt"
}

# missing_packages NAME...: those that dpkg doesn't have installed
missing_packages() {
  local installed name
  installed=" $(dpkg-query -W -f '${db:Status-Status}=${Package} ' "$@" 2>/dev/null) "
  for name in "$@"; do
    case $installed in *" installed=$name "*) ;; *) printf '%s\n' "$name" ;; esac
  done
}

install_packages() {  # NAME...
  writable_build
  log_file=$logs/packages.log
  if [ "$(id -u)" != 0 ] && ! command -v sudo >/dev/null; then
    log_file=
    stop "packages are missing, and installing them needs root (there is no sudo here)" \
      "As root: apt-get update && apt-get install $*"
  fi
  local with=""
  [ "$(id -u)" = 0 ] || with=" (with sudo)"
  say "installing $# Debian package(s)$with: $*"
  local apt=(env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300 -y)
  as_root "${apt[@]}" update >"$log_file" 2>&1 || stop "apt-get update failed" \
    "Check the network and /etc/apt/sources.list*, then run the same command again."
  as_root "${apt[@]}" install --no-install-recommends "$@" >>"$log_file" 2>&1 || stop "apt-get install failed" \
    "Try by hand: apt-get install --no-install-recommends $*" \
    "An earlier installation that was interrupted is finished by: dpkg --configure -a"
  log_file=
}

# need_packages SET...
need_packages() {
  [ -n "${KINGLET_NO_INSTALL:-}" ] && return
  local names missing
  mapfile -t names < <(packages_of "$@")
  if ! known_distribution; then
    stop "I know how to install packages on Debian 12 or later, not on $distribution" \
      "What is needed, by Debian's names: ${names[*]}" \
      "and Rust $rust_needed or later (cargo, rustc)." \
      "Install their counterparts, then run again with KINGLET_NO_INSTALL=1 in the environment."
  fi
  mapfile -t missing < <(missing_packages "${names[@]}")
  [ ${#missing[@]} = 0 ] || install_packages "${missing[@]}"
}

# cargo_works CARGO: it runs, and is new enough
cargo_works() {
  local version
  version=$("$1" --version 2>/dev/null) || return
  version=${version#cargo }
  version=${version%% *}
  [ "$(printf '%s\n%s\n' "$rust_needed" "$version" | sort -V | head -n 1)" = "$rust_needed" ]
}

# Sets $cargo (and RUSTC where another rustc comes first in PATH).
need_rust() {
  local candidate
  for candidate in "$(command -v cargo)" "$HOME/.cargo/bin/cargo" /usr/bin/cargo; do
    [ -x "$candidate" ] && cargo_works "$candidate" && { cargo=$candidate; break; }
  done
  if [ -z "${cargo:-}" ]; then
    [ -z "${KINGLET_NO_INSTALL:-}" ] || stop "Rust $rust_needed or later is missing (cargo, rustc)" \
      "Install it, for example with rustup, and run again."
    install_packages rustc-web cargo-web
    cargo_works /usr/bin/cargo || stop "Debian's cargo-web is older than Rust $rust_needed: $(/usr/bin/cargo --version)" \
      "Take in Debian's updates (bookworm-updates and bookworm-security in /etc/apt/sources.list*) or install rustup."
    cargo=/usr/bin/cargo
  fi
  [ "$cargo" = /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && export RUSTC=/usr/bin/rustc
  return 0
}

# As many compilers as there are cores, but one a 1.5 GB of free memory.
build_jobs() {
  local cores kilobytes jobs
  cores=$(nproc)
  kilobytes=$(sed -n 's/^MemAvailable: *\([0-9]*\).*/\1/p' /proc/meminfo)
  jobs=$((${kilobytes:-3000000} / 1500000))
  [ "$jobs" -ge 1 ] || jobs=1
  [ "$jobs" -le "$cores" ] || jobs=$cores
  printf '%s' "$jobs"
}

# Reads ninja's output: all of it into the log, "[done/all]" as progress. In a pipe: a line a 30 seconds.
show_build_progress() {  # LABEL
  local line="" part="" state=0/? last=$SECONDS began=$SECONDS status
  trap '' INT  # Ctrl-C reaches ninja itself; this reads until it has ended
  while :; do
    IFS= read -r -t 1 part
    status=$?
    line+=$part
    if [ $status = 0 ]; then
      printf '%s\n' "$line" >>"$log_file"
      [[ $line =~ ^\[([0-9]+/[0-9]+)\] ]] && state=${BASH_REMATCH[1]}
      line=
    elif [ $status -le 128 ]; then
      break
    fi
    if [ -t 2 ]; then
      progress "building $1" "$state, $((SECONDS - began)) s"
    elif [ $((SECONDS - last)) -ge 30 ]; then
      last=$SECONDS
      say "building $1: $state, $((SECONDS - began)) s"
    fi
  done
  [ -z "$line" ] || printf '%s\n' "$line" >>"$log_file"
  progress_end
}

writable_build() {
  mkdir -p "$logs" 2>/dev/null && [ -w "$root/build" ] ||
    stop "can't write to $root/build" "Make the folder writable for you: it holds the build."
}

# lock_build NAME FD: waits for whoever builds there now. Children keep the descriptor: a build outlives a killed launcher,
# and nobody may start a second one beside it.
lock_build() {
  writable_build
  eval "exec $2>\"\$root/build/$1.lock\""
  flock -n "$2" || { say "another build is running here; waiting for it"; flock "$2"; }
}

# cached NAME DIR: a variable of DIR's CMake cache
cached() { sed -n "s/^$1:[A-Z]*=//p" "$2/CMakeCache.txt" 2>/dev/null; }

configure_preset() {  # PRESET
  local dir=$root/build/$1
  [ -z "$(cached CMAKE_HOME_DIRECTORY "$dir")" ] || [ "$(cached CMAKE_HOME_DIRECTORY "$dir")" = "$root" ] ||
    rm -rf "$dir"  # the tree was moved or copied
  [ -f "$dir/build.ninja" ] && [ "$(cached KINGLET_CARGO "$dir")" = "$cargo" ] && return
  say "building Kinglet ($1): some minutes the first time; log: build/logs/build-$1.log"
  (cd "$root" && cmake --preset "$1" "-DKINGLET_CARGO=$cargo") >>"$log_file" 2>&1 && return
  rm -f "$dir/build.ninja"
  stop "cmake could not configure the build" "The log is $log_file"
}

build_failed() {  # PRESET
  local advice=("The whole log is $log_file")
  if grep -q -i -E 'crates|registry|failed to (download|get|fetch)' "$log_file"; then
    advice+=("Rust's crates are fetched by the first build: check the network, then run the same command again.")
  fi
  if grep -q -i 'no space left' "$log_file"; then advice+=("The disk is full: a build needs about 2 GB."); fi
  if grep -q -E 'Killed|cannot allocate|out of memory' "$log_file"; then
    advice+=("Memory ran out: close other programs, or build by hand with ninja -j 1 -C $root/build/$1")
  fi
  stop "the build failed" "${advice[@]}" "After a system update a fresh start may help: rm -rf $root/build/$1"
}

# By a signal, which this shell or ninja may notice first.
build_stopped() { progress_end; say "stopped; the next start goes on from here"; exit 130; }

# build_preset PRESET NINJA_ARGUMENT...: configured and built under build/PRESET; one at a time.
build_preset() {
  local preset=$1
  shift
  lock_build "$preset" 9
  log_file=$logs/build-$preset.log
  : >"$log_file"
  trap build_stopped INT TERM
  configure_preset "$preset"
  NINJA_STATUS='[%f/%t] ' ninja -C "$root/build/$preset" -j "$(build_jobs)" "$@" 2>&1 | show_build_progress "$preset"
  local status=${PIPESTATUS[0]}
  [ "$status" = 0 ] || ! grep -q '^ninja: build stopped: interrupted' "$log_file" || build_stopped
  [ "$status" = 0 ] || build_failed "$preset"
  trap - INT TERM
  exec 9>&-
  log_file=
}

# What ./kinglet needs: the release binary, and the stamp that says which sources it was made from.
build_release() {
  local before
  lock_build launcher 8
  before=$(fingerprint)
  if [ ! -x "$binary" ] || [ ! -f "$stamp" ] || [ "$(<"$stamp")" != "$before" ]; then
    need_packages build
    need_rust
    rm -f "$stamp"
    build_preset release kinglet
    printf '%s\n' "$before" >"$stamp.new" && mv -f "$stamp.new" "$stamp"
  fi
  exec 8>&-
}
