# shellcheck shell=bash
# Minimal Debian systems in scratch directories, to try things on; to be sourced after script/lib.sh by a script that defines
#   run_suite SUITE SCRATCH     which runs a suite, in namespaces of its own, by run_step
# and then calls `run_suites "$@"`, with the arguments
#   [--keep | --check] [SUITE...]
#
#   --keep               leaves the scratch directory
#   --check              does nothing but say why it would not work here, if it would not
#   FRESH_MIRROR=URL     Debian's archive, instead of those that this machine's apt has
#   FRESH_RUST=PACKAGES  Debian's packages to take the Rust toolchain from, for instance cargo-web

# Prints where a suite's Rust toolchain comes from: this machine if Debian's own packages are too old, or else those.
toolchain_of() { # SUITE
  [ -z "${FRESH_RUST-}" ] || { echo debian; return; }
  case $1 in
    bookworm) echo host ;;
    trixie | sid) echo debian ;;
    *) die "it is not known where $1 gets a Rust toolchain" ;;
  esac
}

# --- settings that the system inside gets from this machine

# Prints lines "URL SUITE COMPONENT". This machine's apt names suites after its own release; the one inside may be another.
archives_for() { # SUITE
  local own
  if [ -n "${FRESH_MIRROR-}" ]; then
    echo "$FRESH_MIRROR $1 main"
    return
  fi
  # shellcheck source=/dev/null
  own=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
  apt-get indextargets --format '$(SITE) $(RELEASE) $(COMPONENT)' 'Identifier: Packages' | sort -u \
    | awk -v own="$own" -v suite="$1" '
      $2 == own { print $1, suite, $3 }
      ($2 == own "-updates" || $2 == own "-security") && suite != "sid" { print $1, suite substr($2, length(own) + 1), $3 }'
}

# Copies proxies, certificates and the like, and the files that they name, to the same places inside.
configure_apt() { # MACHINE
  apt-config dump | grep -E '^Acquire::(https?|Check-[A-Za-z-]+)(::| )' >"$1/etc/apt/apt.conf.d/90fresh-machine" || true
  copy_named_files "$1" <"$1/etc/apt/apt.conf.d/90fresh-machine"
}

copy_named_files() { # MACHINE, and text with paths in quotes
  local path
  { grep -oE '"/[^"]+"' || true; } | tr -d '"' | while read -r path; do
    [ ! -f "$path" ] || install -D "$path" "$1$path"
  done
}

trust_own_certificates() { # MACHINE
  [ -d /usr/local/share/ca-certificates ] || return 0
  cp -rT /usr/local/share/ca-certificates "$1/usr/local/share/ca-certificates"
  chroot "$1" update-ca-certificates >/dev/null 2>&1
}

configure_cargo() { # MACHINE
  local home=${CARGO_HOME:-$HOME/.cargo} file
  mkdir -p "$1/root/.cargo"
  for file in config.toml config; do
    [ ! -f "$home/$file" ] || cp "$home/$file" "$1/root/.cargo/"
  done
  [ ! -f "${CARGO_HTTP_CAINFO-}" ] || install -D "$CARGO_HTTP_CAINFO" "$1$CARGO_HTTP_CAINFO"
}

# Prints the names of the variables that tell how to reach a registry.
registry_variables() {
  compgen -e | grep -E '^CARGO_(HTTP|NET|REGISTR|SOURCE)|^(https?|all|no)_proxy$|^(HTTPS?|ALL|NO)_PROXY$' || true
}

# --- the system inside

make_machine() { # SUITE MACHINE
  local archives mirror proxy=
  archives=$(archives_for "$1")
  mirror=$(awk -v suite="$1" '$2 == suite { print $1; exit }' <<<"$archives")
  [ -n "$mirror" ] || die "apt's configuration names no archive of Debian: set FRESH_MIRROR"
  eval "$(apt-config shell proxy Acquire::http::Proxy)"
  http_proxy=${http_proxy:-$proxy} \
    debootstrap --variant=minbase --include=ca-certificates,git "$1" "$2" "$mirror" >"$2.log" 2>&1 \
    || { tail -n 20 "$2.log"; die "debootstrap failed"; }
  printf 'deb %s\n' "${archives//$'\n'/$'\ndeb '}" >"$2/etc/apt/sources.list"
  cp /etc/hosts "$2/etc/hosts"
  cp /etc/resolv.conf "$2/etc/resolv.conf"
  # The tests start the servers that they need, on ports of their own.
  printf '#!/bin/sh\nexit 101\n' >"$2/usr/sbin/policy-rc.d"
  chmod +x "$2/usr/sbin/policy-rc.d"
  configure_apt "$2"
  trust_own_certificates "$2"
  configure_cargo "$2"
}

