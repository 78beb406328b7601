#!/usr/bin/env bash
# Ends what start.sh FOLDER started: the cluster's jobs, then its daemons by the ids in its files, then its links.
set -uo pipefail
folder=$(realpath "$1")
[ "$(readlink /etc/slurm/slurm.conf)" = "$folder/slurm.conf" ] || {
    echo "no Slurm of $folder runs here" >&2
    exit 1
}
scancel --user=root 2> /dev/null
for _ in $(seq 50); do
    [ -n "$(squeue --noheader --states=running,completing 2> /dev/null)" ] || break
    sleep 0.2
done
for file in "$folder"/slurmd.*.pid "$folder"/slurmctld.pid "$folder"/munged.pid; do
    pid=$(cat "$file" 2> /dev/null) || continue
    # The id may be another process's by now: all command lines of ours name the folder.
    if grep -qF "$folder/" "/proc/$pid/cmdline" 2> /dev/null; then
        kill "$pid"
        for _ in $(seq 50); do
            grep -qF "$folder/" "/proc/$pid/cmdline" 2> /dev/null || break
            sleep 0.1
        done
    fi
done
rm -f /etc/slurm/slurm.conf /etc/slurm/gres.conf
