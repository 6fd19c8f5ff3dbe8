# shellcheck shell=bash
# Shared by the scripts beside it; to be sourced.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# The directories of all Perl tests; t/contract runs on the original too.
test_dirs=(t/contract t/deflate t/examples t/features t/hostile t/process)

# Packages needed to build, and then those needed to run an AnyEvent application on the result.
build_packages=(perl gcc libc6-dev make libperl-dev libclang-dev)
runtime_packages=(libanyevent-perl libev-perl libmoo-perl libprotocol-websocket-perl libsub-quote-perl liburi-perl liburi-ws-perl)
# Further packages for the Perl tests, and those for the examples. Without them, the tests skip a part.
test_packages=(openssl libnet-ssleay-perl libio-socket-ssl-perl libanyevent-websocket-client-perl libtest-memory-cycle-perl
  libtest-mockmodule-perl libsub-override-perl libfuture-asyncawait-perl libcoro-perl)
example_packages=(libhttp-parser-xs-perl libanyevent-redis-perl redis-server nginx twiggy
  chromium chromium-driver)

say() { printf '==> %s\n' "$*"; }
die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# Installs those of the named Debian packages that are missing.
ensure_packages() {
  local installed missing=() as_root=() package
  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system: these packages, or their like, must be there: $*"
    return
  fi
  installed=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' "$@" 2>/dev/null || true)
  for package; do grep -qx ".i  $package" <<<"$installed" || missing+=("$package"); done
  [ ${#missing[@]} -gt 0 ] || return 0
  if [ "$(id -u)" -ne 0 ]; then
    sudo -n true 2>/dev/null \
      || die "neither root nor sudo without a password; please install first: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  as_root+=(env DEBIAN_FRONTEND=noninteractive)
  say "installing ${missing[*]}"
  local apt=(apt-get -qq -o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0)
  "${as_root[@]}" "${apt[@]}" update >/dev/null \
    || say "apt-get update failed; trying with the package lists that are there"
  "${as_root[@]}" "${apt[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null \
    || die "apt-get could not install ${missing[*]}"
}

ensure_cargo() {
  command -v cargo >/dev/null || PATH=$PATH:${CARGO_HOME:-$HOME/.cargo}/bin
  cargo --version >/dev/null 2>&1 \
    || die "cargo is missing: install a Rust toolchain (see rust-version in Cargo.toml) and put it in PATH"
}

# Installs the nightly toolchain, with these components.
ensure_nightly() {
  cargo +nightly --version >/dev/null 2>&1 || rustup toolchain install nightly --profile minimal \
    || die "this needs Rust's nightly toolchain: rustup toolchain install nightly"
  local component
  for component; do
    rustup +nightly component list --installed | grep -q "^$component" || rustup +nightly component add "$component" \
      || die "this needs a component of Rust's nightly toolchain: rustup +nightly component add $component"
  done
}

# Installs a subcommand of cargo.
ensure_cargo_tool() {
  cargo --list | grep -q "^ *${1#cargo-}\b" && return
  say "installing $1, which takes some minutes"
  cargo install --quiet --locked "$1" || die "$1 could not be installed"
}

# The Makefile hands cargo this PERL; a cargo called without it would build libperl-sys once more.
PERL=$(perl -e 'print $^X')
export PERL
jobs=$(getconf _NPROCESSORS_ONLN)

# These variables would change what is tested or measured.
unset PERL_ANYEVENT_MODEL ANYEVENT_WEBSOCKET_PP ANYEVENT_WEBSOCKET_STRICT ANYEVENT_WEBSOCKET_DEFAULT_CLOSE_CODE PERL5OPT

configure() {
  perl Makefile.PL
  [ -f Makefile ] # if it was not written, the reason is above
}
build() { make -j"$jobs"; }

# Builds for scripts with another subject. A Makefile that somebody configured is kept as long as it knows all files.
ensure_blib() {
  local outdated
  ensure_cargo
  say "building, which takes a few minutes the first time, most of them for perl's bindings"
  outdated=$(find Makefile.PL perl src \( -type d -o -name Makefile.PL \) -newer Makefile 2>/dev/null | wc -l)
  [ -f Makefile ] && [ "$outdated" -eq 0 ] || configure
  build || die "the build failed"
}
