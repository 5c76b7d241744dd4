#!/bin/bash
# Builds the container image and proves that it serves: to this machine's curl through a published port, to a curl in another
# container, and through docker/compose.yml. Ends with the line `N passed, N failed, N skipped`.
#
# With a running engine: builds as anyone would, from the base image of the registry. With no engine (and as root): takes
# Debian's docker.io and runs its daemon in mount, PID and network namespaces of its own, without a way out. Everything it
# starts ends with those namespaces, and its images are deleted. There the image is built from this working copy's dist and
# from a base made of Debian's minimal system (debootstrap, kept in EXONET_CACHE) and this machine's Node.
set -euo pipefail

PROJECT=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
CACHE=${EXONET_CACHE:-/var/cache/exonet}
IMAGE=exonet-test
BASE_IMAGE=exonet-test-base
RUN=(--cap-add NET_ADMIN --device /dev/net/tun)
passed=0
failed=0
skipped=0

note() { echo "docker-test: $*" >&2; }
ok() { passed=$((passed + 1)) && echo "✔ $1"; }
not_ok() { failed=$((failed + 1)) && echo "✘ $1"; }
skip() { skipped=$((skipped + 1)) && echo "- $1"; }
# check TITLE COMMAND ... : the command's success is the result.
check() {
  local title=$1 said
  shift
  if said=$("$@" 2>&1); then
    ok "$title"
  else
    not_ok "$title"
    uniq <<<"$said" | tail -n 20 | sed 's/^/    /'
  fi
}

# ---------------------------------------------------------------------------------------------------------------------
# The checks; `docker` speaks to an engine and the image $IMAGE is built.

