#!/bin/bash
# Runs a program for make so that Ctrl-C ends the program and nothing else:
#
#   scripts/foreground.sh COMMAND [ARGUMENT ...]
#
# On a terminal the program gets a process group of its own in the foreground, hence make does not see the Ctrl-C and has
# no "Interrupt" to complain about. Should make be killed, the program is told to end as well.
set -uo pipefail

if ! [ -t 0 ]; then
  exec "$@"
fi

# The shell must outlive the program to report how it ended.
follow=()
if setpriv --pdeathsig TERM true 2>/dev/null; then
  follow=(setpriv --pdeathsig TERM --)
fi
set -m
"${follow[@]}" "$@"
status=$?
# 128 + SIGINT and 128 + SIGTERM: it was asked to end.
if [ "$status" = 130 ] || [ "$status" = 143 ]; then
  status=0
fi
exit "$status"
