# Set-up steps of script/up and script/test. Sourced, not run.
# Each step looks first, so that a second run costs next to nothing.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$ROOT/.venv"
# A root shell opened by plain `su` has no sbin folders.
export PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"
export PIP_DISABLE_PIP_VERSION_CHECK=1 DEBIAN_FRONTEND=noninteractive

say() { printf '%s\n' "$*"; }
fail() { printf '%s\n' "$*" >&2; exit 1; }

# step "What it does" command...: says what it does, runs it, says how long it took.
# What the command prints goes to a log, and is shown when the command fails.
step() {
  local title=$1 begun=$SECONDS log
  shift
  printf '  %-46s' "$title"
  log=$(mktemp)
  if "$@" >"$log" 2>&1 </dev/null; then
    printf '%4d s\n' $((SECONDS - begun))
    rm -f "$log"
  else
    printf 'failed\n\n'
    tail -n 40 "$log" >&2
    rm -f "$log"
    return 1
  fi
}

listed() { sed -e 's/#.*//' -e '/^[[:space:]]*$/d' "$@"; }

# Names of the listed packages that are not installed. Node.js counts as there when a
# usable one is on the PATH, wherever it came from.
missing_packages() {
  command -v dpkg-query >/dev/null || { listed "$@"; return; }
  local name
  for name in $(listed "$@"); do
    case $name in
      nodejs | npm) has_node && continue ;;
    esac
    dpkg-query -W -f '${db:Status-Abbrev}' "$name" 2>/dev/null | grep -q '^ii' || echo "$name"
  done
}

has_node() {
  command -v npm >/dev/null && node -e 'process.exit(parseInt(process.versions.node) >= 18 ? 0 : 1)' 2>/dev/null
}

can_install() { [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; }

# What the portal cannot do without, by the names of the programs: for machines where the
# packages have other names, and for people who can't install any.
missing_programs() {
  python3 -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    echo "Python 3.11 or later with venv"
  command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 ||
    echo "PostgreSQL 15 or later"
  command -v redis-server >/dev/null || echo "Redis"
  command -v openssl >/dev/null || echo "openssl"
  command -v setpriv >/dev/null || echo "setpriv (util-linux)"
  has_node || frontend_is_built || echo "Node.js 18 or later with npm"
}

# need_packages LIST...: Debian packages of these lists. Fails where they can't be installed.
need_packages() {
  local missing redis=""
  missing=$(missing_packages "$@" | sort -u)
  [ -z "$missing" ] && return 0
  can_install || return 1
  # Our PostgreSQL is a private one: Debian's package shall not make a cluster of its own.
  if [ ! -e /etc/postgresql-common/createcluster.d/basalt.conf ] && [ ! -d /etc/postgresql ]; then
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/basalt.conf
  fi
  case $missing in *redis-server*) redis=new ;; esac
  step "Debian package lists" apt-get update || return 1
  # shellcheck disable=SC2086
  step "Debian packages ($(echo "$missing" | wc -w))" apt-get install -y --no-install-recommends $missing ||
    return 1
  # Nor shall Debian's Redis run because we wanted the program.
  if [ -n "$redis" ] && [ -d /run/systemd/system ]; then
    systemctl disable --now redis-server >/dev/null 2>&1 || true
  fi
}

# need_portal_programs: what the portal runs on, from Debian's packages or from elsewhere.
need_portal_programs() {
  need_packages "$ROOT/script/packages-portal.txt" && return 0
  local missing packages
  missing=$(missing_programs | paste -sd, | sed 's/,/, /g')
  [ -z "$missing" ] && return 0
  packages=$(missing_packages "$ROOT/script/packages-portal.txt" | paste -sd' ')
  if ! command -v apt-get >/dev/null; then
    fail "Missing on this machine: $missing. There is no apt here to install them with, so install them your own way and run this again."
  elif [ "$(id -u)" != 0 ]; then
    fail "Missing on this machine: $missing. Only root can install them: run this as root once, or \`apt-get install $packages\`."
  fi
  fail "Missing on this machine: $missing. Installing them failed (see above); run this again when that is mended."
}

lock_stamp() { sha256sum <"$1" | cut -c1-32; }

# venv_has FOLDER LOCK...: the environment holds these locks already.
venv_has() {
  local venv=$1 lock
  shift
  [ -x "$venv/bin/python" ] && "$venv/bin/python" -c '' 2>/dev/null || return 1
  for lock in "$@"; do
    grep -qs "^$(lock_stamp "$lock")$" "$venv/basalt-locks" || return 1
  done
}

# need_venv FOLDER LOCK...: a Python environment with these locks, hashes checked.
# requirements/dev.txt holds what portal.txt and libvirt.txt do, at the same versions.
need_venv() {
  local venv=$1 lock
  shift
  venv_has "$venv" "$@" && return 0
  if ! { [ -x "$venv/bin/python" ] && "$venv/bin/python" -m pip --version >/dev/null 2>&1; }; then
    # Half-made, or made by a Python that is gone since.
    step "Python environment" python3 -m venv --clear "$venv" || return 1
  fi
  local arguments=()
  for lock in "$@"; do arguments+=(-r "$lock"); done
  rm -f "$venv/basalt-locks"
  step "Python packages" "$venv/bin/python" -m pip install --quiet --require-hashes "${arguments[@]}" ||
    return 1
  for lock in "$@"; do
    lock_stamp "$lock"
    case $lock in
      */dev.txt) lock_stamp "${lock%dev.txt}portal.txt"; lock_stamp "${lock%dev.txt}libvirt.txt" ;;
    esac
  done >"$venv/basalt-locks"
}

frontend_stamp() {
  (cd "$ROOT" && cat package.json package-lock.json static/build.mjs $(find static/src static/img -type f | sort)) |
    sha256sum | cut -c1-32
}

frontend_is_built() { [ "$(cat "$ROOT/static/dist/.stamp" 2>/dev/null)" = "$(frontend_stamp)" ]; }

# A stalled download makes npm wait for minutes; what it has fetched is in its cache.
npm_packages() {
  local attempt
  for attempt in 1 2 3; do
    timeout 180 npm ci --no-audit --no-fund --prefer-offline && return 0
  done
  return 1
}

# The browser's bundles, built from package-lock.json.
need_frontend() {
  frontend_is_built && return 0
  local lock stamp
  stamp=$(frontend_stamp)
  lock=$(sha256sum "$ROOT/package-lock.json" | cut -c1-32)
  if [ "$(cat "$ROOT/node_modules/.basalt-lock" 2>/dev/null)" != "$lock" ]; then
    (cd "$ROOT" && step "npm packages" npm_packages) || return 1
    echo "$lock" >"$ROOT/node_modules/.basalt-lock"
  fi
  (cd "$ROOT" && step "Scripts and styles of the pages" npm run build) || return 1
  echo "$stamp" >"$ROOT/static/dist/.stamp"
}
