#!/bin/sh
# Prints a line per service, as a chatty tool would, and writes two entities with the file $AGENT_OUTPUT.
set -eu
count=$1

number=1
while [ "$number" -le "$count" ]; do
  echo "[$number/$count] imported service-$number"
  number=$((number + 1))
  if [ $((number % 100)) -eq 0 ]; then sleep 0.3; fi
done

for number in 1 2; do
  cat >>"$AGENT_OUTPUT" <<OUTPUT
entity<<EOF
{"blueprint": "service", "identifier": "service-$number", "title": "Service $number"}
EOF
OUTPUT
done
echo "summary=imported $count services" >>"$AGENT_OUTPUT"