mount_devices() { # MACHINE
  local name
  mount -t proc proc "$1/proc"
  mount -t tmpfs -o mode=755,nosuid tmpfs "$1/dev"
  for name in null zero full random urandom tty; do
    touch "$1/dev/$name"
    mount --bind "/dev/$name" "$1/dev/$name"
  done
  mkdir "$1/dev/pts" "$1/dev/shm"
  mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$1/dev/pts"
  mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs "$1/dev/shm"
  ln -s pts/ptmx "$1/dev/ptmx"
  ln -s /proc/self/fd "$1/dev/fd"
  for name in stdin:0 stdout:1 stderr:2; do ln -s "/proc/self/fd/${name#*:}" "$1/dev/${name%:*}"; done
}

give_toolchain() { # SUITE MACHINE
  if [ "$(toolchain_of "$1")" = debian ]; then
    inside "$2" sh -c 'apt-get -qq update && apt-get -qq install -y --no-install-recommends $0' \
      "${FRESH_RUST:-cargo rustc rustfmt rust-clippy}" \
      >"$2.log" 2>&1 || { tail -n 20 "$2.log"; die "Debian's Rust toolchain could not be installed"; }
    return
  fi
  mkdir "$2/opt/rust"
  mount --bind "$(rustc --print sysroot)" "$2/opt/rust"
  mount -o remount,bind,ro "$2/opt/rust"
}

inside() { # MACHINE COMMAND...
  local machine=$1 variables=() name
  shift
  for name in $(registry_variables); do variables+=("$name=${!name}"); done
  chroot "$machine" env -i HOME=/root PATH=/opt/rust/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    CI=1 "${variables[@]}" sh -c 'cd && exec "$@"' sh "$@"
}

# --- running it

# Runs a command, shows its output, and records its result; in a separate shell, where `set -e` has an effect.
run_step() { # SUITE SCRATCH NAME COMMAND...
  local suite=$1 scratch=$2 name=$3 start=$SECONDS verdict=passed
  shift 3
  say "$suite: $name"
  (set -o pipefail; "$self" --step "$@" 2>&1 </dev/null | tee "$scratch/log") || verdict=FAILED
  echo "$suite: $name: $verdict ($((SECONDS - start)) s): $(tail -n 1 "$scratch/log")" >>"$scratch/results"
  tail -n 1 "$scratch/results"
  [ "$verdict" = passed ]
}

# Dies with the reason if these suites cannot be run here.
check_suites() { # SUITE...
  local suite toolchains=
  for suite; do toolchains+=$(toolchain_of "$suite")' '; done
  [ "$(id -u)" -eq 0 ] || die 'this needs root'
  ensure_packages debootstrap git util-linux
  command -v debootstrap >/dev/null || die 'this needs debootstrap'
  "${apart[@]}" true 2>/dev/null || die 'this needs namespaces of its own for mounts and processes, which are refused here'
  [[ $toolchains == *host* ]] || return 0
  ensure_cargo
  [ "$(rustc --print sysroot)" != /usr ] || die "Debian's Rust toolchain cannot be lent: install one with rustup"
}
apart=(setpriv --pdeathsig KILL unshare --mount --pid --ipc --fork --kill-child)

# Prints all results, and last "N passed, N failed".
print_results() { # SCRATCH
  local passed failed
  say 'all'
  cat "$1/results"
  passed=$(grep -c ': passed' "$1/results" || true)
  failed=$(grep -c ': FAILED' "$1/results" || true)
  echo "$passed passed, $failed failed"
  [ "$failed" -eq 0 ]
}

clean_up() {
  if [ -n "$child" ]; then
    kill -KILL "$child" 2>/dev/null || true
    sleep 1 # lets the processes inside end too
  fi
  [ "$option" = --keep ] || rm -rf --one-file-system "$scratch"
}

# Runs each suite in namespaces, which take all mounts and processes with them, however it ends.
run_suites() { # the arguments of the script
  case ${1-} in
    --inside)
      run_suite "$2" "$3"
      exit
      ;;
    --step)
      shift
      "$@"
      exit
      ;;
  esac
  option= child=
  case ${1-} in
    --check | --keep)
      option=$1
      shift
      ;;
  esac
  [ $# -gt 0 ] || set -- "${default_suites[@]}"
  check_suites "$@"
  [ "$option" != --check ] || exit 0
  [ -z "$(git -C "$root" status --porcelain)" ] || say 'what is not committed is left out'

  scratch=$(mktemp -d)
  : >"$scratch/results"
  trap clean_up EXIT
  trap 'exit 129' HUP
  trap 'exit 130' INT
  trap 'exit 143' TERM
  local suite
  for suite; do
    "${apart[@]}" "$self" --inside "$suite" "$scratch" &
    child=$!
    wait "$child" || echo "$suite: FAILED: it did not come to its end" >>"$scratch/results"
    child=
    [ "$option" = --keep ] || rm -rf --one-file-system "${scratch:?}/$suite"*
  done
  [ "$option" != --keep ] || say "kept: $scratch"
  print_results "$scratch"
}
