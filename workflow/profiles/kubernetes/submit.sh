#!/usr/bin/env bash
# Gives Kubernetes a job and prints its name. Usage: IMAGE=... CLAIM=... MOUNT=... submit.sh CORES MB MINUTES GPUS SCRIPT
set -euo pipefail
kubectl create --output=name --filename=- << END
apiVersion: batch/v1
kind: Job
metadata:
  generateName: elision-
spec:
  backoffLimit: 0 # Snakemake tries again, with more memory
  activeDeadlineSeconds: $(($3 * 60))
  ttlSecondsAfterFinished: 86400
  template:
    spec:
      restartPolicy: Never
      containers:
        - name: job
          image: $IMAGE
          command: [bash, $5]
          resources:
            requests: {cpu: $1, memory: ${2}M}
            limits: {memory: ${2}M, nvidia.com/gpu: $4}
          volumeMounts: [{name: shared, mountPath: $MOUNT}]
      volumes:
        - {name: shared, persistentVolumeClaim: {claimName: $CLAIM}}
END
