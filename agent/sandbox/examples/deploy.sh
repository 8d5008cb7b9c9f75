#!/bin/sh
# A deployment that fails: the exit code and the last lines become the run's summary.
version=$1
echo "rendering manifests for $version"
sleep 0.5
echo "applying to production"
echo "error: quota exceeded: 12 of 10 CPUs requested" >&2
exit 3
