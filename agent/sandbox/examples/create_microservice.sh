#!/bin/sh
# Creates a microservice. What it prints is the run's log; what it appends to $AGENT_OUTPUT is told to Port.
set -eu
name=$1

echo "creating $name in $REGION for run $RUN_ID"
for part in repository pipeline dashboard; do
  sleep 0.4
  echo "created the $part"
done

{
  echo "link=https://git.sandbox.example/$name"
  echo "status_label=deployed"
  echo "summary=$name is up in $REGION"
} >>"$AGENT_OUTPUT"
echo "done"
