#!/usr/bin/env bash
# A node dies as if its power failed: its slurmd and all that runs on it get SIGKILL. Usage: kill-node.sh FOLDER NODE
set -euo pipefail
folder=$(realpath "$1") node=$2
[ "$(readlink /etc/slurm/slurm.conf)" = "$folder/slurm.conf" ] || {
    echo "no Slurm of $folder runs here" >&2
    exit 1
}
# All processes of jobs have these two in their environment; the daemons of the steps have the job's id as their name.
inside=$(grep -lzx "SLURMD_NODENAME=$node" /proc/[0-9]*/environ 2> /dev/null |
    xargs -r grep -lzx "SLURM_CLUSTER_NAME=elision-test" 2> /dev/null) || true
jobs=$(squeue --noheader --states=running --nodelist="$node" --format=%A | paste -sd '|')
steps=$(grep -laE "^slurmstepd: \[(${jobs:-none})\." /proc/[0-9]*/cmdline 2> /dev/null) || true
ids=$(cut -d / -f 3 <<< "$steps"$'\n'"$inside" | grep .) || true
# shellcheck disable=SC2086 # one argument per id
kill -KILL "$(cat "$folder/slurmd.$node.pid")" $ids 2> /dev/null || true
