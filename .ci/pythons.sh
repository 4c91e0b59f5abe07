# Every CPython from 3.11 on that an ordinary user can run; sourced by .ci/run after user.sh.

WANTED=(3.11 3.12 3.13 3.14 3.13t 3.14t)

# Fills pythons[VERSION] with the directory of an interpreter that is called python3 there; says what it cannot find.
find_pythons() {
  declare -gA pythons=()
  local version candidate
  for version in "${WANTED[@]}"; do
    install_python "$version"
    while read -r candidate; do
      use_python "$version" "$candidate" && break
    done < <(candidates "$version")
    [ -n "${pythons[$version]:-}" ] || echo "CPython $version: none found, and no package has it"
  done
}

# What the distribution has of it. Its own python3 comes without venv.
install_python() {
  local package=python$1
  [[ $1 == *t ]] && package=python${1%t}-nogil
  if apt-cache show "$package" >/dev/null 2>&1 && ! dpkg -s "$package" "$package-venv" >/dev/null 2>&1; then
    apt-get install -y -qq "$package" "$package-venv" >/dev/null || true
  fi
}

candidates() {
  local versions=${PYENV_ROOT:-$HOME/.pyenv}/versions
  printf '%s\n' "/usr/bin/python$1" "/usr/local/bin/python$1"
  find "$versions" -mindepth 1 -maxdepth 1 -type d -regextype posix-extended -regex ".*/${1%t}\.[0-9]+${1#"${1%t}"}" \
    -printf "%p/bin/python$1\n" 2>/dev/null | sort -rV
}

# The user may have no way to it (root's home), so what it cannot run is copied to where it can.
use_python() {
  local version=$1 python=$2 bin=$room/python-$1/bin
  [ -x "$python" ] || return 1
  if runs "$python"; then
    install -D -m 755 <(printf '#!/bin/sh\nexec %s "$@"\n' "$python") "$bin/python3"
  else
    python3 .ci/copy_python.py "$("$python" -c 'import sys; print(sys.base_prefix)')" "$room/python-$version"
    if ! runs "$bin/python$version"; then
      echo "CPython $version: $python does not run for an ordinary user, nor does a copy of it"
      rm -rf "$room/python-$version"
      return 1
    fi
  fi
  pythons[$version]=$bin
  echo "CPython $version: $("$bin/python3" -c 'import sys; print(sys.version)')"
}

runs() { as_user /usr/bin:/bin "$1" -c 'import ctypes, ensurepip, lzma, sqlite3, ssl, venv' 2>/dev/null; }
