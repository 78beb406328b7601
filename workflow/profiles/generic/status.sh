#!/usr/bin/env bash
# Prints running, success or failed. Usage: status.sh JOB. Of OpenPBS, with job_history_enable.
job=$(qstat -x -f "$1")
case $job in
    *"job_state = F"*) grep -q "Exit_status = 0$" <<< "$job" && echo success || echo failed ;;
    *) echo running ;;
esac
