# Set-up steps of script/up and script/test. Sourced, not run.
# Each step looks first, so that a second run costs next to nothing.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
VENV="$ROOT/.venv"
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
  if "$@" >"$log" 2>&1; then
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

# need_packages LIST...: Debian packages of these lists.
need_packages() {
  local missing
  missing=$(missing_packages "$@" | sort -u)
  [ -z "$missing" ] && return 0
  if ! can_install; then
    fail "These Debian packages are missing, and only root can install them: $(echo $missing). Run: apt-get install $(echo $missing)"
  fi
  # Our PostgreSQL is a private one: Debian's package shall not make a cluster of its own.
  if [ ! -e /etc/postgresql-common/createcluster.d/basalt.conf ] && [ ! -d /etc/postgresql ]; then
    mkdir -p /etc/postgresql-common/createcluster.d
    echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/basalt.conf
  fi
  step "Debian package lists" apt-get update || return 1
  # shellcheck disable=SC2086
  step "Debian packages ($(echo "$missing" | wc -w))" apt-get install -y --no-install-recommends $missing
}

# need_venv FOLDER LOCK...: a Python environment with exactly these locks, hashes checked.
need_venv() {
  local venv=$1 stamp
  shift
  stamp=$(cat "$@" | sha256sum | cut -c1-32)
  [ -x "$venv/bin/python" ] && [ "$(cat "$venv/basalt-lock" 2>/dev/null)" = "$stamp" ] && return 0
  [ -x "$venv/bin/python" ] || step "Python environment" python3 -m venv "$venv" || return 1
  local arguments=()
  local lock
  for lock in "$@"; do arguments+=(-r "$lock"); done
  step "Python packages" "$venv/bin/python" -m pip install --quiet --require-hashes "${arguments[@]}" || return 1
  echo "$stamp" >"$venv/basalt-lock"
}

# The browser's bundles, built from package-lock.json.
need_frontend() {
  local stamp
  stamp=$(cd "$ROOT" && cat package.json package-lock.json static/build.mjs $(find static/src static/img -type f | sort) | sha256sum | cut -c1-32)
  [ "$(cat "$ROOT/static/dist/.stamp" 2>/dev/null)" = "$stamp" ] && return 0
  local lock
  lock=$(sha256sum "$ROOT/package-lock.json" | cut -c1-32)
  if [ "$(cat "$ROOT/node_modules/.basalt-lock" 2>/dev/null)" != "$lock" ]; then
    (cd "$ROOT" && step "npm packages" npm ci --no-audit --no-fund) || return 1
    echo "$lock" >"$ROOT/node_modules/.basalt-lock"
  fi
  (cd "$ROOT" && step "Scripts and styles of the pages" npm run build) || return 1
  echo "$stamp" >"$ROOT/static/dist/.stamp"
}