# Curl, with patience while the server starts.
fetch() { curl --silent --show-error --fail --max-time 60 --retry 15 --retry-delay 1 --retry-all-errors "$@"; }
digest() { sha256sum | cut -d ' ' -f 1; }
same_digest() { [ "$(fetch "$2" | digest)" = "$(digest <"$1")" ]; }
published_port() { docker port "$1" 80/tcp | sed -n 's/^.*:\([0-9]*\)$/\1/p' | head -n 1; }
container_address() { docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' "$1"; }

make_site() {
  mkdir -p "$1"
  echo '<!doctype html><title>docker-test</title><p>It serves.' >"$1/index.html"
  head -c 10000000 /dev/urandom >"$1/large.bin"
  chmod -R a+rX "$1"
}

parallel_fetches() {
  local answers
  answers=$(curl --silent --parallel --parallel-max 20 --max-time 60 --output /dev/null --write-out '%{http_code}\n' "$1?[1-100]")
  [ "$(grep -c '^200$' <<<"$answers")" = 100 ]
}

# It answers to the address and the MAC address that the engine gave to the container.
answers_as_container() {
  docker run --rm --entrypoint curl "$CLIENT_IMAGE" --silent --fail --max-time 20 "http://$(container_address "$1")/" | cmp - "$site/index.html"
}

stops_cleanly() {
  docker stop --time 20 "$1" >/dev/null
  local code
  code=$(docker inspect --format '{{.State.ExitCode}}' "$1")
  [ "$code" = 0 ] || { echo "exit code $code" && docker logs --tail 20 "$1" && false; }
}

# With --network none there is a TAP device in the container, and the kernel's end of it reaches the stack.
serves_on_tap() {
  local tap
  tap=$(docker run --detach --network none "${RUN[@]}" --volume "$site:/srv/site:ro" "$IMAGE")
  containers+=("$tap")
  docker exec "$tap" node --eval "
    const attempt = (left) => fetch('http://10.90.0.2/').then((answer) => answer.text()).then(console.log, (error) => {
      if (left === 0) throw error;
      setTimeout(attempt, 500, left - 1);
    });
    attempt(20);" | grep -F 'It serves.'
}

# refuses OPTION... -- SENTENCE: the container ends by itself with one sentence that holds the given words.
refuses() {
  local options=()
  while [ "$1" != -- ]; do options+=("$1") && shift; done
  local said code=0
  said=$(timeout 60 docker run --rm "${options[@]}" "$IMAGE" 2>&1 >/dev/null) || code=$?
  echo "exit code $code: $said"
  [ "$code" != 0 ] && [ "$code" != 124 ] && [ "$(wc -l <<<"$said")" = 1 ] && grep -qF -- "$2" <<<"$said"
}

run_checks() {
  site=$work/site
  make_site "$site"

  local one port
  if ! one=$(docker run --detach --publish "${PUBLISH:-127.0.0.1::80}" "${RUN[@]}" --volume "$site:/srv/site:ro" "$IMAGE"); then
    not_ok 'a container starts'
    return
  fi
  containers+=("$one")
  port=$(published_port "$one")
  check "this machine's curl reaches the published port" same_digest "$site/index.html" "http://127.0.0.1:$port/"
  if [ "$failed" != 0 ]; then
    docker logs --tail 40 "$one" 2>&1 | sed 's/^/    /'
    return
  fi
  check '10 MB arrive whole' same_digest "$site/large.bin" "http://127.0.0.1:$port/large.bin"
  check '100 fetches in parallel' parallel_fetches "http://127.0.0.1:$port/"
  check "another container's curl reaches its address" answers_as_container "$one"
  check 'it stops cleanly when told to' stops_cleanly "$one"
  check 'it starts again' docker start "$one"
  port=$(published_port "$one")
  check '... and serves again' same_digest "$site/index.html" "http://127.0.0.1:$port/"

  one=$(docker run --detach --publish "${PUBLISH_OTHER:-127.0.0.1::80}" "${RUN[@]}" "$IMAGE")
  containers+=("$one")
  check 'without a volume it serves the example site' same_digest "$PROJECT/examples/site/index.html" "http://127.0.0.1:$(published_port "$one")/"

  check 'without the right to change its network it says so' refuses -- '--cap-add NET_ADMIN'
  check 'without the right to send frames it says so' refuses --cap-add NET_ADMIN --cap-drop NET_RAW -- '--cap-add NET_RAW'
  check "without a link of its own it serves at the TAP device's address" serves_on_tap
  check 'it prints its help' docker run --rm "$IMAGE" --help

  local compose=()
  if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
  elif command -v docker-compose >/dev/null; then
    compose=(docker-compose)
  fi
  if [ ${#compose[@]} = 0 ]; then
    skip 'compose.yml: neither docker compose nor docker-compose is here'
  else
    compose+=(--project-name exonet-test --file "$PROJECT/docker/compose.yml")
    export BASE IMAGE CLIENT_IMAGE SITE=$site PORT=${COMPOSE_PORT:-18080}
    check 'compose.yml starts it' "${compose[@]}" up --detach --no-build cheetah
    compose_fetch() { "${compose[@]}" run --rm client | tr -d '\r' | cmp - "$site/index.html"; }
    check "compose.yml's second container curls it by name" compose_fetch
    check "compose.yml publishes it to this machine's curl" same_digest "$site/index.html" "http://127.0.0.1:$PORT/"
    [ "$failed" = 0 ] || "${compose[@]}" logs --tail 40 2>&1 | sed 's/^/    /'
    "${compose[@]}" down --timeout 20 >/dev/null 2>&1 || true
  fi
}

report() {
  echo "$passed passed, $failed failed, $skipped skipped"
  [ "$failed" = 0 ]
}

# ---------------------------------------------------------------------------------------------------------------------
# With the engine that is there.

with_engine() {
  BASE=${BASE:-node:22-slim}
  CLIENT_IMAGE=${CLIENT_IMAGE:-curlimages/curl:8.11.1}
  containers=()
  clean_engine() {
    [ ${#containers[@]} = 0 ] || docker rm --force --volumes "${containers[@]}" >/dev/null 2>&1 || true
    docker image rm "$IMAGE" >/dev/null 2>&1 || true
    rm -rf "$work"
  }
  trap clean_engine EXIT
  check "the image builds on $BASE" docker build --build-arg "BASE=$BASE" --file "$PROJECT/docker/Dockerfile" --tag "$IMAGE" "$PROJECT"
  if [ "$failed" = 0 ]; then run_checks; fi
  report
}

# ---------------------------------------------------------------------------------------------------------------------
# With an engine of our own: first what needs the network and the disk, outside of the namespaces.

# Debian's minimal system with what the image and its clients take, as a tar file in the cache; prints its path.
make_base() {
  local suite mirror tarball
  suite=$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)
  # shellcheck disable=SC2016 # apt expands these
  mirror=$(apt-get indextargets --format '$(RELEASE) $(SITE)' | sed -n "s/^$suite //p" | head -n 1)
  tarball=$CACHE/$suite-$(dpkg --print-architecture)-1.tar
  if ! [ -f "$tarball" ]; then
    note "debootstrap of $suite, once, into $tarball"
    mkdir -p "$CACHE"
    for try in 1 2 3; do
      rm -rf "$work/base"
      if debootstrap --variant=minbase --include=iproute2,curl,libstdc++6,libatomic1 \
        "$suite" "$work/base" "$mirror" >"$work/debootstrap.log" 2>&1; then
        rm -rf "$work"/base/var/cache/apt/archives/*.deb "$work"/base/var/lib/apt/lists/*
        # A tar file appears under its name only when it is whole.
        tar -C "$work/base" --one-file-system -cf "$tarball.new" . && mv "$tarball.new" "$tarball"
        break
      fi
      note "debootstrap failed (try $try): $(tail -n 1 "$work/debootstrap.log")"
    done
    rm -rf "$work/base"
  fi
  [ -f "$tarball" ] && echo "$tarball"
}

# The context of the image: this tree as built, with the packages it runs on and no others.
make_context() {
  local context=$1
  mkdir -p "$context/docker" "$context/examples"
  cp -a "$PROJECT"/{package.json,package-lock.json,LICENSE,dist} "$context/"
  cp -a "$PROJECT/docker/entrypoint.sh" "$context/docker/"
  cp -a "$PROJECT/examples/site" "$context/examples/"
  (cd "$context" && npm ci --omit=dev --prefer-offline --no-audit --no-fund --loglevel=error >/dev/null)
}

# One copy of the base's definition: Debian's minimal system with this machine's Node.
make_base_context() {
  mkdir -p "$1"
  cp -L "$(command -v node)" "$1/node"
  printf 'FROM %s-system\nCOPY node /usr/local/bin/node\nRUN node --version\n' "$BASE_IMAGE" >"$1/Dockerfile"
}

with_own_engine() {
  if [ "$(id -u)" != 0 ]; then
    note 'no container engine answers, and only root can start one: sudo make docker-test'
    exit 1
  fi
  "$PROJECT/scripts/debian-install.sh" docker.io docker-compose debootstrap iptables iproute2 curl
  clean_machine() {
    # Processes that were just killed may hold it for a moment.
    for _ in 1 2 3 4 5; do
      rm -rf "$work" 2>/dev/null && break
      sleep 1
    done
    # The groups that the engine made for its containers, in whichever hierarchies this machine has.
    find /sys/fs/cgroup -depth -type d -path "*/$CGROUP*" -exec rmdir {} + 2>/dev/null || true
  }
  export CGROUP=exonet-test-$$
  trap clean_machine EXIT
  local engine=''
  trap '[ -z "$engine" ] || kill -KILL "$engine"; exit 130' INT TERM HUP
  export BASE_TAR
  BASE_TAR=$(make_base)
  make_context "$work/context"
  make_base_context "$work/base-context"
  # The engine sees none of this machine's links, processes or mounts to change; killing its first process ends them all.
  setpriv --pdeathsig KILL -- unshare --mount --net --pid --fork --kill-child --mount-proc -- "$0" --inside "$work" &
  engine=$!
  wait "$engine"
}

# Inside: start the daemon, build, check.
inside() {
  trap 'exit 130' INT TERM HUP
  # Neither a daemon's socket nor its containerd's may be mistaken for this machine's.
  mount -t tmpfs tmpfs /run
  ip link set lo up
  # Debian's client goes with Debian's daemon.
  export PATH=/usr/sbin:/usr/bin:/sbin:/bin DOCKER_HOST=unix:///run/docker.sock DOCKER_CONFIG=$work/config
  export DOCKER_BUILDKIT=0 COMPOSE_DOCKER_CLI_BUILD=0 no_proxy='*'
  dockerd --host "$DOCKER_HOST" --data-root "$work/data" --exec-root /run/docker --pidfile /run/docker.pid \
    --cgroup-parent "$CGROUP" --log-level warn >"$work/dockerd.log" 2>&1 &
  local daemon=$!
  for _ in $(seq 60); do
    docker info >/dev/null 2>&1 && break
    kill -0 "$daemon" 2>/dev/null || break
    sleep 0.5
  done
  if ! docker info >"$work/info" 2>&1; then
    note 'dockerd does not start:'
    tail -n 30 "$work/dockerd.log" >&2
    exit 1
  fi
  note "dockerd $(docker info --format '{{.ServerVersion}}, storage {{.Driver}}, cgroups v{{.CgroupVersion}}')"
  docker import "$BASE_TAR" "$BASE_IMAGE-system" >/dev/null
  docker build --quiet --tag "$BASE_IMAGE" "$work/base-context" >/dev/null

  BASE=$BASE_IMAGE
  CLIENT_IMAGE=$BASE_IMAGE
  # Nobody else's ports are taken here.
  PUBLISH=8080:80
  PUBLISH_OTHER=8081:80
  containers=()
  check 'the image builds on a plain Debian with Node' \
    docker build --build-arg "BASE=$BASE" --file "$PROJECT/docker/Dockerfile" --tag "$IMAGE" "$work/context"
  if [ "$failed" = 0 ]; then run_checks; fi
  [ ${#containers[@]} = 0 ] || docker rm --force --volumes "${containers[@]}" >/dev/null 2>&1 || true
  kill -TERM "$daemon"
  wait "$daemon" || true
  report
}

if [ "${1:-}" = --inside ]; then
  work=$2
  inside
  exit
fi

cd "$PROJECT"
[ -f dist/cli/main.js ] || { note 'dist/ is missing: make build' && exit 1; }
work=$(mktemp -d /var/tmp/exonet-docker-XXXXXX)
if docker info >/dev/null 2>&1; then
  with_engine
else
  with_own_engine
fi
