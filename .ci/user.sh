# An ordinary user of a fresh name, with an empty environment and nothing of root's; sourced by .ci/run.

# The user and its directory. What it started is ended, and all that it had is removed, when CI ends.
make_user() {
  user=banken-ci-$$
  room=$(mktemp -d)
  chmod 755 "$room"
  trap remove_user EXIT
  useradd --home-dir "$room/home" --create-home --shell /bin/bash "$user"
}

remove_user() {
  pkill -KILL -u "$user" || true # nobody else has that name
  no_process_left >/dev/null || true
  find /tmp /dev/shm -maxdepth 1 -user "$user" -exec rm -rf {} + || true
  userdel --remove "$user" 2>/dev/null || true
  rm -rf "$room"
}

# as_user PATH COMMAND...: in the user's copy of the checkout, with HOME and PATH and no other variable. pip finds what it
# needs in the machine's own files (/etc); a machine that has it in variables only cannot run this.
as_user() {
  local path=$1
  shift
  (cd "$room/home/banken" && exec setpriv --reuid "$user" --regid "$user" --clear-groups \
    env -i HOME="$room/home" PATH="$path" "$@" </dev/null)
}

# A copy of what git tracks, as somebody who clones it gets it.
copy_checkout() {
  rm -rf "$room/home/banken"
  mkdir "$room/home/banken"
  git ls-files -z | tar --null -cf - -T - | tar -C "$room/home/banken" --no-same-owner -xf -
  chown -R "$user:$user" "$room/home/banken"
}

# Every test ends what it started.
no_process_left() {
  for _ in $(seq 100); do
    pgrep -u "$user" >/dev/null || return 0
    sleep 0.1
  done
  echo "left behind by the tests:"
  ps -o pid,ppid,etimes,stat,args -u "$user"
  return 1
}
