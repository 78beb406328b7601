#!/usr/bin/env bash
# A Slurm cluster of two nodes, n1 and n2, on this machine, for tests. Usage: start.sh FOLDER; stop.sh FOLDER ends it.
# Root only, without systemd, control groups or an accounting database. The nodes say that they have more processors and
# memory than there are; their GPU is counted, and is none. All files are in FOLDER (a short path: sockets lie there), but
# for two links in /etc/slurm: inside jobs the executor drops the variables of Slurm, and SLURM_CONF with them.
set -euo pipefail
folder=$(realpath -m "$1")

refuse() {
    echo "no Slurm is started: $*" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || refuse "only root can"
for program in munged slurmctld slurmd sbatch srun; do
    command -v "$program" > /dev/null || refuse "$program is missing (Debian: apt-get install slurm-wlm munge)"
done
[ -z "${SLURM_CONF:-}" ] || refuse "SLURM_CONF=$SLURM_CONF names a cluster"
for name in slurm.conf gres.conf; do
    [ ! -e /etc/slurm/$name ] && [ ! -L /etc/slurm/$name ] || refuse "/etc/slurm/$name is there, and not ours"
done
[ ! -e "$folder" ] || [ -z "$(ls -A "$folder")" ] || refuse "$folder is not empty"

mkdir -p "$folder"/{state,log,n1,n2} /etc/slurm
head -c 1024 /dev/urandom > "$folder/munge.key"
chmod 400 "$folder/munge.key"

# Short times, so that a dead node is noticed and its jobs start again soon (cred_expire is the wait of a requeued job).
# MinJobAge is long: without accounting, squeue is where the executor learns how a job ended.
cat > "$folder/slurm.conf" << END
ClusterName=elision-test
SlurmctldHost=localhost
SlurmctldPort=16817
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$folder/munge.socket,cred_expire=10
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd.%n.pid
SlurmctldLogFile=$folder/log/slurmctld.log
SlurmdLogFile=$folder/log/slurmd.%n.log
JobCompType=jobcomp/filetxt
JobCompLoc=$folder/log/jobs.txt
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,bf_interval=1
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SlurmdParameters=config_overrides
ReturnToService=2
MinJobAge=7200
InactiveLimit=0
KillWait=2
SlurmdTimeout=20
MessageTimeout=10
GresTypes=gpu
NodeName=n1 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=16821 CPUs=8 RealMemory=32000 Gres=gpu:1
NodeName=n2 NodeHostname=$(hostname) NodeAddr=127.0.0.1 Port=16822 CPUs=8 RealMemory=32000 Gres=gpu:1
PartitionName=cpu Nodes=ALL MaxTime=INFINITE State=UP
PartitionName=gpu Nodes=ALL MaxTime=INFINITE State=UP
END
: > "$folder/gpu"
echo "NodeName=n[1-2] Name=gpu File=$folder/gpu" > "$folder/gres.conf"
ln -s "$folder/slurm.conf" "$folder/gres.conf" /etc/slurm/

trap '"$(dirname "$0")/stop.sh" "$folder"' ERR
munged --force --socket="$folder/munge.socket" --key-file="$folder/munge.key" --pid-file="$folder/munged.pid" \
    --log-file="$folder/log/munged.log" --seed-file="$folder/munged.seed" 2> /dev/null
slurmctld -f "$folder/slurm.conf"
for node in n1 n2; do
    slurmd -N "$node" -f "$folder/slurm.conf"
done
for _ in $(seq 150); do
    [ "$(sinfo --noheader --partition=cpu --states=idle --format=%D 2> /dev/null)" != 2 ] || exit 0
    sleep 0.2
done
tail -n 20 "$folder"/log/*.log >&2
false
