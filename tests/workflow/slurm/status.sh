#!/usr/bin/env bash
# Prints running, success or failed, for the generic executor. Usage: status.sh JOB
case $(squeue --noheader --states=all --jobs="$1" --format=%T) in
    COMPLETED) echo success ;;
    PENDING | CONFIGURING | RUNNING | COMPLETING) echo running ;;
    *) echo failed ;;
esac
