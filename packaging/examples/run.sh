#!/bin/sh
# Starts an agent in the foreground, gives it a job that says hello every five seconds, and says
# where to look. Ctrl-C stops it; its data stays in ./bellwether.data.
#
# BELLWETHER  the program; otherwise the release build, the debug build, or the one in the path
# DATA_DIR    where it keeps its data
# HTTP_ADDR   where it listens
set -eu

data=${DATA_DIR:-./bellwether.data}
http=${HTTP_ADDR:-127.0.0.1:8080}
socket=$data/api.sock
job='{"name":"hello","schedule":"@every 5s","executor":"shell",
      "executor_config":{"shell":"true","command":"echo hello from $BELLWETHER_EXECUTION_ID"}}'

find_program() {
    for program in "${BELLWETHER:-}" target/release/bellwether target/debug/bellwether; do
        if [ -n "$program" ] && [ -x "$program" ]; then
            echo "$program"
            return
        fi
    done
    command -v bellwether || {
        echo "there is no bellwether here: run make build first" >&2
        exit 1
    }
}

# api METHOD PATH [BODY]: one request; fails when there is no good answer.
api() {
    if command -v curl >/dev/null 2>&1; then
        curl -sS --fail --max-time 5 --unix-socket "$socket" -X "$1" \
            ${3+-H} ${3+'Content-Type: application/json'} ${3+--data} ${3+"$3"} \
            "http://localhost$2"
    elif command -v bash >/dev/null 2>&1; then
        # Without curl, the shell that can open a TCP connection sends the bytes itself.
        HOST=${http%:*} PORT=${http##*:} bash -c '
            body=${3-}
            exec 3<>"/dev/tcp/${HOST:-127.0.0.1}/$PORT" || exit 1
            printf "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n" "$1" "$2" >&3
            printf "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" \
                "${#body}" "$body" >&3
            read -r _ status _ <&3
            cat <&3 >/dev/null
            [ "$status" -ge 200 ] && [ "$status" -lt 300 ]
        ' api "$@"
    else
        echo "neither curl nor bash is here to send: $1 $2 ${3-}" >&2
        return 1
    fi
}

program=$(find_program)
"$program" agent --data-dir "$data" --http-addr "$http" &
agent=$!
# The agent gets the signal from here, whether it came from the terminal or from kill.
trap 'kill -TERM "$agent" 2>/dev/null || :' INT TERM HUP

tries=0
until api GET /ready >/dev/null 2>&1; do
    if ! kill -0 "$agent" 2>/dev/null; then
        echo "the agent has ended before it was ready" >&2
        status=0
        wait "$agent" || status=$?
        [ "$status" -ne 0 ] || status=1
        exit "$status"
    fi
    tries=$((tries + 1))
    if [ "$tries" -gt 30 ]; then
        echo "the agent is not ready after 30 s" >&2
        kill -TERM "$agent"
        wait "$agent" || :
        exit 1
    fi
    sleep 1
done

if api POST /v1/jobs "$job" >/dev/null; then
    cat <<END

The job "hello" runs every five seconds. To look:
    curl http://$http/v1/jobs/hello
    curl http://$http/v1/jobs/hello/executions
    curl --unix-socket $socket http://localhost/v1/jobs
To remove it:
    curl -X DELETE http://$http/v1/jobs/hello
Ctrl-C stops the agent.

END
fi

# A signal ends the first wait; the second one lets the agent finish.
status=0
wait "$agent" || status=$?
while kill -0 "$agent" 2>/dev/null; do
    status=0
    wait "$agent" || status=$?
done
exit "$status"
