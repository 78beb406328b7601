#!/usr/bin/env bash
# Prints running, success or failed. Usage: status.sh JOB
case $(kubectl get --ignore-not-found --output=jsonpath='{.status.succeeded}/{.status.failed}' "$1" || echo unknown) in
    1/*) echo success ;;
    / | unknown) echo running ;;
    *) echo failed ;; # or deleted
esac
